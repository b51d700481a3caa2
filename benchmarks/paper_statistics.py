"""Interquartile means and their bootstrap intervals (Agarwal et al., 2021).

Five seeds say little about a mean and less about its spread; these two say what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95


def iqm(values: np.ndarray) -> np.ndarray:
    """Mean without the lowest and the highest quarter of the last axis, each rounded down.

    Args:
        values: ``[..., R]``; of five values the middle three count.
    """
    cut = values.shape[-1] // 4
    return np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1)


def stratified_interval(
    strata: Sequence[np.ndarray],
    rng: np.random.Generator,
    statistic: Callable[[np.ndarray], np.ndarray] = iqm,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Percentile interval of a statistic of all runs, resampled within each stratum.

    Args:
        strata: one array ``[R_s]`` of runs per game.
        rng: draws the resamples.
        statistic: maps ``[resamples, R]`` to ``[resamples]``.
        resamples: how many.
        level: of the interval.

    Returns:
        Its ends.

    Raises:
        ValueError: no stratum, or one without runs.
    """
    if not strata or not all(len(runs) for runs in strata):
        raise ValueError(f"found {[len(r) for r in strata]} runs, expected at least one in each")
    drawn = [
        np.asarray(runs)[rng.integers(len(runs), size=(resamples, len(runs)))] for runs in strata
    ]
    found = statistic(np.concatenate(drawn, axis=1))
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
