"""How far policies are from subgame perfection (paper, section 3.1).

A set of policies is an SPE if no agent gains by deviating alone, from any (s, h) on. The gap is
what it can gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rllib_amagail.equilibrium.game import TabularGame, checked_policies
from rllib_amagail.equilibrium.values import best_response_values, values


@dataclass(frozen=True)
class Gap:
    """Gains over a set of subgames and all agents, in units of discounted reward.

    Attributes:
        largest: the maximum; 0 exactly for an SPE of these subgames.
        mean: over agents and subgames. Both are NaN if there is no subgame.
        subgames: how many (s, h).
    """

    largest: float
    mean: float
    subgames: int


@dataclass(frozen=True)
class SubgamePerfection:
    """The SPE gap everywhere, and on and off the path of a set of policies."""

    everywhere: Gap
    on_path: Gap
    off_path: Gap


def gains(game: TabularGame, policies: Sequence[np.ndarray]) -> np.ndarray:
    """What each agent gains by its best response from every (s, h) on; `[N, S, H]`, at least 0.

    Raises:
        ValueError: if the policies do not fit the game.
    """
    return best_response_values(game, policies) - values(game, policies)


def subgame_perfection(
    game: TabularGame, policies: Sequence[np.ndarray], path_of: Sequence[np.ndarray]
) -> SubgamePerfection:
    """The SPE gap of `policies`.

    Args:
        path_of: the policies whose play is the path: the (s, h) that they reach with positive
            probability. Usually the experts'.

    Raises:
        ValueError: if the policies do not fit the game.
    """
    reached = game.reachable(checked_policies(game, path_of))
    return perfection(gains(game, policies)[:, game.subgames], reached[game.subgames])


def perfection(gained: np.ndarray, on_path: np.ndarray) -> SubgamePerfection:
    """The SPE gap of known gains.

    Args:
        gained: `[N, G]`, of every agent in each of G subgames.
        on_path: `[G]` bool.
    """
    return SubgamePerfection(_gap(gained), _gap(gained[:, on_path]), _gap(gained[:, ~on_path]))


def _gap(gained: np.ndarray) -> Gap:
    if not gained.size:
        return Gap(float("nan"), float("nan"), 0)
    return Gap(float(gained.max()), float(gained.mean()), gained.shape[1])
