"""B ordinary environments played in step, so that each policy is asked once a round for all."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from ray.rllib.env.env_context import EnvContext

from rllib_amagail.envs.null_actions import NullActions
from rllib_amagail.games.game import RoundResult
from rllib_amagail.runners.batched_env_runner import BatchedEnvRunner
from rllib_amagail.runners.batched_runner_setup import INSTEAD, create_env
from rllib_amagail.spaces import MASK_KEY, ActionLayout, ObservationLayout

_TERMINATED, _TRUNCATED = "terminated", "truncated"


class PooledWorlds:
    """B separate RLlib multi-agent environments as `BatchedWorlds`.

    Whoever is observed is sent an action. It participates, unless its info has ``participates``
    False. The round is the ``round`` of the infos, or else the number of steps. Rewards are those
    that the environments report. Both are as in `TurnBasedEnv`.

    What an agent sees while it is not observed is the last that it saw. Observations that are no
    Box are flat float32 rows `[B, F]`, of `ObservationLayout`. Worlds that the runner plays on
    without need are sent zeros, which an action mask may forbid; the first allowed action is
    executed then.

    An episode has to end for all agents at once and in one way, because that is all that
    `BatchedWorlds` can say.

    Args:
        envs: B environments with the same agents and spaces.
        seed: of the stream that gives each environment the seed of its first reset.

    Attributes:
        resumes_episodes: False. A state holds what ``get_state`` of the environments gives, and
            None for those without. All begin new episodes then, the latter with new seeds.

    Raises:
        ValueError: in `step`, if some agents end before others or in another way, if infos tell
            several rounds, or if an agent that has acted is truncated without an observation; in
            all, if an observation does not fit its space.
    """

    resumes_episodes = False

    def __init__(self, envs: Sequence[Any], seed: int | None) -> None:
        first = envs[0]
        self._envs = list(envs)
        self.agents = tuple(first.possible_agents)
        self.batch_size = len(self._envs)
        self.action_spaces = {agent: first.action_spaces[agent] for agent in self.agents}
        spaces = {agent: first.observation_spaces[agent] for agent in self.agents}
        self._layouts = {agent: ObservationLayout.from_space(s) for agent, s in spaces.items()}
        self.observation_spaces = {
            agent: space if isinstance(space, Box) else _flat_space(self._layouts[agent])
            for agent, space in spaces.items()
        }
        self._actions = {a: ActionLayout.from_space(s) for a, s in self.action_spaces.items()}
        self._null_actions = NullActions("zero", spaces, self.action_spaces, [])
        self._rows = {
            agent: np.zeros((self.batch_size, *space.shape), space.dtype)
            for agent, space in self.observation_spaces.items()
        }
        shape = (self.batch_size, len(self.agents))
        self.participation = np.zeros(shape, dtype=bool)
        self.rounds = np.zeros(self.batch_size, dtype=np.int64)
        self._observed = np.zeros(shape, dtype=bool)  # who is to be sent an action
        self._acted = np.zeros(shape, dtype=bool)  # in this episode
        self._rng = np.random.default_rng(seed)
        self._unseeded = np.ones(self.batch_size, dtype=bool)

    def reset(self, worlds: np.ndarray | None = None) -> None:
        """As of `BatchedWorlds`."""
        chosen = np.arange(self.batch_size) if worlds is None else np.flatnonzero(worlds)
        told = {}
        for world in chosen.tolist():
            seed = int(self._rng.integers(2**31)) if self._unseeded[world] else None
            told[world] = self._envs[world].reset(seed=seed)
        self._unseeded[chosen] = False
        self._acted[chosen] = False
        self.rounds[chosen] = 0
        self._look(told)

    def observations(self) -> Mapping[str, np.ndarray]:
        """As of `BatchedWorlds`."""
        return self._rows

    def step(self, actions: np.ndarray) -> RoundResult:
        """As of `BatchedWorlds`."""
        rewards = np.zeros(self.participation.shape)
        endings: list[str | None] = []
        told = {}
        self._acted |= self._observed
        for world, env in enumerate(self._envs):
            chosen = {
                agent: self._allowed(agent, world, actions[world, index])
                for index, agent in enumerate(self.agents)
                if self._observed[world, index]
            }
            observations, earned, terminateds, truncateds, infos = env.step(chosen)
            rewards[world] = [earned.get(agent, 0.0) for agent in self.agents]
            told[world] = observations, infos
            endings.append(self._ending(world, observations, terminateds, truncateds))
        self.rounds += 1
        self._look(told)
        over = np.array([ending is not None for ending in endings])
        self._observed[over] = self.participation[over] = False
        terminated = np.array([ending == _TERMINATED for ending in endings])
        return RoundResult(rewards, terminated, over & ~terminated)

    def get_state(self) -> dict[str, Any]:
        """The streams, see `resumes_episodes`."""
        return {
            "environments": [env.get_state() if _has_state(env) else None for env in self._envs],
            "generator": copy.deepcopy(self._rng.bit_generator.state),
            "unseeded": self._unseeded.copy(),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue the streams of a `get_state`; `reset` comes next."""
        self._rng.bit_generator.state = copy.deepcopy(state["generator"])
        self._unseeded = state["unseeded"].copy()
        for world, saved in enumerate(state["environments"]):
            if saved is None:
                self._unseeded[world] = True
            else:
                self._envs[world].set_state(saved)

    def _look(self, told: Mapping[int, tuple[Mapping[str, Any], Mapping[str, Any]]]) -> None:
        """Take in observations and infos, by world."""
        seen: dict[str, dict[int, Any]] = defaultdict(dict)
        for world, (observations, infos) in told.items():
            if unknown := observations.keys() - set(self.agents):
                raise ValueError(
                    f"world {world} shows observations to {sorted(unknown)}, expected agents of "
                    f"possible_agents: {list(self.agents)}"
                )
            stamps = {infos[a]["round"] for a in observations if "round" in infos.get(a, {})}
            if len(stamps) > 1:
                raise ValueError(
                    f"world {world} tells rounds {sorted(stamps)} at once, expected one for all "
                    f"agents: {INSTEAD}"
                )
            self.rounds[world] = stamps.pop() if stamps else self.rounds[world]
            for index, agent in enumerate(self.agents):
                there = agent in observations
                acts = there and infos.get(agent, {}).get("participates", True)
                self._observed[world, index], self.participation[world, index] = there, acts
                if there:
                    seen[agent][world] = observations[agent]
        for agent, rows in seen.items():
            self._rows[agent][list(rows)] = self._encoded(agent, list(rows.values()))

    def _encoded(self, agent: str, observations: list[Any]) -> np.ndarray:
        layout, space = self._layouts[agent], self.observation_spaces[agent]
        if layout.space is not space:
            return layout.flatten(observations)
        shapes = {np.shape(observation) for observation in observations}
        if shapes != {space.shape}:
            raise ValueError(
                f"observations of {agent!r} have shapes {shapes}, expected {space.shape} as in "
                f"its space"
            )
        return np.stack(observations)

    def _allowed(self, agent: str, world: int, action: Any) -> Any:
        """The same action unless the agent's mask forbids it; only idle worlds' are forbidden."""
        if self._layouts[agent].mask_size == 0:
            return action
        _, mask = self._layouts[agent].split(self._rows[agent][[world]])
        layout = self._actions[agent]
        if mask is None or layout.first_invalid(layout.encode([action]), mask) is None:
            return action
        return self._null_actions.of(agent, {MASK_KEY: mask[0]})

    def _ending(
        self,
        world: int,
        observations: Mapping[str, Any],
        terminateds: Mapping[str, bool],
        truncateds: Mapping[str, bool],
    ) -> str | None:
        """How the episode of a world ended in this step; None while it goes on."""

        def kind(who: str) -> str | None:
            if terminateds.get(who, False):
                return _TERMINATED
            return _TRUNCATED if truncateds.get(who, False) else None

        # An agent's own flags come before those of all.
        of_agents = {agent: kind(agent) or kind("__all__") for agent in self.agents}
        ending, *others = set(of_agents.values())
        if others:
            raise ValueError(
                f"after {self.rounds[world] + 1} rounds of world {world} its agents are "
                f"{of_agents}, expected all to end at once and in one way: {INSTEAD}"
            )
        if ending == _TRUNCATED:
            unseen = [
                agent
                for index, agent in enumerate(self.agents)
                if self._acted[world, index] and agent not in observations
            ]
            if unseen:
                raise ValueError(
                    f"{unseen} were truncated in world {world} without a final observation, "
                    f"expected one of every agent that has acted"
                )
        return ending


