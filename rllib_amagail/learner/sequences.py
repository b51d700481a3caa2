"""Rows of recurrent policies: which follow one another, and the states they begin with.

Learners keep rows ``[T, ...]``, of recurrent policies, too. A column says which rows begin a
sequence; those up to the next one follow, turn after turn of one agent. Without that column every
row stands for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import tree
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

SEQUENCE_STARTS = "sequence_starts"  # column [T] bool
# What a policy needs to tell its action distributions. States [T, S] are flat; those of rows that
# begin a sequence count. Without that column they are zeros.
POLICY_INPUTS = (Columns.OBS, SEQUENCE_STARTS, Columns.STATE_IN)


def recorded_states(
    agent_episodes: Sequence[SingleAgentEpisode], state_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """States of a recurrent policy when it acted.

    Args:
        agent_episodes: of one module, S of them, with T turns in all.
        state_size: width of a flat state.

    Returns:
        ``[T, state_size]`` with which each turn began, zeros at an episode's first; and
        ``[S, state_size]`` after the latest turns.

    Raises:
        ValueError: a chunk of an episode that began before. RLlib's runner drops the state of an
            agent that did not act in the last round before a cut.
    """
    before, after = [], []
    for episode in agent_episodes:
        if episode.t_started > 0:
            raise ValueError(
                f"found a chunk of an episode of {episode.agent_id!r} that begins at its turn "
                f"{episode.t_started}, expected whole episodes for a recurrent policy: set "
                ".env_runners(batch_mode='complete_episodes')"
            )
        states = _flat(episode.get_extra_model_outputs(Columns.STATE_OUT), len(episode))
        before += [np.zeros((1, state_size), np.float32), states[:-1]]
        after.append(states[-1:])
    return np.concatenate(before), np.concatenate(after)


def _flat(states: Any, rows: int) -> np.ndarray:
    """Nested states of some rows ``[rows, S]``, in the order of `tree.flatten`."""
    parts = [np.asarray(part, np.float32).reshape(rows, -1) for part in tree.flatten(states)]
    return np.concatenate(parts, axis=1)


def state_size(initial_state: Any) -> int:
    """Width of a flat state."""
    return sum(int(np.prod(part.shape)) for part in tree.flatten(initial_state))


def nested_states(initial_state: Any, flat: torch.Tensor) -> Any:
    """Flat states ``[N, S]`` in the structure of a module's initial state, ``[N, ...]`` each."""
    parts, begin = [], 0
    for part in tree.flatten(initial_state):
        width = int(np.prod(part.shape))
        parts.append(flat[:, begin : begin + width].reshape(len(flat), *part.shape))
        begin += width
    return tree.unflatten_as(initial_state, parts)


class Sequences:
    """T rows as N sequences that are padded to the longest, L rows.

    Args:
        starts: ``[T]`` bool.
    """

    def __init__(self, starts: torch.Tensor) -> None:
        starts = starts.clone()
        starts[0] = True
        self.first_rows = torch.nonzero(starts)[:, 0]
        self._sequence = torch.cumsum(starts, 0) - 1  # [T]
        places = torch.arange(len(starts), device=starts.device)
        self._place = places - self.first_rows[self._sequence]
        self._shape = (len(self.first_rows), int(self._place.max()) + 1)

    def padded(self, rows: torch.Tensor) -> torch.Tensor:
        """``[N, L, ...]`` of rows ``[T, ...]``; zeros follow what is shorter."""
        out = rows.new_zeros((*self._shape, *rows.shape[1:]))
        out[self._sequence, self._place] = rows
        return out

    def rows(self, padded: torch.Tensor) -> torch.Tensor:
        """``[T, ...]`` of ``[N, L, ...]``."""
        return padded[self._sequence, self._place]


def in_pieces(batch: Mapping[str, torch.Tensor], length: int) -> Mapping[str, torch.Tensor]:
    """The same columns, with sequences of at most so many rows; others stay as they are."""
    if SEQUENCE_STARTS not in batch:
        return batch
    starts = batch[SEQUENCE_STARTS].clone()
    first_rows = torch.nonzero(starts)[:, 0]
    place = torch.arange(len(starts), device=starts.device)
    place = place - first_rows[torch.cumsum(starts, 0) - 1]
    return {**batch, SEQUENCE_STARTS: place % length == 0}


def rows_of_sequences(first_rows: np.ndarray, num_rows: int, chosen: np.ndarray) -> np.ndarray:
    """The rows of some sequences, one sequence after the other.

    Args:
        first_rows: ``[N]``, of all sequences, rising.
        num_rows: T, of all.
        chosen: indices of sequences; one may be there twice.
    """
    ends = np.append(first_rows[1:], num_rows)
    lengths = (ends - first_rows)[chosen]
    offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.repeat(first_rows[chosen], lengths) + offsets
