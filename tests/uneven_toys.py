"""A game whose agents act very unevenly."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from ray import tune
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_amagail import Demonstrations, TurnBasedEnv

HORIZON = 10
RARE_CHANCE = 0.1  # that the rare agent has its one turn in an episode
AGENTS = ("busy", "gone", "late", "never", "rare")
ACTIONS = 3


class UnevenGame(MultiAgentEnv):
    """Everybody sees a random number and earns 1 for naming it.

    "busy" acts in every round, "gone" in the first four and then ends, "late" is there from round 5
    on, "rare" acts once in a hundred rounds, "never" never.
    """

    def __init__(self) -> None:
        super().__init__()
        self.possible_agents = list(AGENTS)
        self.agents = list(AGENTS)
        shown = Box(0.0, 1.0, (ACTIONS,), np.float32)
        self.observation_spaces = dict.fromkeys(AGENTS, shown)
        self.action_spaces = {agent: Discrete(ACTIONS) for agent in AGENTS}
        self._rng = np.random.default_rng()

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict, dict]:
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._round = 0
        self._rare_round = int(self._rng.integers(HORIZON / RARE_CHANCE))
        return self._observe(), {}

    def step(self, action_dict: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        rewards = {a: float(action == self._target) for a, action in action_dict.items()}
        self._round += 1
        terminateds = {"__all__": False}
        if self._round == 4:
            terminateds["gone"] = True
        return self._observe(), rewards, terminateds, {"__all__": self._round == HORIZON}, {}

    def get_state(self) -> dict[str, Any]:
        return {"generator": self._rng.bit_generator.state}

    def set_state(self, state: dict[str, Any]) -> None:
        self._rng.bit_generator.state = state["generator"]

    def _acting(self) -> list[str]:
        turns = {
            "busy": True,
            "gone": self._round < 4,
            "late": self._round >= 5,
            "rare": self._round == self._rare_round,
        }
        return [agent for agent, has_turn in turns.items() if has_turn]

    def _observe(self) -> dict[str, np.ndarray]:
        self._target = int(self._rng.integers(ACTIONS))
        seen = np.eye(ACTIONS, dtype=np.float32)[self._target]
        # An agent that has acted sees the end of its episode.
        told = AGENTS if self._round == HORIZON else self._acting()
        return dict.fromkeys(told, seen)


def register_uneven() -> None:
    """Make the environment "uneven" known to RLlib."""
    tune.register_env("uneven", lambda config: TurnBasedEnv(UnevenGame()))


def uneven_demonstrations(episodes: int = 40) -> Demonstrations:
    """Experts who name what they see; "never" and "rare" have a turn in every episode here."""
    rng = np.random.default_rng(1)
    targets = rng.integers(ACTIONS, size=(episodes, HORIZON))
    env = UnevenGame()
    rounds = np.arange(HORIZON)
    turns = np.stack([rounds >= 0, rounds < 4, rounds >= 5, rounds == 2, rounds == 3], axis=1)
    seen = np.eye(ACTIONS, dtype=np.float32)[targets]
    return Demonstrations.from_rounds(
        AGENTS,
        env.observation_spaces,
        env.action_spaces,
        observations=dict.fromkeys(AGENTS, seen),
        participation=np.broadcast_to(turns, (episodes, HORIZON, len(AGENTS))),
        actions=dict.fromkeys(AGENTS, targets),
        rewards=np.ones((episodes, HORIZON, len(AGENTS)), np.float32),
    )