class EnvPool:
    """B environments, in the place of one that has a method ``batched``.

    Args:
        env: the first of them, an RLlib MultiAgentEnv.
        create: makes the others.

    Attributes:
        envs: all of them, once ``batched`` was called.
        phi_is_action: False, because they are sent phi as it is, and know what it means.
        show_everyone: whether agents act that do not participate.
    """

    phi_is_action = False

    def __init__(self, env: Any, create: Callable[[], Any]) -> None:
        self.envs = [env]
        self._create = create
        self.possible_agents = list(env.possible_agents)
        self.observation_spaces = env.observation_spaces
        self.action_spaces = env.action_spaces
        shows = (getattr(env, name, False) for name in ("phi_is_action", "show_everyone"))
        self.show_everyone = any(shows)

    def batched(self, batch_size: int, seed: int | None) -> PooledWorlds:
        """The environments as batched worlds."""
        self.envs += [self._create() for _ in range(batch_size - len(self.envs))]
        return PooledWorlds(self.envs, seed)

    def close(self) -> None:
        """Close them all."""
        for env in self.envs:
            env.close()


class PooledEnvRunner(BatchedEnvRunner):
    """Plays B = ``num_envs_per_env_runner`` ordinary multi-agent environments in step.

    They are stepped one by one, as by `TurnEnvRunner`, but each policy is asked once a round for
    all of them, and its answers are recorded as arrays. Choose it with
    ``config.env_runners(env_runner_cls=PooledEnvRunner)``.

    It is for episodes that end for all agents at once, see `PooledWorlds`, and for policies that
    take flat rows, as `AgentModule` does, if observations are no Box. ``on_environment_created``
    gets an `EnvPool`. As with `TurnEnvRunner`, an episode that was under way when the state was
    taken starts anew.
    """

    def _create_env(self) -> tuple[Any, EnvContext]:
        env, context = super()._create_env()
        return EnvPool(env, lambda: create_env(self.config, self.worker_index)[0]), context


def _flat_space(layout: ObservationLayout) -> Box:
    width = layout.feature_size + layout.mask_size
    return Box(-np.inf, np.inf, (width,), np.float32)


def _has_state(env: Any) -> bool:
    return hasattr(env, "get_state") and hasattr(env, "set_state")
