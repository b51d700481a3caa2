"""Turns of one agent in many worlds: put in order, cut into episodes, credited with rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

# What an observation belongs to: a turn, or the end of a chunk or an episode.
TURN, CUT, TERMINATED, TRUNCATED = range(4)

PolicyColumns = Mapping[str, np.ndarray]  # what the policy gave: name to [n, ...]


@dataclass(frozen=True)
class TurnRows:
    """n observations of one agent."""

    worlds: np.ndarray  # [n] int64
    episodes: np.ndarray  # [n] int64 serial numbers, each of one world only
    times: np.ndarray  # [n] int64 index of the reward of the round that comes next
    rounds: np.ndarray  # [n] int64 t
    kinds: np.ndarray  # [n] int8
    participates: np.ndarray  # [n] bool
    observations: np.ndarray  # [n, ...]
    # Of open turns; 0 in other rows.
    lags: np.ndarray  # [n] int64 rounds played since the turn, but one
    discounts: np.ndarray  # [n] float64 of what the turn has earned so far

    @classmethod
    def concatenate(cls, parts: Sequence[TurnRows]) -> TurnRows:
        """The rows of all parts, in order."""
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def take(self, indices: np.ndarray) -> TurnRows:
        """Some of the rows."""
        return TurnRows(*(getattr(self, field.name)[indices] for field in fields(self)))


@dataclass(frozen=True)
class Segments:
    """An agent's rows, world by world and round by round. One episode or chunk is a segment.

    The last row of a segment is its final observation. Columns and rewards are of turns; in other
    rows they mean nothing.
    """

    rows: TurnRows
    columns: PolicyColumns  # name to [n, ...]
    rewards: np.ndarray  # [n] float64 credited: plain sums, as scores have them
    discounts: np.ndarray  # [n] float64 to be added to get sums discounted by rounds
    bounds: np.ndarray  # [S + 1] row offsets of the segments

    @classmethod
    def of(
        cls,
        rows: TurnRows,
        columns: Sequence[PolicyColumns],
        rewards: np.ndarray,
        gamma: float,
    ) -> Segments:
        """Order what was recorded round by round.

        Args:
            rows: `[n]` of one agent.
            columns: of its turns, in the same order.
            rewards: `[T, B]`, first what open turns have earned.
            gamma: the discount of a round.
        """
        turn_of_row = np.maximum(np.cumsum(rows.kinds == TURN) - 1, 0)
        order = np.argsort(rows.worlds, kind="stable")
        rows = rows.take(order)
        changes = np.flatnonzero(np.diff(rows.episodes)) + 1
        bounds = np.concatenate([[0], changes, [len(order)]])
        ordered = {
            name: np.concatenate([part[name] for part in columns])[turn_of_row[order]]
            for name in columns[0]
        }
        spans = _spans(rows, bounds, len(rewards))
        discounts, late = rows.discounts, _discounts(rewards, spans, rows.lags, gamma)
        if late is not None:
            discounts = discounts + _sums(late, spans)
        return cls(rows, ordered, _sums(rewards, spans), discounts, bounds)

    def open_turns(self, num_times: int) -> tuple[np.ndarray, TurnRows]:
        """Indices `[m]` of the turns that are open after `num_times` rewards, and their rows."""
        lasts = self.bounds[1:] - 1
        still_open = lasts[self.rows.kinds[lasts] == TURN]
        kept = self.rows.take(still_open)
        lags = kept.lags + num_times - kept.times - 1
        discounts = self.discounts[still_open]
        return still_open, replace(
            kept, times=np.zeros_like(kept.times), lags=lags, discounts=discounts
        )


def _spans(rows: TurnRows, bounds: np.ndarray, num_times: int) -> np.ndarray:
    """`[n, 2]` from each row to the next one of its segment, or to the end, world after world."""
    until = np.append(rows.times[1:], 0)
    until[bounds[1:] - 1] = num_times
    offsets = rows.worlds * num_times
    return np.stack([offsets + rows.times, offsets + until], axis=1)


def _sums(rewards: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """`[n]` sums of `rewards` (`[T, B]`) over spans."""
    # reduceat sums between the given indices, so every other sum is one between two turns; the 0
    # is there because an index may be behind the last reward.
    return np.add.reduceat(np.append(rewards.T.ravel(), 0.0), spans.ravel())[::2]


def _discounts(
    rewards: np.ndarray, spans: np.ndarray, lags: np.ndarray, gamma: float
) -> np.ndarray | None:
    """`[T, B]`, added to rewards they discount them by the rounds since the turn they belong to.

    None where nothing is to be discounted, as in games that pay participants only.
    """
    late = np.append(rewards.T.ravel(), 0.0)
    late[:: len(rewards)] = 0.0  # what open turns have earned was discounted before
    late[spans[:, 0]] = 0.0  # paid at once
    positions = np.flatnonzero(late)
    if gamma == 1.0 or len(positions) == 0:
        return None
    latest = np.maximum(np.searchsorted(spans[:, 0], positions, side="right") - 1, 0)
    rounds = np.maximum(positions - spans[latest, 0] + lags[latest], 0)
    late[positions] *= gamma**rounds - 1.0
    return late[:-1].reshape(rewards.shape[::-1]).T
