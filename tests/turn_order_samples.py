"""An order of turns that depends on the state, and what draws and records such orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_amagail import Demonstrations, TurnBasedEnv
from rllib_amagail.demonstrations import DemonstrationRecorder
from rllib_amagail.player_functions import (
    History,
    LogisticParticipation,
    PlayerFunction,
    TurnSampler,
)

BY_STATE = LogisticParticipation(
    bias=[0.5, -0.5],
    turn_weights=[[-1.0, 0.0], [1.0, 0.0]],
    state_weights=[[1.5, 0.0], [0.0, -1.0]],
    initial=[1.0, 0.5],
)
Recorded = tuple[list[np.ndarray], list[np.ndarray]]


def drawn(function: PlayerFunction, episodes: int, length: int, size: int = 2) -> Recorded:
    """Participation and states of episodes whose states are a stationary walk of variance 1."""
    rng = np.random.default_rng(0)
    sampler = TurnSampler(function, episodes, rng)
    states = [rng.normal(size=(episodes, size))]
    participation = [sampler.reset().copy()]
    for _ in range(length - 1):
        states.append(0.8 * states[-1] + 0.6 * rng.normal(size=(episodes, size)))
        participation.append(sampler.step(states[-1]).copy())
    return list(np.stack(participation, axis=1)), list(np.stack(states, axis=1))


def errors(function: PlayerFunction, truth: PlayerFunction, size: int = 2) -> np.ndarray:
    """`[1000, N]` by how much chances are off, in states and histories not seen before."""
    rng = np.random.default_rng(1)
    states, last = rng.normal(size=(1000, size)), rng.random((1000, 1, 2)) < 0.5
    history = History(np.ones(1000, np.int64), last, states)
    return np.abs(function.probabilities(history) - truth.probabilities(history))


class Batteries(MultiAgentEnv):
    """Agents x and y charge and discharge, and see their own charge; whoever works, uses it up."""

    def __init__(self, horizon: int = 50) -> None:
        super().__init__()
        self.possible_agents = self.agents = ["x", "y"]
        self.observation_spaces = dict.fromkeys("xy", Box(-np.inf, np.inf, (1,)))
        self.action_spaces = dict.fromkeys("xy", Discrete(2))
        self._horizon = horizon
        self._rng = np.random.default_rng()

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._t, self._charge = 0, self._rng.normal(size=2)
        return self._observe(), {}

    def step(self, action_dict: Mapping[str, int]) -> Any:
        self._t += 1
        work = np.array([action_dict["x"], action_dict["y"]])
        self._charge = 0.8 * self._charge + 0.6 * self._rng.normal(size=2) - 0.3 * work
        over = {"__all__": self._t == self._horizon}
        return self._observe(), {"x": 0.0, "y": 0.0}, {"__all__": False}, over, {}

    def _observe(self) -> dict[str, np.ndarray]:
        return dict(zip("xy", self._charge[:, None].astype(np.float32), strict=True))


def recorded(
    env: TurnBasedEnv, folder: Path, episodes: int, choose: Callable[[str], int] = lambda agent: 1
) -> Demonstrations:
    """Episodes of an env that shows everyone."""
    spaces = (env.possible_agents, env.observation_spaces, env.action_spaces)
    with DemonstrationRecorder(folder, *spaces) as recorder:
        for episode in range(episodes):
            observations, infos = env.reset(seed=episode)
            recorder.begin_episode()
            over = False
            while not over:
                actions = {agent: choose(agent) for agent in observations}
                acts = {agent: infos[agent]["participates"] for agent in observations}
                recorder.record_round(observations, acts, actions)
                observations, _, terminateds, truncateds, infos = env.step(actions)
                over = terminateds["__all__"] or truncateds["__all__"]
                ended = [a for flags in (terminateds, truncateds) for a in flags if flags[a]]
                observations = {a: o for a, o in observations.items() if a not in ended}
            recorder.end_episode()
    return Demonstrations.load(folder)
