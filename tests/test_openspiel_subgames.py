"""OpenSpiel's games: gains of best responses from every subgame on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rllib_amagail.openspiel.experts import expert_player
from rllib_amagail.openspiel.exploitability import mean_exploitability, nash_conv
from rllib_amagail.openspiel.game import OpenSpielGame
from rllib_amagail.openspiel.players import PerfectPlayer, Player, SearchPlayer, UniformPlayer
from rllib_amagail.openspiel.subgames import subgame_perfection

# Two piles, of two stones and one; whoever takes the last stone wins.
NIM = OpenSpielGame("nim(pile_sizes=2;1,is_misere=false)")
# Three prizes, known in advance; bids are made one after the other, and hidden until both are.
BIDS = "goofspiel(num_cards=3,points_order=descending)"
GOOFSPIEL = OpenSpielGame(f"turn_based_simultaneous_game(game={BIDS})")


class Bidder:
    """Bids one card at first, or any, and its lowest after that."""

    def __init__(self, first: int | None) -> None:
        self._first, self._uniform = first, UniformPlayer(GOOFSPIEL)

    def probabilities(self, state: Any, player: int) -> np.ndarray:
        is_first = state.move_number() < 2
        if is_first and self._first is None:
            return self._uniform.probabilities(state, player)
        card = self._first if is_first else min(state.legal_actions())
        return np.eye(GOOFSPIEL.num_actions)[card]


def test_perfect_play_gains_nothing_anywhere() -> None:
    perfect: list[Player] = [PerfectPlayer(NIM)] * 2
    found = subgame_perfection(NIM, perfect, path_of=perfect)
    assert found.everywhere.largest == 0.0
    # Piles 2 1; then 1 1, 2 0 or 0 1; then 1 0 or 0 1 after 1 1, and 1 0 after 2 0.
    assert found.everywhere.subgames == 1 + 3 + 3
    # Who begins leaves 1 1 to the other, who may take either stone.
    assert (found.on_path.subgames, found.off_path.subgames) == (1 + 1 + 2, 3)


def test_gains_of_uniform_play_by_hand() -> None:
    """1 1 is won by who began, 0 1 is lost, 2 0 is a coin's toss: the beginning is worth 0.

    From there the first could win 1 and the second 1/3 (lose one game of three, win two). With 2 0
    the second could win 1 instead of 0.
    """
    uniform: list[Player] = [UniformPlayer(NIM)] * 2
    found = subgame_perfection(NIM, uniform, path_of=[PerfectPlayer(NIM)] * 2)
    assert found.on_path.largest == pytest.approx(1.0)
    assert found.on_path.mean == pytest.approx((1 + 1 / 3) / (2 * 4))
    assert found.off_path.largest == pytest.approx(1.0)
    assert found.off_path.mean == pytest.approx(1 / (2 * 3))


def test_poker_has_no_subgame_but_itself() -> None:
    game = OpenSpielGame("kuhn_poker(players=3)")
    uniform: list[Player] = [UniformPlayer(game)] * 3
    found = subgame_perfection(game, uniform, path_of=uniform)
    assert found.everywhere.subgames == 1
    assert found.everywhere.mean == pytest.approx(mean_exploitability(game, uniform))


def test_subgames_with_secrets_are_answered_where_nobody_goes() -> None:
    """Whatever the first bids are, what follows them is played alike and gains the same."""
    any_bids: list[Player] = [Bidder(None)] * 2
    fixed: list[Player] = [Bidder(0), Bidder(2)]
    everywhere = subgame_perfection(GOOFSPIEL, any_bids, path_of=any_bids).everywhere
    found = subgame_perfection(GOOFSPIEL, fixed, path_of=fixed)
    # The beginning, and one after each of nine pairs of bids; the last cards play themselves.
    assert everywhere.subgames == 1 + 9
    assert (found.on_path.subgames, found.off_path.subgames) == (2, 8)
    later = everywhere.mean * 2 * 10 - nash_conv(GOOFSPIEL, any_bids)
    assert later > 1.0
    assert found.everywhere.mean * 2 * 10 == pytest.approx(nash_conv(GOOFSPIEL, fixed) + later)


def test_games_without_turns_are_refused() -> None:
    game = OpenSpielGame(BIDS)
    uniform: list[Player] = [UniformPlayer(game)] * 2
    for refused in (
        lambda: nash_conv(game, uniform),
        lambda: subgame_perfection(game, uniform, uniform),
        lambda: expert_player(game),
    ):
        with pytest.raises(ValueError, match=r"SIMULTANEOUS moves.*turn_based_simultaneous_game"):
            refused()
    with pytest.raises(ValueError, match="'mfg_crowd_modelling' is a mean field game"):
        OpenSpielGame("mfg_crowd_modelling")
    with pytest.raises(ValueError, match="'catch' has no information states"):
        nash_conv(OpenSpielGame("catch"), [UniformPlayer(OpenSpielGame("catch"))])
    with pytest.raises(ValueError, match="found 1 players"):
        nash_conv(NIM, [UniformPlayer(NIM)])


def test_open_games_of_chance_are_searched() -> None:
    """CFR+ would walk through all of backgammon."""
    assert isinstance(expert_player(OpenSpielGame("backgammon")), SearchPlayer)
