"""Asynchronous occupancy measures, exact (paper, Definition 1), and their distance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rllib_amagail.equilibrium.game import TabularGame, checked_policies
from rllib_amagail.equilibrium.values import Chain


def occupancy_measures(game: TabularGame, policies: Sequence[np.ndarray]) -> list[np.ndarray]:
    """ρ^p of every agent under `policies`; `[S, A_i + 1]` each, φ last.

    Definition 1, with the probability of s_t and h_{t-1} together where the paper prints that of
    s_t alone. All of it sums to 1 / (1 - γ), the part of A_i to Σ_t γ^t Pr(I_{i,t} = 1).

    Raises:
        ValueError: if the policies do not fit the game.
    """
    policies = checked_policies(game, policies)
    visits = Chain(game, policies).visits()
    turns = visits @ game.participation  # [S, N]
    absent = visits @ (1.0 - game.participation)
    return [
        np.concatenate([policy * turns[:, [agent]], absent[:, [agent]]], axis=1)
        for agent, policy in enumerate(policies)
    ]


def jensen_shannon(first: np.ndarray, second: np.ndarray) -> float:
    """Jensen-Shannon divergence of two measures, each scaled to sum to 1; in [0, log 2].

    It is what a perfect discriminator leaves of equation 14, up to constants.

    Raises:
        ValueError: if the shapes differ, or one holds negative numbers or nothing.
    """
    if np.shape(first) != np.shape(second):
        raise ValueError(
            f"measures have shapes {np.shape(first)} and {np.shape(second)}, expected equal ones"
        )
    for measure in (first, second):
        if np.min(measure) < 0.0 or np.sum(measure) <= 0.0:
            raise ValueError(
                f"a measure has minimum {np.min(measure)} and sum {np.sum(measure)}, expected no "
                f"negative number and a positive sum"
            )
    p, q = first / np.sum(first), second / np.sum(second)
    middle = (p + q) / 2.0
    return float((_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2.0)


def _relative_entropy(p: np.ndarray, q: np.ndarray) -> float:
    some = p > 0.0
    return float((p[some] * np.log(p[some] / q[some])).sum())
