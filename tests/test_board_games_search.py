"""The tables of `benchmarks/board_games_search.py`, and its players who know a part of a game."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("pyspiel")
sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))  # scripts, in no package

from board_games_search import (
    SEEDS,
    Caller,
    PartlyKnown,
    SearchCell,
    described,
    table,
)
from paper_study import MISSING

from rllib_amagail.openspiel.exploitability import mean_exploitability
from rllib_amagail.openspiel.game import OpenSpielGame
from rllib_amagail.openspiel.players import UniformPlayer


def test_a_row_has_its_mean_and_standard_error() -> None:
    runs = {
        SearchCell("BC", 50, seed): {"exploitability": value}
        for seed, value in zip(SEEDS, (1.0, 2.0, 3.0, 4.0), strict=True)
    }
    head, _, row, missing, *_ = table(runs).splitlines()
    assert "standard error" in head
    # The squares add up to 5: the variance is 5/3, and the error sqrt(5/3) / 2.
    assert row == "| 50 | BC | 1.00 | 2.00 | 3.00 | 4.00 | 2.50 | 0.65 |"
    assert missing.split(" | ")[2:] == [MISSING] * 5 + [f"{MISSING} |"]


def test_variants_differ_in_their_settings() -> None:
    cells = [SearchCell(variant, 50, 100) for variant in ("BC", "rewards: logits")]
    assert described(cells[0]).keys() == {"cloning"}
    assert described(cells[1])["changed"] == {"reward_form": "airl"}


def test_the_first_runs_had_information_states_and_a_policy_per_seat() -> None:
    before = described(SearchCell("discount 0", 50, 100))
    now = described(SearchCell("table: AMAGAIL", 50, 100))
    assert before["amagail"]["env_config"] == {"game": "leduc_poker"}
    assert "policies" not in before["amagail"]
    assert before["amagail"]["lr"][1][0] == 1000 * before["iterations"] == 60_000
    assert now["amagail"]["env_config"]["observer"] == "leduc_table"
    assert now["amagail"]["policies"] == ["player"]
    assert now["amagail"]["lr"][1][0] == 1000 * now["iterations"] == 30_000


def test_partly_known_is_the_one_player_where_a_game_has_been_and_the_other_elsewhere() -> None:
    game = OpenSpielGame("kuhn_poker")
    jack, queen = game.rules.new_initial_state(), game.rules.new_initial_state()
    for state, cards in ((jack, (0, 1)), (queen, (1, 0))):
        for card in cards:
            state.apply_action(card)
    recorded = [{game.tensor(jack, 0).tobytes()}, set()]
    player = PartlyKnown(game, recorded, Caller(game), UniformPlayer(game))
    assert player.probabilities(jack, 0).tolist() == [0, 1]
    assert player.probabilities(queen, 0).tolist() == [0.5, 0.5]
    passed = jack.child(0)  # the other seat's turn
    recorded[1].add(game.tensor(passed, 1).tobytes())
    assert player.probabilities(passed, 1).tolist() == [0, 1]
    assert player.probabilities(queen.child(0), 1).tolist() == [0.5, 0.5]


def test_whoever_always_calls_in_leduc_poker_is_less_exploitable_than_uniform_play() -> None:
    game = OpenSpielGame("leduc_poker")
    caller, uniform = Caller(game), UniformPlayer(game)
    assert mean_exploitability(game, [caller] * 2) < mean_exploitability(game, [uniform] * 2)
