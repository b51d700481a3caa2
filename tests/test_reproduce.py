"""The paper's experiments: the grid, the file of results, the driver, the trial."""

from __future__ import annotations

import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from ray.tune import Trainable
from rich.console import Console

from rllib_amagail.games import make_game
from tests.study_samples import (
    BENCHMARKS,
    NAVIGATION,
    SMALL_GRID,
    TINY,
    Cell,
    cells,
    cross_play,
    described,
    line_of,
    progress,
    reproduce,
    results,
    run,
    settings,
    sitting,
    studies,
    trial,
)


class TestGrid:
    def test_all_cells_are_there_once(self) -> None:
        listed = list(cells.FULL_GRID.cells())
        # 4 games x 5 seeds x (5 methods x 7 counts + 2 methods x 4 counts)
        assert len(listed) == len(set(listed)) == 4 * 5 * (5 * 7 + 2 * 4)

    def test_the_first_fifth_has_a_seed_of_everything(self) -> None:
        listed = list(cells.FULL_GRID.cells())
        first, others = listed[: len(listed) // 5], listed[len(listed) // 5 :]
        assert {cell.seed for cell in first} == {0}
        assert {replace(cell, seed=0) for cell in others} == set(first)

    def test_a_part_of_it_can_be_asked_for(self) -> None:
        asked = cells.FULL_GRID.cells([NAVIGATION], ["AMAGAIL_scratch", "AMAGAIL"], [10, 400], [3])
        assert [str(cell) for cell in asked] == [
            f"{NAVIGATION} AMAGAIL 10 seed 3",
            f"{NAVIGATION} AMAGAIL_scratch 10 seed 3",
            f"{NAVIGATION} AMAGAIL 400 seed 3",
        ]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"method": "GAIL"}, "method is 'GAIL'; expected one of BC_phi"),
            ({"game": "chess"}, "game is 'chess'"),
            ({"demonstrations": 0}, "0 demonstrations"),
            ({"seed": -1}, "seed -1"),
        ],
    )
    def test_impossible_cells_are_refused(self, change: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Cell(**{**Cell(NAVIGATION, "AMAGAIL", 10, 0).to_dict(), **change})


class TestSettings:
    def describe(self, method: str, lengths: Any = settings.FULL_LENGTHS, seed: int = 0) -> Any:
        return settings.settings_of(Cell(NAVIGATION, method, 10, seed), lengths).to_dict()

    def test_methods_differ_in_what_they_say(self) -> None:
        base = self.describe("AMAGAIL")

        def differences(method: str) -> dict[str, Any]:
            return {k: v for k, v in self.describe(method).items() if base[k] != v}

        assert differences("zero_reward") == {"reward_source": "zero"}
        assert differences("MAGAIL_chosen") == {"phi": "chosen", "bc_anchor": 0.0}
        assert differences("MAGAIL_executed") == {"phi": "executed", "bc_anchor": 0.0}
        assert differences("BC_filtered") == {"reward_source": "zero", "iterations": 0, "lr": 1e-3}
        assert differences("BC_phi").pop("phi") == "chosen"
        assert differences("AMAGAIL_scratch") == {
            "bc_steps": 0,
            "value_only_iterations": 0,
            "discriminator_steps": 8,
            "iterations": 125,
            "lr": [[0, 2e-3], [400_000, 1e-4]],
        }

    def test_the_hash_tells_settings_apart_and_nothing_else(self) -> None:
        described = self.describe("AMAGAIL")
        turned = dict(reversed(described.items()))
        assert settings.settings_hash(described) == settings.settings_hash(turned)
        assert described == self.describe("AMAGAIL", seed=4)
        longer = self.describe("AMAGAIL", replace(settings.FULL_LENGTHS, iterations=31))
        assert settings.settings_hash(described) != settings.settings_hash(longer)

    def test_a_setting_that_is_not_on_the_list_is_written_when_it_is_changed(self) -> None:
        made = settings.settings_of(Cell(NAVIGATION, "AMAGAIL", 10, 0), TINY)
        made.config.an_own_field = 2  # fields of no section are not the study's
        plain = made.to_dict()
        assert "an_own_field" not in plain
        made.config.imitation(discriminator_steps=5)
        assert made.to_dict() == {**plain, "discriminator_steps": 5}

    def test_seeds_choose_episodes_of_their_own(self) -> None:
        few, many = (trial.chosen_episodes(1000, count, seed=3) for count in (10, 400))
        assert list(few) == list(many[:10])
        assert len(set(many)) == 400
        assert set(few) != set(trial.chosen_episodes(1000, 10, seed=4))
        assert set(trial.chosen_episodes(1000, 1000, seed=3)) == set(range(1000))
        with pytest.raises(ValueError, match=r"found 10 recorded .* at least 11"):
            trial.chosen_episodes(10, 11, seed=0)


class TestResults:
    def test_a_half_written_line_is_ignored_and_cut_off(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "results.jsonl"
        file = results.JsonLines(path)
        assert file.read() == []
        file.append({"a": 1})
        with path.open("ab") as handle:
            handle.write(b'{"a": 2, "b"')
        assert file.read() == [{"a": 1}]
        file.append({"a": 3})
        assert path.read_text() == '{"a": 1}\n{"a": 3}\n'

    def test_a_process_waits_while_another_one_writes(self, tmp_path: Path) -> None:
        path = tmp_path / "results.jsonl"
        with path.open("ab") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            waiting = threading.Thread(target=results.JsonLines(path).append, args=[{"a": 2}])
            waiting.start()
            waiting.join(timeout=0.3)
            assert waiting.is_alive()
            other.write(b'{"a": 1}\n')
        waiting.join()
        assert path.read_text() == '{"a": 1}\n{"a": 2}\n'

    def test_a_broken_line_in_the_middle_is_told(self, tmp_path: Path) -> None:
        path = tmp_path / "results.jsonl"
        path.write_text('{"a": 1}\n{"a"\n{"a": 3}\n')
        with pytest.raises(ValueError, match="line 2: found"):
            results.JsonLines(path).read()

    def test_only_lines_of_the_present_settings_count(self) -> None:
        wanted = [Cell(NAVIGATION, "AMAGAIL", 10, seed) for seed in range(3)]
        old = line_of(wanted[1], lengths=replace(TINY, iterations=9))
        lines = [line_of(wanted[0], -31.0), old, line_of(wanted[0], -32.0)]
        found = results.finished(lines, wanted, described)
        assert {cell.seed: line["score"] for cell, line in found.items()} == {0: -32.0}

    def test_a_second_sitting_runs_what_is_missing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        study = studies.Study(SMALL_GRID, TINY, tmp_path, "")
        ran: list[Any] = []

        def one_fails(missing: Any, *others: Any, keep: Any, **more: Any) -> dict[Any, str]:
            for cell in missing:
                if cell != first:
                    keep(line_of(cell))
                    ran.append(cell)
            return {first: "boom"} if first in missing else {}

        monkeypatch.setattr(sitting, "run_cells", one_fails)
        chosen = reproduce.parse(["--games", NAVIGATION, "--methods", "BC_phi", "AMAGAIL"])
        chosen.workers = 1
        first = Cell(NAVIGATION, "BC_phi", 10, 0)
        assert reproduce.run_asked(study, chosen) == 1
        assert len(ran) == 2 * 2 * 2 - 1
        ran.clear()
        keep_first, first = first, Cell(NAVIGATION, "BC_phi", 10, 7)
        assert reproduce.run_asked(study, chosen) == 0
        assert ran == [keep_first]


class TestQueue:
    def test_cells_come_in_order_until_the_time_is_up(self) -> None:
        listed = list(SMALL_GRID.cells())[:2]
        queue = run.CellQueue(listed, deadline=None)
        assert [queue.suggest("")["cell"] for _ in listed] == [cell.to_dict() for cell in listed]
        assert queue.suggest("") == run.Searcher.FINISHED
        late = run.CellQueue(listed, deadline=time.monotonic() - 1)
        assert late.suggest("") == run.Searcher.FINISHED

    def test_time_left_takes_the_nearest_mean(self) -> None:
        left = progress.TimeLeft()
        known, other_game = (Cell(game, "AMAGAIL", 10, 0) for game in cells.GAMES[:2])
        assert left.of([known], workers=2) is None
        left.add(known, 10.0)
        left.add(known, 20.0)
        left.add(Cell(NAVIGATION, "BC_phi", 10, 0), 3.0)
        # 15 of the same; 15 of the method; (10 + 20 + 3) / 3 of all
        unknown = Cell(NAVIGATION, "zero_reward", 10, 0)
        assert left.of([known, other_game, unknown], workers=2) == (15 + 15 + 11) / 2

    def test_a_pipe_gets_a_line_for_every_cell(self) -> None:
        listed = list(SMALL_GRID.cells())[:3]
        console = Console(file=io.StringIO(), width=200)
        done = {listed[0]: line_of(listed[0])}
        with progress.CellProgress(listed[1:], done, 1, console) as shown:
            shown.started(listed[1])
            shown.ended(listed[1], line_of(listed[1]))
            shown.started(listed[2])
            shown.failed(listed[2], "boom")
        lines = console.file.getvalue().splitlines()
        assert lines[0].startswith("1/3")
        assert lines[1].startswith("2/3  0 running")
        assert lines[2:4] == [f"FAILED {listed[2]}", "boom"]


@pytest.mark.usefixtures("ray_session")
def test_a_failing_cell_is_told_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stub(Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.cell = new_config["cell"]
            return True

        def step(self) -> dict[str, Any]:
            if self.cell["method"] == "AMAGAIL":
                raise RuntimeError("no such luck")
            found = {"normalised": 0.5, "seconds": 0.0, "process": os.getpid(), **self.cell}
            return {"line": found, "done": True}

    monkeypatch.setattr(run, "CellTrial", Stub)
    listed = list(SMALL_GRID.cells([NAVIGATION], counts=[10], seeds=[0]))
    kept: list[dict[str, Any]] = []
    with progress.CellProgress(listed, {}, 1, Console(file=io.StringIO())) as shown:
        errors = run.run_cells(
            listed, TINY, tmp_path, workers=1, deadline=None, keep=kept.append, progress=shown
        )
    assert [line["method"] for line in kept] == [m for m in cells.METHODS if m != "AMAGAIL"]
    assert list(errors) == [listed[cells.METHODS.index("AMAGAIL")]]
    assert "RuntimeError: no such luck" in errors.popitem()[1]
    before, after = kept[:2], kept[2:]  # the failure
    assert len({line["process"] for line in before}) == 1
    assert len({line["process"] for line in after}) == 1


@pytest.fixture
def few_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve episodes of experts instead of a thousand."""
    monkeypatch.setattr(trial, "RECORDED_EPISODES", 12)


@pytest.mark.usefixtures("ray_session", "few_recorded")
class TestTrial:
    def test_every_method_runs_in_one_process(self, tmp_path: Path) -> None:
        listed = [Cell(NAVIGATION, method, 10, 1) for method in cells.ALL_METHODS]
        shared = {"lengths": asdict(TINY), "work": str(tmp_path)}
        worker = trial.CellTrial({"cell": listed[0].to_dict(), **shared})
        lines = {}
        for cell in [*listed, listed[0]]:
            worker.reset({"cell": cell.to_dict(), **shared})
            result = worker.train()
            assert result["done"]
            line = json.loads(json.dumps(result["line"], allow_nan=False))
            line.pop("seconds")
            assert line.items() >= cell.to_dict().items()
            assert line["rounds"] == 3200 * line["settings"]["iterations"]
            assert len(line["curve"]) == line["settings"]["iterations"]
            assert set(line["returns"]) == set(make_game(NAVIGATION).agents)
            if cell in lines:
                assert line == lines[cell], "another result in a process that ran others before"
            lines[cell] = line
        assert results.finished(lines.values(), listed, described).keys() == set(listed)
        worker.stop()

    def test_policies_of_two_cells_play_each_other(self, tmp_path: Path) -> None:
        grid = replace(SMALL_GRID, counts=(10,), seeds=(0,))
        made = studies.Study(grid, TINY, tmp_path, "")
        file = results.JsonLines(made.results)
        for method in ("BC_phi", "AMAGAIL"):
            cell = Cell(cells.COMPETITIVE_GAME, method, 10, 0)
            file.append(trial.run_cell(cell, TINY, made.work))
        findings = studies.Findings.of(made)
        played = cross_play.CrossPlay(made, findings)
        played.play_missing(iter)
        own = [played.mean(method, method) for method in ("BC_phi", "AMAGAIL")]
        lines = findings.lines.values()
        # A match of a method against itself is its evaluation.
        assert own == pytest.approx([line["score"] for line in lines], abs=1e-3)
        assert played.mean("BC_phi", "AMAGAIL") is not None
        again = cross_play.CrossPlay(made, findings)
        again.play_missing(lambda missing: pytest.fail(f"played before: {missing}"))
        assert again.mean("BC_phi", "AMAGAIL") == played.mean("BC_phi", "AMAGAIL")

    def test_long_curves_are_thinned(self) -> None:
        curve = [{"rounds": float(i)} for i in range(125)]
        kept = trial.thinned(curve)
        assert len(kept) == 25
        assert (kept[0], kept[-1]) == (curve[0], curve[-1])
        assert trial.thinned(curve[:25]) == curve[:25]


@pytest.mark.slow
def test_killed_and_interrupted_runs_go_on_where_they_stopped(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "reproduce.py"), "--quick", "--workers", "1"]
    command += ["--games", NAVIGATION, "--methods", "BC_phi", "BC_filtered", "AMAGAIL"]
    command += ["--demonstrations", "10", "--output", str(tmp_path)]
    file = results.JsonLines(tmp_path / "results.jsonl")

    def stop_after(count: int, how: signal.Signals) -> int:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len(file.read()) < count:
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(how)
        return process.wait(timeout=60)

    assert stop_after(1, signal.SIGKILL) == -signal.SIGKILL
    with (tmp_path / "results.jsonl").open("ab") as handle:
        handle.write(b'{"game": "stoch')  # as a kill in the middle of writing leaves it
    assert stop_after(2, signal.SIGINT) == reproduce.INTERRUPTED
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line["method"] for line in file.read()] == ["BC_phi", "BC_filtered", "AMAGAIL"]
    assert "3 of 56 cells" in (tmp_path / "README.md").read_text()
