"""The paper's experiments: statistics, tables, targets and the report."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tests.study_samples import (
    NAVIGATION,
    SMALL_GRID,
    TINY,
    cross_play,
    line_of,
    report,
    reproduce,
    results,
    settings,
    statistics,
    studies,
    tables,
    targets,
)


class TestStatistics:
    def test_the_interquartile_mean_drops_a_quarter_at_each_end(self) -> None:
        assert statistics.iqm(np.array([100.0, 1.0, 2.0, 3.0, -50.0])) == 2.0
        assert statistics.iqm(np.array([[0.0, 1.0, 3.0, 9.0], [4.0, 4.0, 4.0, 4.0]])).tolist() == [
            2.0,
            4.0,
        ]
        assert statistics.iqm(np.array([1.0, 3.0])) == 2.0  # nothing to drop

    def test_two_runs_resample_to_three_means(self) -> None:
        # 0 and 1 with chance 1/4 each, 1/2 with chance 1/2: the middle 40 % are 1/2.
        rng = np.random.default_rng(0)
        runs = [np.array([0.0, 1.0])]
        assert statistics.stratified_interval(runs, rng, level=0.95) == (0.0, 1.0)
        assert statistics.stratified_interval(runs, rng, level=0.40) == (0.5, 0.5)

    def test_runs_are_drawn_within_their_game(self) -> None:
        # Whatever is drawn, one run of each game: their mean never moves.
        rng = np.random.default_rng(0)
        strata = [np.array([0.0]), np.array([10.0])]
        assert statistics.stratified_interval(strata, rng) == (5.0, 5.0)
        with pytest.raises(ValueError, match=r"found \[1, 0\] runs"):
            statistics.stratified_interval([np.array([0.0]), np.array([])], rng)


@pytest.fixture
def study(tmp_path: Path) -> Any:
    """A study whose first seed is there in every column, and nothing else."""
    made = studies.Study(SMALL_GRID, TINY, tmp_path, "--quick")
    file = results.JsonLines(made.results)
    for cell in SMALL_GRID.cells(seeds=[0]):
        file.append(line_of(cell, {"AMAGAIL": -24.0, "BC_phi": -40.0}.get(cell.method, -25.0)))
    return made


class TestReport:
    def test_tables_have_the_papers_layout(self, study: Any) -> None:
        found = studies.Findings.of(replace(study, grid=replace(SMALL_GRID, counts=(10, 200))))
        table = tables.score_table(found, NAVIGATION).splitlines()
        assert table[0] == "| Expert episodes | 10 | 200 |"
        assert "| AMAGAIL | -24.00 ± 4.0 | – |" in table  # noqa: RUF001
        assert "| *Behavior Cloning (paper)* | – | -45.8 ± 12.0 |" in table  # noqa: RUF001
        assert "| *Expert (paper)* | -12.5 ± 6.0 |  |" in table
        relative = tables.normalised_table(found, NAVIGATION)
        # (-26.1 + 61.6) / (-12.5 + 61.6)
        assert "| *AMAGAIL (paper)* | – | 0.72 |" in relative  # noqa: RUF001

    def test_the_report_says_what_is_there(self, study: Any) -> None:
        text = report.write_report(study, Console(file=io.StringIO())).read_text()
        assert "48 of 96 cells are there" in text
        for name in ("figure_2.png", "learning_curves.png", "settings.json"):
            assert (study.output / name).stat().st_size > 1000
            assert name in text
        written = json.loads((study.output / "settings.json").read_text())
        assert written["settings"][NAVIGATION]["AMAGAIL"]["iterations"] == TINY.iterations

    def test_targets_are_met_missed_or_open(self) -> None:
        def verdict(*found: float | None) -> str:
            parts = tuple(targets.Part("x", each, 0.5) for each in found)
            return targets.Target("", "", parts).verdict

        assert verdict(0.5, 0.7) == "met"
        assert verdict(0.5, None) == "open"
        assert verdict(0.4, None) == "**missed**"
        assert verdict() == "not measured"
        only_shown = targets.Part("x", 0.1, None)
        assert targets.Target("", "", (only_shown,)).verdict == "not measured"
        assert targets.Target("", "", (only_shown, targets.Part("y", 0.5, 0.5))).verdict == "met"

    def test_targets_compare_the_right_methods(self, study: Any) -> None:
        findings = studies.Findings.of(study)
        listed = targets.targets(findings, cross_play.CrossPlay(study, findings))
        by_name = {(t.what, t.where): t for t in listed}
        where = NAVIGATION.replace("_", " ")
        scale = settings.scale_of(NAVIGATION)
        ahead = by_name["AMAGAIL − BC_filtered ≥ −.005", where]  # noqa: RUF001
        # One point better: one point over the length of the scale.
        assert ahead.parts[0].found == pytest.approx(1 / (scale.expert - scale.random))
        better = by_name["AMAGAIL − BC_phi > 0 where that is < .97", where]  # noqa: RUF001
        assert [part.name for part in better.parts] == ["10", "50"]
        assert better.verdict == "met"

    def test_positive_differences_of_table_1_are_for_amagail(self, study: Any) -> None:
        findings, file = studies.Findings.of(study), results.JsonLines(study.matches)
        returns = {  # of the good agent, by adversaries and agent
            ("AMAGAIL", "BC_phi"): -60.0,
            ("BC_phi", "BC_phi"): -45.0,
            ("MAGAIL_chosen", "BC_phi"): -52.0,
            ("BC_filtered", "BC_phi"): -61.0,
            ("BC_phi", "AMAGAIL"): -46.0,
            ("BC_phi", "BC_filtered"): -46.5,
        }
        for (adversaries, agent), score in returns.items():
            match = cross_play.Match(adversaries, agent, 50, 0)
            used = [settings.settings_hash(findings.lines[c]["settings"]) for c in match.cells()]
            file.append({**asdict(match), "score": score, "settings": used})
        hunt, flee = targets.targets(findings, cross_play.CrossPlay(study, findings))[-2:]
        assert (hunt.where, hunt.verdict) == ("predator-prey, 50", "**missed**")
        assert [(part.name, part.found) for part in hunt.parts] == [
            ("than BC_phi", 15.0),
            ("than MAGAIL_chosen", 8.0),
            ("than BC_filtered", -1.0),
        ]
        assert str(hunt.parts[2]) == "than BC_filtered: -1.000 (no target)"
        assert [(part.name, part.found) for part in flee.parts] == [
            ("than BC_phi", -1.0),
            ("than BC_filtered", 0.5),
        ]
        assert flee.verdict == "met"

    def test_the_papers_numbers_are_whole(self) -> None:
        numbers = studies.paper_numbers()
        for table in numbers["tables"].values():
            assert all(len(row) == len(table["counts"]) for row in table["methods"].values())
        assert len(numbers["cross_play"]["rows"]) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0", "7"], "--seeds: found 7, expected some of 0 1 2 3 4"),
        (["--demonstrations", "100"], "--demonstrations: found 100"),
        (["--quick", "--seeds", "1"], "--seeds: found 1, expected some of 0,"),
    ],
)
def test_what_the_report_would_not_show_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        reproduce.parse(arguments)
    assert message in capsys.readouterr().err
