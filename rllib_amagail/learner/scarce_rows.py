"""Modules that not every learner has rows of, so that agents who seldom act are trained, too.

A gradient step of one learner waits for those of all others, so a module is trained on all or on
none. With many learners an agent that acts in one episode of a hundred would never be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch

from rllib_amagail.learner.turns import TurnBatch

Gather = Callable[[Any], list[Any]]  # an object of every learner, in the order of their ranks


def gather_from_learners(item: Any) -> list[Any]:
    """What every learner passes; all must call it in the same order."""
    gathered: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, item)
    return gathered


def deal_scarce_rows(
    turns: Mapping[str, TurnBatch], modules: Sequence[str], rank: int, gather: Gather
) -> dict[str, TurnBatch]:
    """Share the rows of modules that some, but not all, learners have rows of.

    Their agent episodes are dealt out anew, one by one. Where there are fewer of them than
    learners, everybody takes all: the mean of equal gradients is the right one. All others stay
    where they are, and so do modules that nobody has rows of.

    Args:
        turns: this learner's batches by module; modules without rows may be missing.
        modules: which to look at, in the order common to all learners.
        rank: index of this learner.
        gather: collects an object of every learner.

    Returns:
        This learner's batches now.
    """
    own = [len(turns[module_id]) if module_id in turns else 0 for module_id in modules]
    counts = np.array(gather(own))  # [learners, modules]
    scarce = [
        module_id
        for module_id, rows in zip(modules, counts.T, strict=True)
        if rows.min() == 0 < rows.max()
    ]
    dealt = dict(turns)
    if not scarce:
        return dealt
    given = gather([turns.get(module_id) for module_id in scarce])
    for index, module_id in enumerate(scarce):
        whole = join_turns([batches[index] for batches in given if batches[index]])
        num_episodes = len(whole.segment_starts) - 1
        enough = num_episodes >= len(given)
        dealt[module_id] = whole.select(slice(rank, None, len(given))) if enough else whole
    return dealt


def share_rows(rows: np.ndarray, gather: Gather) -> np.ndarray:
    """``[Q, R]`` rows of this learner; those of all, if some learner has none."""
    counts = gather(len(rows))
    return rows if min(counts) > 0 else np.concatenate(gather(rows))


def join_turns(batches: Sequence[TurnBatch]) -> TurnBatch:
    """The turns of several batches of a module in one, ``[sum of T, ...]``."""
    columns: dict[str, Any] = {}
    for field in fields(TurnBatch):
        parts = [getattr(batch, field.name) for batch in batches]
        columns[field.name] = None if parts[0] is None else np.concatenate(parts)
    lengths = np.concatenate([np.diff(batch.segment_starts) for batch in batches])
    columns["segment_starts"] = np.concatenate([[0], np.cumsum(lengths)])
    return TurnBatch(**columns)
