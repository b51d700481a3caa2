"""Experts of OpenSpiel's games: who they are, and what they are recorded doing."""

from __future__ import annotations

from rllib_amagail.demonstrations import Demonstrations
from rllib_amagail.openspiel.game import OpenSpielGame, import_openspiel
from rllib_amagail.openspiel.play import record_games
from rllib_amagail.openspiel.players import (
    EquilibriumPlayer,
    NoisyPlayer,
    PerfectPlayer,
    Player,
    SearchPlayer,
)

_SOLVED_MOVES = 10  # the longest games that minimax searches in seconds


def expert_player(game: OpenSpielGame, *, seed: int = 0) -> Player:
    """The best player there is for a game of two sides whose returns add up to zero.

    CFR+ where something is hidden, minimax where games without chance take ten moves at most, and
    tree search elsewhere.

    Args:
        game: to play.
        seed: of the tree search; the others need none.
    """
    game_type = import_openspiel().GameType
    kind = game.rules.get_type()
    if (kind.information, kind.dynamics) != (
        game_type.Information.PERFECT_INFORMATION,
        game_type.Dynamics.SEQUENTIAL,
    ):
        return EquilibriumPlayer(game)
    is_certain = kind.chance_mode == game_type.ChanceMode.DETERMINISTIC
    if is_certain and game.rules.max_game_length() <= _SOLVED_MOVES:
        return PerfectPlayer(game)
    return SearchPlayer(game, seed=seed)


def record_expert(
    game: OpenSpielGame, num_games: int, *, noise: float | None = None, seed: int = 0
) -> Demonstrations:
    """Record `expert_player`.

    Args:
        game: to play.
        num_games: E episodes.
        noise: None records both sides of games among experts. A number records one side of games
            against experts who make so many random moves (`NoisyPlayer`), in alternate seats.
        seed: of everything.
    """
    experts = [expert_player(game, seed=seed + seat) for seat in range(len(game.agents))]
    opponents = None if noise is None else [NoisyPlayer(game, each, noise) for each in experts]
    return record_games(game, experts, num_games, seed=seed, opponents=opponents)
