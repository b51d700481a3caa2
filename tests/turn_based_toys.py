"""Tiny environments and player functions for the tests of `TurnBasedEnv`."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary
from pettingzoo import ParallelEnv
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_amagail.player_functions import DeterministicPattern

AGENTS = ("a", "b", "c")
TERMINATED, TRUNCATED = "terminated", "truncated"


def pattern(*rounds: str) -> DeterministicPattern:
    """The participants of each round, repeated: `pattern("ab", "", "c")`."""
    return DeterministicPattern([[agent in names for agent in AGENTS] for names in rounds])


class ParallelToy(ParallelEnv):
    """Agents a, b, c; everyone alive observes `[t]` and earns 2**t in round t.

    So a sum of rewards tells the rounds it was earned in.

    Args:
        endings: agent -> (the last round it plays, TERMINATED or TRUNCATED).
        horizon: rounds after which the others are truncated.
        action_space: of every agent.
        mask: round -> action mask, which is then part of the observation.

    Attributes:
        executed: the actions of every round of the episode.
    """

    metadata: ClassVar = {"name": "parallel_toy"}

    def __init__(
        self,
        endings: Mapping[str, tuple[int, str]] | None = None,
        horizon: int = 4,
        action_space: Any = None,
        mask: Any = None,
    ) -> None:
        self.possible_agents = list(AGENTS)
        self.render_mode = None
        self._endings = endings or {}
        self._horizon = horizon
        self._mask = mask
        self._action_space = action_space or Discrete(3)
        self._observation_space: Any = Box(0, 100, (1,), np.float32)
        if mask is not None:
            parts = [("t", self._observation_space), ("action_mask", MultiBinary(len(mask(0))))]
            self._observation_space = Dict(parts)
        self.executed: list[dict[str, Any]] = []

    def observation_space(self, agent):
        return self._observation_space

    def action_space(self, agent):
        return self._action_space

    def reset(self, seed=None, options=None):
        self.agents = list(self.possible_agents)
        self.executed = []
        return self._observe(), {agent: {"toy": agent} for agent in self.agents}

    def step(self, actions):
        assert list(actions) == self.agents, "a parallel environment wants all live agents' actions"
        played, there = len(self.executed), list(self.agents)
        self.executed.append(dict(actions))
        over = played + 1 >= self._horizon
        kinds = {a: k for a, (last, k) in self._endings.items() if last == played and a in there}
        terminations = {agent: kinds.get(agent) == TERMINATED for agent in there}
        truncations = {
            agent: kinds.get(agent) == TRUNCATED or (over and agent not in kinds) for agent in there
        }
        observations = self._observe()
        self.agents = [a for a in there if not (terminations[a] or truncations[a])]
        rewards = dict.fromkeys(there, 2.0**played)
        return observations, rewards, terminations, truncations, {agent: {} for agent in there}

    def render(self):
        return "picture"

    def _observe(self):
        t = np.array([len(self.executed)], np.float32)
        if self._mask is None:
            return dict.fromkeys(self.agents, t)
        mask = np.array(self._mask(len(self.executed)), np.int8)
        return {agent: {"t": t, "action_mask": mask} for agent in self.agents}


class RandomWalk(MultiAgentEnv):
    """Two agents who observe a random walk, with its own stream that it can save."""

    def __init__(self) -> None:
        super().__init__()
        self.possible_agents = ["x", "y"]
        self.agents = ["x", "y"]
        self.observation_spaces = {a: Box(-np.inf, np.inf, (1,), np.float64) for a in self.agents}
        self.action_spaces = {agent: Discrete(2) for agent in self.agents}
        self._rng = np.random.default_rng()

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._t, self._place = 0, self._rng.normal(size=1)
        return self._observe(), {}

    def step(self, action_dict):
        self._t += 1
        self._place = self._place + self._rng.normal(size=1)
        rewards = {agent: float(self._place[0]) for agent in self.agents}
        return self._observe(), rewards, {"__all__": False}, {"__all__": self._t == 8}, {}

    def get_state(self):
        return {"generator": self._rng.bit_generator.state}

    def set_state(self, state):
        self._rng.bit_generator.state = state["generator"]

    def _observe(self):
        return {agent: self._place.copy() for agent in self.agents}


class Alternating(MultiAgentEnv):
    """x and y move in turn, as in a board game; both are rewarded 2**t for every move.

    Args:
        end: after how many moves it ends,
        kind: and how.
        last_look: whether both observe the end.
    """

    def __init__(self, end: int = 5, kind: str = TERMINATED, last_look: bool = True) -> None:
        super().__init__()
        self.possible_agents = ["x", "y"]
        self.observation_spaces = {agent: Box(0, 100, (1,), np.float32) for agent in "xy"}
        self.action_spaces = {agent: Discrete(3) for agent in "xy"}
        self._end, self._kind, self._last_look = end, kind, last_look
        self.executed: list[dict[str, Any]] = []

    def reset(self, *, seed=None, options=None):
        self.executed = []
        return self._observe("x"), {}

    def step(self, action_dict):
        t = len(self.executed)
        assert list(action_dict) == ["xy"[t % 2]], "only the agent whose turn it is may move"
        self.executed.append(dict(action_dict))
        over = t + 1 == self._end
        looking = "xy"[(t + 1) % 2] if not over else "xy" if self._last_look else ""
        terminateds = {"__all__": over and self._kind == TERMINATED}
        truncateds = {"__all__": over and self._kind == TRUNCATED}
        return self._observe(looking), {"x": 2.0**t, "y": 2.0**t}, terminateds, truncateds, {}

    def _observe(self, agents):
        return {agent: np.array([len(self.executed)], np.float32) for agent in agents}
