"""True scores in the results."""

from __future__ import annotations

from collections.abc import Mapping

from rllib_amagail.games.reference_scores import reference_scores


def score(returns: Mapping[str, float], game: str) -> float:
    """The game's own score, or the mean over agents of a game that is not ours."""
    reference = reference_scores(game)
    if reference is None:
        return sum(returns.values()) / len(returns)
    return float(reference.score(returns))


def normalised(found: float, game: str) -> float | None:
    """0 for random players, 1 for experts; None where these are not known."""
    reference = reference_scores(game)
    return None if reference is None else reference.normalised(found)
