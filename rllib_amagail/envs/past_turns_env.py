"""Environments that show agents their own past: pi(a|s, h) by way of the observation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Space
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_amagail.envs.results import ResetResult, StepResult
from rllib_amagail.past_turns import NOW, PAST, History, HistoryLayout, TurnMemory
from rllib_amagail.runners.batched_worlds import BatchedWorlds, WorldsRound
from rllib_amagail.spaces import MASK_KEY


def with_history(env: Any, config: Any) -> Any:
    """The environment showing the past as a config has it, or itself where nothing is to be added.

    Args:
        env: an RLlib MultiAgentEnv, unwrapped.
        config: an `AMAGAILConfig`; others show no past.
    """
    history = getattr(config, "shown_past", None)
    if not history:
        return env
    spaces = [(env.observation_spaces[a], env.action_spaces[a]) for a in env.possible_agents]
    shown = [history.layout(*own) is None for own in spaces]
    return env if all(shown) else PastTurnsEnv(env, history)


class PastTurnsEnv(MultiAgentEnv):
    """Shows every agent its own past beside what it sees now.

    An observation becomes a Dict of "now" (flat features), "past" (`HistoryLayout`) and, where
    there was one, "action_mask". Put it around a `TurnBasedEnv`, or any RLlib environment in which
    agents that are observed act. What the environment has besides, such as ``batched`` or
    ``get_state``, it keeps; ``batched`` worlds show the past, too.

    Args:
        env: the environment.
        history: how much of the past.

    Raises:
        ValueError: phi is an action of the environment, or it shows another past already.
    """

    def __init__(self, env: MultiAgentEnv, history: History) -> None:
        super().__init__()
        if getattr(env, "phi_is_action", False):
            raise ValueError(
                "past turns are to be shown and phi is an action, so that every round is a turn; "
                "expected phi='filtered' (phi_is_action=False), or past_turns=0 and "
                "elapsed_rounds=False"
            )
        self._env = env
        self.possible_agents = list(env.possible_agents)
        self.agents = list(self.possible_agents)
        self.action_spaces = dict(env.action_spaces)
        self._layouts: dict[str, HistoryLayout] = {}
        for agent in self.possible_agents:
            layout = history.layout(env.observation_spaces[agent], self.action_spaces[agent])
            if layout is None:
                raise ValueError(f"agent {agent!r} is shown its past already, expected none or all")
            self._layouts[agent] = layout
        self.observation_spaces = {agent: own.space for agent, own in self._layouts.items()}
        self.base_observation_spaces = self.observation_spaces
        self.metadata = dict(getattr(env, "metadata", {}))
        self.render_mode = getattr(env, "render_mode", None)
        self._begin()
        if callable(getattr(env, "batched", None)):
            self.batched = self._batched

    def __getattr__(self, name: str) -> Any:
        """What only the environment has."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._env, name)

    @property
    def show_everyone(self) -> bool:
        """Of the environment, see `TurnBasedEnv`."""
        return bool(getattr(self._env, "show_everyone", False))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> ResetResult:
        """As of the environment; nobody has a past then."""
        observations, infos = self._env.reset(seed=seed, options=options)
        self._begin()
        return self._look(observations, infos), infos

    def step(self, action_dict: Mapping[str, Any]) -> StepResult:
        """As of the environment; the participants' turns are past now."""
        for agent, (number, features) in self._seen.items():
            if agent in action_dict:
                action = self._layouts[agent].actions.encode([action_dict[agent]])
                self._memories[agent].acted(np.zeros(1, int), number, features, action)
        self._round += 1
        observations, *results, infos = self._env.step(action_dict)
        return self._look(observations, infos), *results, infos

    def render(self) -> Any:
        """What the environment renders."""
        return self._env.render()

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def _begin(self) -> None:
        self._round = 0
        self._memories = {agent: TurnMemory(own, 1) for agent, own in self._layouts.items()}
        self._seen: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # round, features

    def _look(self, observations: Mapping[str, Any], infos: Mapping[str, Any]) -> dict[str, Any]:
        self.agents = list(self._env.agents)
        self._seen = {}
        shown = {}
        for agent, observation in observations.items():
            layout, info = self._layouts[agent].observations, infos.get(agent, {})
            features, _ = layout.split(layout.flatten([observation]))
            number = np.array([info.get("round", self._round)])
            past = self._memories[agent].columns(number)
            shown[agent] = {NOW: features[0], PAST: past[0]}
            if layout.mask_size:
                shown[agent][MASK_KEY] = observation[MASK_KEY]
            if info.get("participates", True):
                self._seen[agent] = (number, features)
        return shown

    def _batched(self, batch_size: int, seed: int | None) -> PastTurnsWorlds:
        return PastTurnsWorlds(self._env.batched(batch_size, seed), self._layouts)


class PastTurnsWorlds:
    """`BatchedWorlds` that show agents their own past: flat rows ``[B, D + H]``.

    Args:
        worlds: without.
        layouts: by agent.
    """

    def __init__(self, worlds: BatchedWorlds, layouts: Mapping[str, HistoryLayout]) -> None:
        self._worlds, self._layouts = worlds, layouts
        self.agents, self.batch_size = worlds.agents, worlds.batch_size
        self.action_spaces = worlds.action_spaces
        self.observation_spaces: dict[str, Space] = {
            agent: Box(-np.inf, np.inf, (own.observations.feature_size + own.size,), np.float32)
            for agent, own in layouts.items()
        }
        self.resumes_episodes = getattr(worlds, "resumes_episodes", True)
        self._memories = {a: TurnMemory(own, self.batch_size) for a, own in layouts.items()}
        self._shown: dict[str, np.ndarray] | None = None  # now

    @property
    def participation(self) -> np.ndarray:
        """As of `BatchedWorlds`."""
        return self._worlds.participation

    @property
    def rounds(self) -> np.ndarray:
        """As of `BatchedWorlds`."""
        return self._worlds.rounds

    def reset(self, worlds: np.ndarray | None = None) -> None:
        """As of `BatchedWorlds`."""
        self._worlds.reset(worlds)
        self._shown = None
        for memory in self._memories.values():
            memory.reset(worlds)

    def observations(self) -> Mapping[str, np.ndarray]:
        """As of `BatchedWorlds`."""
        if self._shown is None:
            rounds = np.asarray(self.rounds)
            self._shown = {
                agent: np.concatenate(
                    [
                        self._layouts[agent].observations.flatten(rows),
                        self._memories[agent].columns(rounds),
                    ],
                    axis=1,
                )
                for agent, rows in self._worlds.observations().items()
            }
        return self._shown

    def step(self, actions: np.ndarray) -> WorldsRound:
        """As of `BatchedWorlds`."""
        shown, rounds = self.observations(), np.asarray(self.rounds)
        for index, agent in enumerate(self.agents):
            layout = self._layouts[agent]
            acting = np.flatnonzero(self.participation[:, index])
            features = shown[agent][acting, : layout.observations.feature_size]
            chosen = layout.actions.encode(actions[acting, index])
            self._memories[agent].acted(acting, rounds[acting], features, chosen)
        result = self._worlds.step(actions)
        self._shown = None
        return result

    def get_state(self) -> dict[str, Any]:
        """As of `BatchedWorlds`."""
        past = {agent: memory.get_state() for agent, memory in self._memories.items()}
        return {"worlds": self._worlds.get_state(), "past": past}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """As of `BatchedWorlds`."""
        self._worlds.set_state(state["worlds"])
        self._shown = None
        for agent, past in state["past"].items():
            self._memories[agent].set_state(past)
