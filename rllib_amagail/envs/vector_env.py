"""Gymnasium environments as games of one agent: GAIL is AMAGAIL with N = 1 and no phi.

`BatchedGame` makes an RLlib environment of any `BatchedWorlds`, here and in `envs.vmas`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from ray.rllib.env.env_context import EnvContext
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_amagail.envs.results import ResetResult, StepResult
from rllib_amagail.envs.turn_based_env import TurnBasedEnv
from rllib_amagail.games.game import RoundResult
from rllib_amagail.runners.batched_runner_setup import env_from
from rllib_amagail.runners.batched_worlds import BatchedWorlds

AGENT = "agent"

MakeWorlds = Callable[[int, int | None], BatchedWorlds]  # from the batch size and a seed


class VectorEnvWorlds:
    """A Gymnasium VectorEnv as `BatchedWorlds` with one agent, who participates in every round.

    All modes of autoreset give the same episodes, but for one round: with ``NEXT_STEP`` the
    environment spends a step on a reset, unless all worlds are reset at once. That is round 0 of
    the episode then, and the agent does not participate in it.

    Args:
        env: of B sub-environments.
        seed: of the stream that gives the environment a seed whenever all worlds are reset.

    Attributes:
        resumes_episodes: False. A vector environment cannot save its episodes; after `set_state`
            it begins new ones, with the next seed.
        may_abstain: by agent, for `TurnBasedEnv`.

    Raises:
        ValueError: if `env` does not tell its mode of autoreset or observes no Box. In `reset`, if
            some worlds are to be reset in the middle of their episodes, unless the mode is
            ``DISABLED``.
    """

    agents = (AGENT,)
    resumes_episodes = False

    def __init__(self, env: VectorEnv, seed: int | None) -> None:
        self._env = env
        # Read now: sub-environments of one class share the dict.
        self._mode = env.metadata.get("autoreset_mode")
        if not isinstance(self._mode, AutoresetMode):
            raise ValueError(
                f"metadata['autoreset_mode'] of {env} is {self._mode!r}, expected a "
                f"gymnasium.vector.AutoresetMode: set it to what the environment does"
            )
        space = env.single_observation_space
        if not isinstance(space, Box):
            raise ValueError(
                f"{env} observes a {space}, expected a Box: wrap the sub-environments in "
                f"gymnasium.wrappers.FlattenObservation"
            )
        self.batch_size = env.num_envs
        self.observation_spaces = {AGENT: space}
        self.action_spaces = {AGENT: env.single_action_space}
        self.may_abstain = {AGENT: self._mode == AutoresetMode.NEXT_STEP}
        self.rounds = np.zeros(self.batch_size, dtype=np.int64)
        self.participation = np.ones((self.batch_size, 1), dtype=bool)
        self._observations = np.zeros((self.batch_size, *space.shape), space.dtype)
        self._begun = self._observations  # where SAME_STEP has begun the next episodes
        self._ended = np.zeros(self.batch_size, dtype=bool)
        self._rng = np.random.default_rng(seed)

    def reset(self, worlds: np.ndarray | None = None) -> None:
        """As of `BatchedWorlds`."""
        chosen = np.ones(self.batch_size, dtype=bool) if worlds is None else np.asarray(worlds)
        if chosen.all():
            seed = int(self._rng.integers(2**31))
            self._observations = np.array(self._env.reset(seed=seed)[0])
            self.participation[:] = True
        elif chosen.any():
            self._reset_some(chosen)
        self.rounds[chosen] = 0
        self._ended[chosen] = False

    def observations(self) -> dict[str, np.ndarray]:
        """As of `BatchedWorlds`."""
        return {AGENT: self._observations}

    def step(self, actions: np.ndarray) -> RoundResult:
        """As of `BatchedWorlds`.

        Raises:
            RuntimeError: if the episode of a world is over and was not reset.
        """
        if self._ended.any():
            ended = np.flatnonzero(self._ended).tolist()
            raise RuntimeError(f"the episode is over in worlds {ended}: reset them before step()")
        told = self._env.step(actions[:, 0])
        self._observations = np.array(told[0])
        rewards, terminated, truncated = (np.array(column) for column in told[1:4])
        self.rounds += 1
        self.participation[:] = True  # NEXT_STEP has reset those that were to be
        self._ended = terminated | truncated
        if self._mode == AutoresetMode.SAME_STEP:
            self._begun = self._observations.copy()
            for world in np.flatnonzero(self._ended):
                self._observations[world] = told[4]["final_obs"][world]
        return RoundResult(rewards[:, None], terminated, truncated)

    def get_state(self) -> dict[str, Any]:
        """The stream of seeds; see `resumes_episodes`."""
        return {"generator": copy.deepcopy(self._rng.bit_generator.state)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue the stream of a `get_state`; `reset` comes next."""
        self._rng.bit_generator.state = copy.deepcopy(state["generator"])

    def _reset_some(self, chosen: np.ndarray) -> None:
        if self._mode == AutoresetMode.DISABLED:
            observations = self._env.reset(options={"reset_mask": chosen.copy()})[0]
            self._observations[chosen] = observations[chosen]
            return
        playing = np.flatnonzero(chosen & ~self._ended)
        if len(playing):
            raise ValueError(
                f"worlds {playing.tolist()} are to be reset in the middle of their episodes, "
                f"expected ended ones or all: for that, make the environment with "
                f"autoreset_mode=AutoresetMode.DISABLED"
            )
        if self._mode == AutoresetMode.SAME_STEP:
            self._observations[chosen] = self._begun[chosen]
        else:
            self.participation[chosen] = False


