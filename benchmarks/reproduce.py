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
import sys
from pathlib import Path

from paper_cells import ALL_METHODS, FULL_GRID, GAMES, QUICK_GRID
from paper_report import write_report
from paper_results import JsonLines, finished
from paper_settings import FULL_LENGTHS, QUICK_LENGTHS
from paper_sitting import run_missing
from paper_study import Study
from rich.console import Console

OUTPUT = Path(__file__).parent / "paper"
INTERRUPTED = 130

console = Console()


def run_asked(study: Study, chosen: argparse.Namespace) -> int:
    """Run what is asked for and not there yet; how many cells failed."""
    results = JsonLines(study.results)
    cells = list(
        study.grid.cells(chosen.games, chosen.methods, chosen.demonstrations, chosen.seeds)
    )
    return run_missing(
        cells,
        finished(results.read(), cells, study.described),
        study.lengths,
        results,
        study.work,
        workers=chosen.workers,
        max_minutes=chosen.max_minutes,
        console=console,
    )


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
    chosen = parser.parse_args(arguments)
    grid = QUICK_GRID if chosen.quick else FULL_GRID
    for option, known in (("demonstrations", grid.counts), ("seeds", grid.seeds)):
        if unknown := set(getattr(chosen, option) or ()) - set(known):
            found, expected = (" ".join(map(str, sorted(each))) for each in (unknown, known))
            parser.error(
                f"--{option}: found {found}, expected some of {expected}, which the report shows"
            )
    return chosen


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
        failed = 0 if chosen.report_only else run_asked(study, chosen)
        console.print(f"Report: {write_report(study, console)}", soft_wrap=True)
    except KeyboardInterrupt:
        console.print("Interrupted; finished cells are kept. Run the same again to go on.")
        return INTERRUPTED
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
