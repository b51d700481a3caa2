"""Where adversarial learning pays: scarce demonstrations, and demonstrations without actions.

    python benchmarks/regimes.py                    # all cells, one core
    python benchmarks/regimes.py --quick            # a small version, for a look
    python benchmarks/regimes.py --seeds 0 1 --methods BC AMAGAIL_scratch
    python benchmarks/regimes.py --report-only      # table and plot of what is there

Every finished cell is one line of results.jsonl; a run that was interrupted goes on where it
stopped, and cells whose settings changed are run again. A second process with other --seeds may
run beside the first.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path

import ray
import torch
from machine import describe_machine
from paper_results import JsonLines, finished
from regimes_cells import METHODS, REGIMES, SEEDS, Cell, cells
from regimes_report import write_report
from regimes_run import run_cell
from regimes_settings import QUICK, Lengths, settings_of
from rich.console import Console

from rllib_amagail.local_ray import start_local_ray

FOLDER = Path(__file__).parent / "regimes"
PAGE = Path(__file__).parent.parent / "docs" / "when_to_use.md"

console = Console()


def run_missing(wanted: list[Cell], lengths: Lengths, results: JsonLines, minutes: float) -> None:
    """Run the cells that are not there yet, until the time is up."""
    done = finished(results.read(), wanted, partial(settings_of, lengths=lengths))
    missing = [cell for cell in wanted if cell not in done]
    machine, commit = describe_machine()
    origin = {"commit": commit, "machine": machine.split(";")[0]}
    torch.set_num_threads(1)
    start_local_ray(num_cpus=1, log_to_driver=False)
    began = time.monotonic()
    try:
        for number, cell in enumerate(missing):
            spent = time.monotonic() - began
            if spent > 60 * minutes:
                break
            left = f"{spent / number * (len(missing) - number) / 60:.0f} min" if number else "?"
            console.print(f"{len(done) + number}/{len(wanted)}, {left} left: {cell}")
            line = run_cell(cell, lengths)
            results.append(line | origin)
            console.print(f"  {line['normalised']:.3f} in {line['seconds']:.0f} s")
    finally:
        ray.shutdown()


def main(arguments: list[str] | None = None) -> int:
    """Run and report; 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    games = tuple(dict.fromkeys(game for regime in REGIMES.values() for game in regime.games))
    parser.add_argument("--regimes", nargs="+", choices=REGIMES, default=tuple(REGIMES))
    parser.add_argument("--games", nargs="+", choices=games, default=games)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--seeds", nargs="+", type=int, choices=SEEDS, default=SEEDS)
    parser.add_argument("--max-minutes", type=float, default=float("inf"), metavar="MINUTES")
    parser.add_argument("--output", type=Path, help="folder; default benchmarks/regimes")
    parser.add_argument("--quick", action="store_true", help="a small version, for a look")
    parser.add_argument("--report-only", action="store_true", help="run nothing")
    chosen = parser.parse_args(arguments)
    lengths = QUICK if chosen.quick else Lengths()
    output = chosen.output or (FOLDER / "quick" if chosen.quick else FOLDER)
    seeds = chosen.seeds[:1] if chosen.quick else chosen.seeds
    wanted = list(cells(chosen.regimes, chosen.games, chosen.methods, seeds))
    results = JsonLines(output / "results.jsonl")
    stopped = False
    try:
        if not chosen.report_only:
            run_missing(wanted, lengths, results, chosen.max_minutes)
    except KeyboardInterrupt:
        console.print("Interrupted; finished cells are kept. Run the same again to go on.")
        stopped = True
    # All that is there, whatever was run now: the page shows the whole study.
    found = finished(results.read(), cells(), partial(settings_of, lengths=lengths))
    if found:
        write_report(found, output, PAGE if output == FOLDER else None)
        console.print(f"Report: {output / 'README.md'}", soft_wrap=True)
    return 130 if stopped else 0


if __name__ == "__main__":
    sys.exit(main())
