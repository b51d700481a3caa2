"""The paper's experiments: learn, evaluate and report, in as many sittings as it takes.

    python benchmarks/reproduce.py                          # all cells: some hours on two cores
    python benchmarks/reproduce.py --quick                  # a small version, within 10 minutes
    python benchmarks/reproduce.py --max-minutes 60         # begin no cell after an hour
    python benchmarks/reproduce.py --seeds 0 --methods AMAGAIL BC_filtered
    python benchmarks/reproduce.py --report-only            # tables and plots of what is there

Every finished cell is one line of results.jsonl. A run that was interrupted, or killed, goes on
where it stopped; cells whose settings changed since are run again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from machine import describe_machine
from paper_cells import ALL_METHODS, FULL_GRID, GAMES, QUICK_GRID
from paper_progress import CellProgress
from paper_report import write_report
from paper_results import JsonLines, finished
from paper_run import run_cells
from paper_settings import FULL_LENGTHS, QUICK_LENGTHS
from paper_study import Study
from paper_trial import record
from rich.console import Console

OUTPUT = Path(__file__).parent / "paper"
INTERRUPTED = 130

console = Console()


def run_missing(study: Study, chosen: argparse.Namespace) -> int:
    """Run what is asked for and not there yet; how many cells failed."""
    began = time.monotonic()
    results = JsonLines(study.results)
    cells = list(
        study.grid.cells(chosen.games, chosen.methods, chosen.demonstrations, chosen.seeds)
    )
    done = finished(results.read(), cells, study.lengths)
    missing = [cell for cell in cells if cell not in done]
    if not missing:
        console.print(f"All {len(cells)} cells are there.")
        return 0
    for game in dict.fromkeys(cell.game for cell in missing):
        record(game, study.work)
    shutil.rmtree(study.work / "tune", ignore_errors=True)  # of sittings before
    machine, commit = describe_machine()
    origin = {"commit": commit, "machine": machine.split(";")[0]}

    def keep(line: dict[str, Any]) -> None:
        results.append(line | origin)

    with CellProgress(missing, done, chosen.workers, console) as progress:
        errors = run_cells(
            missing,
            study.lengths,
            study.work,
            workers=chosen.workers,
            deadline=None if chosen.max_minutes is None else began + 60 * chosen.max_minutes,
            keep=keep,
            progress=progress,
        )
    for cell in errors:
        console.print(f"Failed: {cell}", markup=False)
    return len(errors)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--games", nargs="+", choices=GAMES, default=GAMES, metavar="GAME")
    parser.add_argument(
        "--methods", nargs="+", choices=ALL_METHODS, default=ALL_METHODS, metavar="METHOD"
    )
    parser.add_argument("--demonstrations", nargs="+", type=int, metavar="COUNT")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="SEED")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="cells at a time")
    parser.add_argument("--output", type=Path, help="folder; default benchmarks/paper")
    parser.add_argument("--quick", action="store_true", help="a small version, for a look")
    parser.add_argument("--report-only", action="store_true", help="run nothing")
    parser.add_argument("--max-minutes", type=float, help="begin no cell after so long")
    return parser.parse_args(arguments)


def study_of(chosen: argparse.Namespace) -> Study:
    """What is studied and where its files are."""
    if chosen.quick:
        return Study(QUICK_GRID, QUICK_LENGTHS, chosen.output or OUTPUT / "quick", "--quick")
    return Study(FULL_GRID, FULL_LENGTHS, chosen.output or OUTPUT, "")


def main(arguments: list[str] | None = None) -> int:
    """Run and report; 1 if a cell failed, 130 after Ctrl-C."""
    chosen = parse(arguments)
    study = study_of(chosen)
    try:
        failed = 0 if chosen.report_only else run_missing(study, chosen)
        console.print(f"Report: {write_report(study, console)}", soft_wrap=True)
    except KeyboardInterrupt:
        console.print("Interrupted; finished cells are kept. Run the same again to go on.")
        return INTERRUPTED
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
