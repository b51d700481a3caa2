"""The small games that discriminator structures are compared on, and the page about them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rllib_amagail.testing import BatchedWorldsContract

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))  # scripts, in no package
games = importlib.import_module("structure_games")
structures = importlib.import_module("structures")


class TestSpeakerListener(BatchedWorldsContract):
    num_rounds = 25

    def make_worlds(self, batch_size: int, seed: int) -> Any:
        return games.SpeakerListener(batch_size, seed)


class TestPrivateGoals(BatchedWorldsContract):
    num_rounds = 25

    def make_worlds(self, batch_size: int, seed: int) -> Any:
        return games.PrivateGoals(batch_size, seed)


class TestPursuit(BatchedWorldsContract):
    num_rounds = 25

    def make_worlds(self, batch_size: int, seed: int) -> Any:
        return games.Pursuit(batch_size, seed)


class TestEndingPursuit(BatchedWorldsContract):
    num_rounds = 25

    def make_worlds(self, batch_size: int, seed: int) -> Any:
        return games.EndingPursuit(batch_size, seed)


def test_experts_get_what_can_be_counted() -> None:
    # A listener moves six times. It is paid for 6, 6, 5, 4, 3 of them from distances 0, 1, 2, 3, 4
    # to the goal; goals 0, 2 and 4 are as likely, and so are the five cells to begin at.
    at_the_ends, in_the_middle = 6 + 6 + 5 + 4 + 3, 5 + 6 + 6 + 6 + 5
    _, found = games.experts_play("speaker and listener", 4000, seed=0)
    assert found == pytest.approx((2 * at_the_ends + in_the_middle) / 15, abs=0.1)


def test_the_speakers_observation_says_nothing_of_its_words() -> None:
    worlds, others = (games.SpeakerListener(1, 0) for _ in range(2))
    for one, word in ((worlds, 0), (others, 1)):
        one.reset()
        one.step(np.array([[word, 1]]))
    seen, also_seen = worlds.observations(), others.observations()
    np.testing.assert_array_equal(seen["speaker"], also_seen["speaker"])
    assert seen["listener"][0, 5:].tolist() == [1, 0, 0]
    assert also_seen["listener"][0, 5:].tolist() == [0, 1, 0]


def test_demonstrations_hold_participants_actions_only() -> None:
    demonstrations, _ = games.experts_play("pursuit", 5, seed=0)
    pursuer, evader = (demonstrations.records[agent] for agent in demonstrations.agents)
    assert not (pursuer.participates & evader.participates).any()
    assert pursuer.participates[pursuer.round == 0].all()
    ended, _ = games.experts_play("pursuit to the capture", 50, seed=0)
    assert ended.episode_lengths().min() < games.Pursuit.horizon
    assert structures.references("pursuit", 1)[0] == pytest.approx(0.0, abs=1e-9)


def test_the_page_has_a_line_per_task_and_marks_who_was_to_win() -> None:
    runs = [run for run in structures.wanted_runs(quick=False) if run.game == "private goals"]
    assert {run.structure for run in runs} == {"decentralised", "centralised"}  # four agents
    lines = {
        run: {"score": 1.0 + run.seed, "machine": "m", "commit": "c"}
        for run in runs
        if run.seed < 2
    }
    page = structures.page(lines, total=len(runs))
    cells = "**1.50 (1.00, 2.00)** | 1.50 (1.00, 2.00) | " + structures.MISSING
    assert f"| private goals, 5 episodes | logit | {cells} |" in page
    assert "4 of 6 runs are there." in page


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_the_quick_form_runs_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    structures.main(["--quick", "--max-minutes", "0.01", "--output", str(tmp_path)])
    first = (tmp_path / "structures.jsonl").read_text()
    assert first.count("\n") >= 1
    structures.main(["--quick", "--report-only", "--output", str(tmp_path)])
    assert (tmp_path / "structures.jsonl").read_text() == first
