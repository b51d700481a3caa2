"""The page of `benchmarks/board_games.py`, and that its settings are those of the tuned configs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from rllib_amagail import Demonstrations

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))  # scripts, in no package

import board_games  # noqa: E402
from board_games_settings import METHODS, STUDIES, BoardCell, cells, tuned  # noqa: E402


def match(wins: int, draws: int, losses: int) -> dict[str, Any]:
    return {"wins": wins, "draws": draws, "losses": losses, "illegal_moves": 0}


def line(exploitability: float, losses: int) -> dict[str, Any]:
    played = {
        "random": match(9, 1, 0),
        "expert": match(0, 10 - losses, losses),
        "BC": match(5, 0, 5),
        "illegal_moves": 0,
        "exploitability": exploitability,
    }
    return {"machine": "m", "commit": "c", "methods": {"AMAGAIL": played}}


def test_a_table_has_shares_and_their_range_over_seeds() -> None:
    lines = {
        BoardCell("leduc_poker", 20, seed): line(exploitability, losses)
        for seed, exploitability, losses in ((0, 1.0, 0), (1, 2.0, 4))
    }
    text = board_games.table(lines, "leduc_poker", 20)
    (row,) = [row for row in text.splitlines() if row.startswith("| AMAGAIL |")]
    cells_of_row = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells_of_row == [
        "AMAGAIL",
        "90.0 / 10.0 / 0.0 (0.0 to 0.0)",
        "50.0 / 0.0 / 50.0 (50.0 to 50.0)",
        "0.0 / 80.0 / 20.0 (0.0 to 40.0)",  # 0 of 10 games lost, and 4 of 10
        "0",
        "1.500 (1.000 to 2.000)",
    ]
    assert "2 seeds" in text


@pytest.mark.parametrize("game", STUDIES)
def test_board_games_have_tuned_configs(game: str) -> None:
    settings = tuned(game)
    settings.config.copy(copy_frozen=False).validate()
    shipped = Demonstrations.load(settings.config.demonstrations)
    assert shipped.game == game
    assert shipped.num_episodes == settings.recording["num_games"]
    assert settings.config.demonstrations.stat().st_size < 100_000


def test_settings_are_json_and_know_what_changes() -> None:
    for cell in cells():
        text = json.dumps(board_games.settings_of(cell))
        assert " at 0x" not in text  # an address would make every run's settings new ones
    leduc = board_games.settings_of(BoardCell("leduc_poker", 20, 0))["amagail"]
    assert leduc["env_config"] == {"game": "leduc_poker", "observer": "leduc_table"}
    assert leduc["policies"] == ["player"]
    assert "policies" not in board_games.settings_of(BoardCell("tic_tac_toe", 20, 0))["amagail"]
    first, *others = cells()
    assert board_games.settings_of(first) != board_games.settings_of(others[0])
    assert {cell.seed for cell in cells()} == {0, 1, 2}
    assert METHODS[0] == "BC"  # trained first, because the others play it
