"""How much learned rewards say about true ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def reward_correlations(
    learned: Mapping[str, np.ndarray], true: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """Pearson's and Spearman's correlation of learned with true rewards, per agent.

    Args:
        learned: agent to ``[T]`` rewards of its turns.
        true: agent to ``[T]`` rewards of the same turns.

    Returns:
        Agent to ``{"pearson": ..., "spearman": ...}``, both in [-1, 1]; NaN where either reward
        never varies, so that there is nothing to correlate with.

    Raises:
        ValueError: other agents or shapes on one side than on the other.
    """
    if learned.keys() != true.keys():
        raise ValueError(
            f"found learned rewards of {sorted(learned)} and true ones of {sorted(true)}"
        )
    found = {}
    for agent, rewards in learned.items():
        if rewards.ndim != 1 or rewards.shape != true[agent].shape:
            raise ValueError(
                f"agent {agent!r} has learned rewards of shape {rewards.shape} and true ones of "
                f"shape {true[agent].shape}, expected [T] for both"
            )
        pair = rewards.astype(np.float64), true[agent].astype(np.float64)
        found[agent] = {
            "pearson": _pearson(*pair),
            "spearman": _pearson(ranks(pair[0]), ranks(pair[1])),
        }
    return found


def ranks(numbers: np.ndarray) -> np.ndarray:
    """``[T]`` ranks from 0 on; equal numbers share the mean of theirs."""
    _, index, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts + 1) / 2)[index]


def _pearson(one: np.ndarray, other: np.ndarray) -> float:
    if len(one) < 2:
        return float("nan")
    one, other = one - one.mean(), other - other.mean()
    scale = np.sqrt(np.square(one).sum() * np.square(other).sum())
    # Rounding alone makes up a deviation of numbers that are all equal.
    if scale < 1e-12 * len(one):
        return float("nan")
    return float(np.clip((one * other).sum() / scale, -1.0, 1.0))