class OneWorld(MultiAgentEnv):
    """Batched worlds of batch size 1 as an environment that shows every agent every round.

    ``infos[agent]["participates"]`` tells whose actions count. A reset with a seed makes the
    worlds anew.
    """

    def __init__(self, make_worlds: MakeWorlds) -> None:
        super().__init__()
        self._make_worlds = make_worlds
        self._worlds = make_worlds(1, None)
        self.possible_agents = list(self._worlds.agents)
        self.agents = list(self.possible_agents)
        self.observation_spaces = dict(self._worlds.observation_spaces)
        self.action_spaces = dict(self._worlds.action_spaces)
        self.may_abstain = getattr(self._worlds, "may_abstain", {})

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> ResetResult:
        """Begin an episode; `options` are ignored."""
        if seed is not None:
            self._worlds = self._make_worlds(1, seed)
        self._worlds.reset()
        return self._see()

    def step(self, action_dict: Mapping[str, Any]) -> StepResult:
        """Play a round with the actions of all agents."""
        actions = np.stack([action_dict[agent] for agent in self.possible_agents])
        result = self._worlds.step(actions[None])
        rewards = dict(zip(self.possible_agents, result.rewards[0].tolist(), strict=True))
        observations, infos = self._see()
        terminated, truncated = bool(result.terminated[0]), bool(result.truncated[0])
        return observations, rewards, {"__all__": terminated}, {"__all__": truncated}, infos

    def get_state(self) -> dict[str, Any]:
        """State of the worlds."""
        return self._worlds.get_state()

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on with the streams of a `get_state`; `reset` comes next."""
        self._worlds.set_state(state)

    def _see(self) -> ResetResult:
        acts = zip(self.possible_agents, self._worlds.participation[0].tolist(), strict=True)
        rows = self._worlds.observations()
        observations = {agent: rows[agent][0].copy() for agent in self.possible_agents}
        return observations, {agent: {"participates": participates} for agent, participates in acts}


class BatchedGame(TurnBasedEnv):
    """A game that exists as `BatchedWorlds`, for RLlib.

    The batched runner plays B worlds, RLlib's own and `record` one at a time.

    Args:
        make_worlds: from the batch size and a seed.
        phi_is_action, show_everyone: as of `TurnBasedEnv`.
    """

    def __init__(
        self,
        make_worlds: MakeWorlds,
        *,
        phi_is_action: bool = False,
        show_everyone: bool = False,
    ) -> None:
        super().__init__(
            OneWorld(make_worlds),
            reward_absent=True,  # the worlds know what absent agents earn
            phi_is_action=phi_is_action,
            show_everyone=show_everyone,
        )
        self._make_worlds = make_worlds

    def batched(self, batch_size: int, seed: int | None) -> BatchedWorlds:
        """B worlds as arrays."""
        return self._make_worlds(batch_size, seed)


class SingleAgentGame(BatchedGame):
    """A Gymnasium environment as a game of one agent, whose name is "agent".

    Example:
        >>> from ray import tune
        >>> tune.register_env("cartpole", lambda env_config: SingleAgentGame("CartPole-v1"))

    Args:
        env: a name that Gymnasium knows, or a function from the batch size to a VectorEnv.
        options: with a name, for `gymnasium.make_vec`; for example ``max_episode_steps=50`` or
            ``wrappers=[gymnasium.wrappers.FlattenObservation]``.

    Raises:
        ValueError: see `VectorEnvWorlds`.
    """

    def __init__(self, env: str | Callable[[int], VectorEnv], **options: Any) -> None:
        def make_vector_env(batch_size: int) -> VectorEnv:
            return gym.make_vec(
                env,
                batch_size,
                vectorization_mode="sync",
                vector_kwargs={"autoreset_mode": AutoresetMode.DISABLED},
                **options,
            )

        make = env if callable(env) else make_vector_env
        super().__init__(lambda batch_size, seed: VectorEnvWorlds(make(batch_size), seed))


class GymnasiumGame(BatchedGame):
    """`SingleAgentGame` of an environment that the env_config names, as RLlib creates it.

    Args:
        env_config: under `ENV` a name that Ray Tune or Gymnasium knows, or a class that takes an
            env_config; ``phi_is_action`` and ``show_everyone`` of `TurnBasedEnv`; everything else
            is for the environment.

    Raises:
        ValueError: see `VectorEnvWorlds`. What the environment raises comes through.
    """

    ENV = "gymnasium_env"

    def __init__(self, env_config: Mapping[str, Any]) -> None:
        options = dict(env_config)
        env = options.pop(self.ENV)
        view = {k: options.pop(k) for k in ("phi_is_action", "show_everyone") if k in options}

        def make_one() -> gym.Env:
            context = EnvContext(options, worker_index=getattr(env_config, "worker_index", 0))
            return env_from(env, context)

        def make_worlds(batch_size: int, seed: int | None) -> VectorEnvWorlds:
            envs = SyncVectorEnv([make_one] * batch_size, autoreset_mode=AutoresetMode.DISABLED)
            return VectorEnvWorlds(envs, seed)

        super().__init__(make_worlds, **view)
