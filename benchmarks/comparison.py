"""Variants beside each other: the study's runs under other settings, and a page about them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from paper_cells import Cell
from paper_results import JsonLines, Line, finished
from paper_settings import FULL_LENGTHS, QUICK_LENGTHS, Lengths, settings_of
from paper_sitting import run_missing
from paper_study import MISSING
from rich.console import Console

BENCHMARKS = Path(__file__).parent
STUDY_RESULTS = BENCHMARKS / "paper" / "results.jsonl"
INTERRUPTED = 130


@dataclass(frozen=True)
class Comparison:
    """What is compared, and its files.

    Attributes:
        name: of its script, its page and its results, such as "anchor".
        cells: all of them, in the order of work.
        quick_cells: those of the quick version.
        page: the text for the finished cells, without the last lines about their origin.
        shared: results of another study, whose cells are not run again; None for none.
    """

    name: str
    cells: tuple[Cell, ...]
    quick_cells: tuple[Cell, ...]
    page: Callable[[Mapping[Cell, Line], Lengths], str]
    shared: Path | None = None

    def read(self, results: JsonLines, wanted: list[Cell], lengths: Lengths) -> dict[Cell, Line]:
        """The lines of the cells that are there, in either file."""
        lines = [*(JsonLines(self.shared).read() if self.shared else ()), *results.read()]
        return finished(lines, wanted, partial(described, lengths=lengths))

    def write(self, lines: Mapping[Cell, Line], total: int, lengths: Lengths, folder: Path) -> Path:
        """Write the page; where it is."""
        origins = [sorted({line[key] for line in lines.values()}) for key in ("machine", "commit")]
        machines, commits = (", ".join(origin) or MISSING for origin in origins)
        runs = f"[{self.name}.jsonl]({self.name}.jsonl)"
        if self.shared:
            runs += (
                ", and [paper/results.jsonl](paper/results.jsonl) where the paper's study has the "
                "same ones"
            )
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.md"
        path.write_text(f"""{self.page(lines, lengths)}
{len(lines)} of {total} runs are there. Made by `python benchmarks/{self.name}.py`.
Machine: {machines}. Commits: {commits}.
Runs: {runs}.
""")
        return path

    def run(self, arguments: list[str] | None, description: str | None) -> int:
        """Run what is missing and report; 1 if a run failed, 130 after Ctrl-C."""
        chosen = parse(arguments, description)
        console = Console()
        lengths = QUICK_LENGTHS if chosen.quick else FULL_LENGTHS
        work = BENCHMARKS / f"{self.name}_work"
        output = chosen.output or (work if chosen.quick else BENCHMARKS)
        results = JsonLines(output / f"{self.name}.jsonl")
        wanted = list(self.quick_cells if chosen.quick else self.cells)
        failed = 0
        try:
            if not chosen.report_only:
                failed = run_missing(
                    wanted,
                    self.read(results, wanted, lengths),
                    lengths,
                    results,
                    output / work.name,
                    workers=chosen.workers,
                    max_minutes=chosen.max_minutes,
                    console=console,
                )
            lines = self.read(results, wanted, lengths)
            page = self.write(lines, len(wanted), lengths, output)
            console.print(f"Report: {page}", soft_wrap=True)
        except KeyboardInterrupt:
            console.print("Interrupted; finished runs are kept. Run the same again to go on.")
            return INTERRUPTED
        return 1 if failed else 0


def described(cell: Cell, lengths: Lengths) -> dict[str, Any]:
    """A cell's present settings."""
    return settings_of(cell, lengths).to_dict()


def runs_of(
    lines: Mapping[Cell, Line], game: str, method: str, count: int | None = None
) -> Iterable[Line]:
    """The lines of a game and method; with a number of demonstrations, only those."""
    for cell, line in lines.items():
        if (cell.game, cell.method) == (game, method) and count in (None, cell.demonstrations):
            yield line


def parse(arguments: list[str] | None, description: str | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="runs at a time")
    parser.add_argument("--max-minutes", type=float, help="begin no run after so long")
    parser.add_argument("--output", type=Path, help="folder; default benchmarks")
    parser.add_argument("--quick", action="store_true", help="a small version, for a look")
    parser.add_argument("--report-only", action="store_true", help="run nothing")
    return parser.parse_args(arguments)
