"""The ablation of the anchor: what is compared, what is shared with the study, and its page."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from tests.study_samples import NAVIGATION, Cell, anchor, described, line_of, results, settings


def test_runs_differ_in_the_anchor_only() -> None:
    default = described(Cell(NAVIGATION, "AMAGAIL", 10, 0))

    def difference(method: str) -> dict[str, Any]:
        own = described(Cell(NAVIGATION, method, 10, 0))
        return {key: value for key, value in own.items() if default.get(key) != value}

    assert default["bc_anchor"] == 1.0
    assert difference("AMAGAIL_no_anchor") == {"bc_anchor": 0.0}
    assert difference("AMAGAIL_anchor_0.1") == {"bc_anchor": 0.1}
    assert difference("AMAGAIL_bc_term") == {"bc_anchor": 0.0, "bc_loss_coeff": 0.3}


def test_what_the_papers_study_ran_is_not_run_again(tmp_path: Path) -> None:
    study = tmp_path / "study.jsonl"
    compared = dataclasses.replace(anchor.ANCHOR, shared=study)
    wanted, full = list(compared.cells), settings.FULL_LENGTHS
    assert len(wanted) == 3 * 2 * 2 * 5
    theirs = [cell for cell in wanted if cell.method in ("AMAGAIL", "BC_filtered")]
    results.JsonLines(study).append(line_of(theirs[0], lengths=full))
    own = results.JsonLines(tmp_path / "anchor.jsonl")
    own.append(line_of(theirs[1], lengths=full))
    assert set(compared.read(own, wanted, full)) == set(theirs[:2])


def test_the_page_shows_means_and_the_worst_run(tmp_path: Path) -> None:
    def line(method: str, seed: int, normalised: float) -> tuple[Any, dict[str, Any]]:
        cell = Cell(NAVIGATION, method, 10, seed)
        return cell, line_of(cell) | {"normalised": normalised}

    lines = dict(
        [
            line("BC_filtered", 0, 0.90),
            line("BC_filtered", 1, 0.98),
            line("AMAGAIL", 0, 0.95),
            line("AMAGAIL", 1, 0.99),
            line("AMAGAIL_no_anchor", 0, 0.90),
            line("AMAGAIL_no_anchor", 1, 0.80),
        ]
    )
    page = anchor.ANCHOR.write(lines, 60, settings.FULL_LENGTHS, tmp_path / "out")
    assert page == tmp_path / "out" / "anchor.md"
    text = page.read_text()
    # filtered cloning, no anchor, a tenth, the default, a cloning term
    row = "| stochastic cooperative navigation, 10 | 0.940 | 0.850 | – | 0.970 | – |"  # noqa: RUF001
    assert row in text
    worst = "| worst run minus filtered cloning | +0.000 | -0.180 | – | +0.010 | – |"  # noqa: RUF001
    assert worst in text
    assert "6 of 60 runs are there" in text
