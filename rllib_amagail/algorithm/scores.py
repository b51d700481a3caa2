"""True scores in the results."""

from __future__ import annotations

from collections.abc import Mapping

from rllib_amagail.games.reference_scores import reference_scores

# Settings of an environment that leave its scale as it is.
_HARMLESS = {"phi_is_action", "show_everyone", "render_mode"}


def scale_name(env: object, env_config: Mapping[str, object]) -> str:
    """The game whose scale applies; empty for a game with other options than it was measured."""
    return str(env) if set(env_config) <= _HARMLESS else ""


def score(returns: Mapping[str, float], game: str) -> float:
    """The game's own score, or the mean over agents of a game without a scale."""
    reference = reference_scores(game)
    if reference is None or not set(reference.scored_agents) <= set(returns):
        return sum(returns.values()) / len(returns)
    return float(reference.score(returns))


def normalised(found: float, game: str) -> float | None:
    """0 for random players, 1 for experts; None where these are not known."""
    reference = reference_scores(game)
    return None if reference is None else reference.normalised(found)
