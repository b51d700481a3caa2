"""What an agent is shown of its own past: policies pi(a|s, h) of extensive Markov games.

K counts rows, B worlds, D features of an observation, A columns of an encoded action, k past turns,
H columns of the past. Only turns count: a round in which an agent did not participate, phi, is in
nobody's past but as time that went by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Space

from rllib_amagail.spaces import MASK_KEY, ActionLayout, ObservationLayout

NOW, PAST = "now", "past"  # parts of an observation that shows the past
_NEVER = -1  # round of a turn that has not been


@dataclass(frozen=True)
class History:
    """How much of the past agents are shown.

    Attributes:
        past_turns: k, of the agent's own latest turns: what it saw and what it did.
        elapsed_rounds: also how long ago they were, and the episode's beginning.

    Raises:
        ValueError: fewer than 0 turns.
    """

    past_turns: int = 0
    elapsed_rounds: bool = False

    def __post_init__(self) -> None:
        if self.past_turns < 0:
            raise ValueError(f"past_turns is {self.past_turns}; expected >= 0")

    def __bool__(self) -> bool:
        return self.past_turns > 0 or self.elapsed_rounds

    def layout(self, observation_space: Space, action_space: Space) -> HistoryLayout | None:
        """How an agent's past is laid out; None if the space shows this past already.

        Raises:
            ValueError: a space that shows another past, or an unsupported one.
        """
        actions = ActionLayout.from_space(action_space)
        if isinstance(observation_space, Dict) and {NOW, PAST} <= observation_space.spaces.keys():
            now = ObservationLayout.from_space(observation_space[NOW])
            expected = HistoryLayout(self, now, actions).size
            found = observation_space[PAST].shape
            if found != (expected,):
                raise ValueError(
                    f"found observations with a past of shape {found}, expected ({expected},) of "
                    f"past_turns={self.past_turns} and elapsed_rounds={self.elapsed_rounds}: set "
                    "both as they were when it was recorded, or start from observations without"
                )
            return None
        return HistoryLayout(self, ObservationLayout.from_space(observation_space), actions)


@dataclass(frozen=True)
class HistoryLayout:
    """The columns that show one agent's past, the latest turn first.

    1. With elapsed rounds: log(1 + rounds) since the episode began, and since each of the latest
       max(k, 1) turns, 0 for turns that have not been.
    2. For each of these turns 1 if it has been, else 0.
    3. For each of the latest k turns the D features seen and the action taken (one-hot, or within
       its bounds), zeros for turns that have not been.
    """

    history: History
    observations: ObservationLayout  # without the past
    actions: ActionLayout

    @property
    def num_turns(self) -> int:
        """Turns that are told of: k, or 1 where only time is."""
        return max(self.history.past_turns, 1)

    @property
    def turn_size(self) -> int:
        """D + A, columns of what an agent saw and did in a turn."""
        return self.observations.feature_size + self.actions.feature_size

    @property
    def size(self) -> int:
        """H."""
        times = 1 + self.num_turns if self.history.elapsed_rounds else 0
        return times + self.num_turns + self.history.past_turns * self.turn_size

    @property
    def space(self) -> Dict:
        """What the agent observes: flat features, the past, and the mask if there is one."""
        shapes = {NOW: self.observations.feature_size, PAST: self.size}
        parts: dict[str, Space] = {
            name: Box(-np.inf, np.inf, (width,), np.float32) for name, width in shapes.items()
        }
        if self.observations.mask_size:
            parts[MASK_KEY] = self.observations.space[MASK_KEY]
        return Dict(parts)

    def turn(self, features: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """``[K, D + A]`` float32 of ``[K, D]`` features seen and ``[K, ...]`` actions taken."""
        rows = [features, self.actions.features(actions)]
        return np.concatenate(rows, axis=1, dtype=np.float32)

    def columns(self, rounds: np.ndarray, turn_rounds: np.ndarray, turns: np.ndarray) -> np.ndarray:
        """The past as of some rounds: ``[K, H]`` float32.

        Args:
            rounds: ``[K]`` t.
            turn_rounds: ``[K, num_turns]`` when the latest turns were; below 0: never.
            turns: ``[K, k, D + A]`` of `turn`, zeros where there was none.
        """
        known = turn_rounds >= 0
        parts = [known, turns.reshape(len(rounds), -1)]
        if self.history.elapsed_rounds:
            since = np.where(known, rounds[:, None] - turn_rounds, 0)
            parts = [np.log1p(rounds)[:, None], np.log1p(since), *parts]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def recorded(
        self,
        episode: np.ndarray,
        rounds: np.ndarray,
        participates: np.ndarray,
        features: np.ndarray,
        actions: np.ndarray | None,
    ) -> np.ndarray:
        """The past of recorded rows: ``[K, H]`` float32.

        Args:
            episode, rounds: ``[K]`` int, rows in this order.
            participates: ``[K]`` bool, which rows are turns.
            features: ``[K, D]``.
            actions: ``[K, ...]`` as recorded; None will do without past turns.
        """
        turn_rows = np.append(np.flatnonzero(participates), _NEVER)
        before = np.cumsum(participates) - participates  # turns of all episodes so far
        wanted = before[:, None] - 1 - np.arange(self.num_turns)
        rows = turn_rows[np.maximum(wanted, _NEVER)]  # [K, num_turns]
        known = (rows >= 0) & (episode[rows] == episode[:, None])
        turn_rounds = np.where(known, rounds[rows], _NEVER)
        if self.history.past_turns == 0:
            return self.columns(rounds, turn_rounds, np.zeros((len(rounds), 0), np.float32))
        assert actions is not None
        turns = np.zeros((len(rounds), self.turn_size), np.float32)
        turns[participates] = self.turn(features[participates], actions[participates])
        shown = np.where(known[..., None], turns[rows], 0.0)
        return self.columns(rounds, turn_rounds, shown)


class TurnMemory:
    """The latest turns of one agent in B worlds that are being played."""

    def __init__(self, layout: HistoryLayout, batch_size: int) -> None:
        self.layout = layout
        self._rounds = np.full((batch_size, layout.num_turns), _NEVER)
        self._turns = np.zeros(
            (batch_size, layout.history.past_turns, layout.turn_size), np.float32
        )

    def reset(self, worlds: np.ndarray | None = None) -> None:
        """Forget everything in some worlds, ``[B]`` bool; None for all."""
        chosen = slice(None) if worlds is None else worlds
        self._rounds[chosen], self._turns[chosen] = _NEVER, 0.0

    def columns(self, rounds: np.ndarray) -> np.ndarray:
        """``[B, H]`` the past as of the rounds ``[B]`` about to be played."""
        return self.layout.columns(rounds, self._rounds, self._turns)

    def acted(
        self, worlds: np.ndarray, rounds: np.ndarray, features: np.ndarray, actions: np.ndarray
    ) -> None:
        """Remember a turn.

        Args:
            worlds: ``[n]`` indices of where the agent acts.
            rounds: ``[n]`` t there.
            features: ``[n, D]`` what it sees.
            actions: ``[n, ...]`` what it does.
        """
        self._rounds[worlds, 1:] = self._rounds[worlds, :-1]
        self._rounds[worlds, 0] = rounds
        if self.layout.history.past_turns:
            self._turns[worlds, 1:] = self._turns[worlds, :-1]
            self._turns[worlds, 0] = self.layout.turn(features, actions)

    def get_state(self) -> dict[str, Any]:
        """Copy of what is remembered."""
        return {"rounds": self._rounds.copy(), "turns": self._turns.copy()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Remember what a `get_state` gave."""
        self._rounds, self._turns = state["rounds"].copy(), state["turns"].copy()
