"""A sitting: the cells that are not there yet, as far as one comes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from machine import describe_machine
from paper_cells import Cell
from paper_progress import CellProgress
from paper_results import JsonLines, Line
from paper_run import run_cells
from paper_settings import Lengths
from paper_trial import record
from rich.console import Console


def run_missing(
    cells: list[Cell],
    done: Mapping[Cell, Line],
    lengths: Lengths,
    results: JsonLines,
    work: Path,
    *,
    workers: int,
    max_minutes: float | None,
    console: Console,
) -> int:
    """Run what is asked for and not there yet.

    Args:
        cells: that are asked for.
        done: the lines of those that are there.
        lengths: how long each takes.
        results: finished cells are appended.
        work: folder for recordings, policies and Tune's files.
        workers: cells at a time.
        max_minutes: no cell is begun after so long; None for no end.
        console: shows progress and failures.

    Returns:
        How many cells failed.
    """
    began = time.monotonic()
    missing = [cell for cell in cells if cell not in done]
    if not missing:
        console.print(f"All {len(cells)} cells are there.")
        return 0
    for game in dict.fromkeys(cell.game for cell in missing):
        record(game, work)
    shutil.rmtree(work / "tune", ignore_errors=True)  # of sittings before
    machine, commit = describe_machine()
    origin = {"commit": commit, "machine": machine.split(";")[0]}

    def keep(line: dict[str, Any]) -> None:
        results.append(line | origin)

    with CellProgress(missing, done, workers, console) as progress:
        errors = run_cells(
            missing,
            lengths,
            work,
            workers=workers,
            deadline=None if max_minutes is None else began + 60 * max_minutes,
            keep=keep,
            progress=progress,
        )
    for cell in errors:
        console.print(f"Failed: {cell}", markup=False)
    return len(errors)
