"""A game in which what an agent sees now is not enough: it has to remember a signal and the time.

Each agent is shown a signal at its first turn, and nothing afterwards. The right action is to give
the signal back; but who has not acted for three rounds or more has to report first, with an action
of its own. Agents act in every second round on average, each by itself, so that neither the signal
nor the time can be told from what is seen.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete

from rllib_amagail.demonstrations import Demonstrations
from rllib_amagail.games.game import RoundResult
from rllib_amagail.player_functions import IndependentStochastic

GAME = "first_signal"
AGENTS = ("north", "south")
NUM_SIGNALS = 3
HORIZON = 12
CHANCE_TO_ACT = 0.5
REPORT = NUM_SIGNALS  # the action after the signals'
LONG_AWAY = 3  # rounds since the latest turn
_NEVER = -1


class FirstSignal:
    """B worlds of the game, as `runners.batched_worlds.BatchedWorlds` has them.

    A right action earns 1, any other 0. An agent that acts at random is right in a quarter of its
    turns, and so is, after its first, one that remembers nothing. One that knows its signal but not
    the time is right in three quarters of them.

    Attributes:
        agents, observation_spaces, action_spaces, batch_size, rounds, participation: as there.
        expert_actions: ``[B, N]`` what is right in the round about to be played.
    """

    agents = AGENTS

    def __init__(self, batch_size: int = 1, seed: int | None = None) -> None:
        self.batch_size = batch_size
        space = Box(0.0, 1.0, (NUM_SIGNALS,), np.float32)
        self.observation_spaces = dict.fromkeys(AGENTS, space)
        self.action_spaces = dict.fromkeys(AGENTS, Discrete(NUM_SIGNALS + 1))
        self.rounds = np.zeros(batch_size, np.int64)
        shape = (batch_size, len(AGENTS))
        self.participation = np.zeros(shape, bool)
        self._signals = np.zeros(shape, np.int64)
        self._latest = np.full(shape, _NEVER)  # rounds of the agents' latest turns
        self._rng = np.random.default_rng(seed)

    def reset(self, worlds: np.ndarray | None = None) -> None:
        """Begin new episodes in some worlds, ``[B]`` bool; None for all."""
        chosen = np.ones(self.batch_size, bool) if worlds is None else np.asarray(worlds)
        self.rounds[chosen], self._latest[chosen] = 0, _NEVER
        shape = self.participation.shape
        self._signals[chosen] = self._rng.integers(NUM_SIGNALS, size=shape)[chosen]
        self.participation[chosen] = (self._rng.random(shape) < CHANCE_TO_ACT)[chosen]

    def observations(self) -> dict[str, np.ndarray]:
        """The signal, one-hot, until the agent has acted; then zeros."""
        shown = np.eye(NUM_SIGNALS, dtype=np.float32)[self._signals]
        shown[self._latest >= 0] = 0.0
        return {agent: shown[:, index] for index, agent in enumerate(AGENTS)}

    @property
    def expert_actions(self) -> np.ndarray:
        """As in the class."""
        elapsed = np.where(self._latest >= 0, self.rounds[:, None] - self._latest, 0)
        return np.where(elapsed >= LONG_AWAY, REPORT, self._signals)

    def step(self, actions: np.ndarray) -> RoundResult:
        """Play a round with actions ``[B, N]``; those of absent agents do not matter."""
        right = self.participation & (np.asarray(actions) == self.expert_actions)
        self._latest = np.where(self.participation, self.rounds[:, None], self._latest)
        self.rounds += 1
        self.participation = self._rng.random(self.participation.shape) < CHANCE_TO_ACT
        over = self.rounds == HORIZON
        return RoundResult(right.astype(np.float32), np.zeros_like(over), over)

    def get_state(self) -> dict[str, Any]:
        """Copy of all that decides the future."""
        return copy.deepcopy(
            {
                "rounds": self.rounds,
                "participation": self.participation,
                "signals": self._signals,
                "latest": self._latest,
                "generator": self._rng.bit_generator.state,
            }
        )

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `get_state` was called."""
        state = copy.deepcopy(dict(state))
        self.rounds, self.participation = state["rounds"], state["participation"]
        self._signals, self._latest = state["signals"], state["latest"]
        self._rng.bit_generator.state = state["generator"]


def first_signal_demonstrations(num_episodes: int, *, seed: int = 0) -> Demonstrations:
    """Episodes of experts who remember, every round recorded.

    Args:
        num_episodes: E.
        seed: of the worlds.
    """
    worlds = FirstSignal(num_episodes, seed)
    worlds.reset()
    seen: dict[str, list[np.ndarray]] = {agent: [] for agent in AGENTS}
    acts, actions, rewards = [], [], []
    for _ in range(HORIZON):
        for agent, rows in worlds.observations().items():
            seen[agent].append(rows)
        acts.append(worlds.participation)
        actions.append(worlds.expert_actions)
        rewards.append(worlds.step(actions[-1]).rewards)
    return Demonstrations.from_rounds(
        AGENTS,
        worlds.observation_spaces,
        worlds.action_spaces,
        observations={agent: np.stack(rows, axis=1) for agent, rows in seen.items()},
        participation=np.stack(acts, axis=1),
        actions=np.stack(actions, axis=1),
        rewards=np.stack(rewards, axis=1),
        game=GAME,
        player_function=IndependentStochastic(np.full(len(AGENTS), CHANCE_TO_ACT)).to_dict(),
        provenance={"expert": "remembers signal and time", "seed": seed},
    )
