"""What the anchor is for: AMAGAIL with weaker ones and without, beside filtered cloning.

    python benchmarks/anchor.py                      # what is missing, on all cores
    python benchmarks/anchor.py --max-minutes 20     # begin no run after 20 minutes
    python benchmarks/anchor.py --report-only        # write anchor.md from what is there
    python benchmarks/anchor.py --quick              # a small version, for a look

Runs are those of `reproduce.py`: the same settings but for the anchor, the same recordings, and
lines in anchor.jsonl as in paper/results.jsonl. What the paper's study ran is not run again.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from paper_cells import COOPERATIVE_GAMES, Cell
from paper_results import JsonLines, Line, finished
from paper_settings import FULL_LENGTHS, QUICK_LENGTHS, Lengths, settings_of
from paper_sitting import run_missing
from paper_study import MISSING, markdown_table
from rich.console import Console

BENCHMARKS = Path(__file__).parent
SHARED_RESULTS = BENCHMARKS / "paper" / "results.jsonl"
BASELINE = "BC_filtered"
TITLES = {
    BASELINE: "filtered cloning alone",
    "AMAGAIL_no_anchor": "`bc_anchor=0`",
    "AMAGAIL_anchor_0.1": "`bc_anchor=0.1`",
    "AMAGAIL": "`bc_anchor=1`, the default",
    "AMAGAIL_bc_term": "`bc_anchor=0`, `bc_loss_coeff=0.3`",
}
COUNTS = (10, 200)
SEEDS = (0, 1)
INTERRUPTED = 130


def cells(quick: bool = False) -> Iterator[Cell]:
    """What is compared, seeds outermost; the quick version has one seed and count."""
    for seed in SEEDS[:1] if quick else SEEDS:
        for count in COUNTS[:1] if quick else COUNTS:
            for game in COOPERATIVE_GAMES:
                for method in TITLES:
                    yield Cell(game, method, count, seed)


def described(cell: Cell, lengths: Lengths) -> dict[str, Any]:
    """A cell's present settings."""
    return settings_of(cell, lengths).to_dict()


def read(results: JsonLines, wanted: list[Cell], lengths: Lengths) -> dict[Cell, Line]:
    """The lines of the cells that are there, in either file."""
    lines = [*JsonLines(SHARED_RESULTS).read(), *results.read()]
    return finished(lines, wanted, partial(described, lengths=lengths))


def table(lines: Mapping[Cell, Line]) -> str:
    """Mean normalised scores over seeds, and how far a run fell below cloning's of its seed."""
    rows = [["game, expert episodes", *TITLES.values()]]
    for game, count in dict.fromkeys((cell.game, cell.demonstrations) for cell in cells()):
        row = [f"{game.replace('_', ' ')}, {count}"]
        for method in TITLES:
            runs = [
                line["normalised"]
                for cell, line in lines.items()
                if (cell.game, cell.demonstrations, cell.method) == (game, count, method)
            ]
            row.append(f"{np.mean(runs):.3f}" if runs else MISSING)
        rows.append(row)
    gaps = [differences(lines, method) for method in TITLES]
    worst = [f"{min(each):+.3f}" if each else MISSING for each in gaps]
    return markdown_table([*rows, ["worst run minus filtered cloning", *worst]])


def differences(lines: Mapping[Cell, Line], method: str) -> list[float]:
    """Normalised score minus filtered cloning's of the same game, count and seed."""
    pairs = (
        (line, lines.get(Cell(cell.game, BASELINE, cell.demonstrations, cell.seed)))
        for cell, line in lines.items()
        if cell.method == method
    )
    return [line["normalised"] - other["normalised"] for line, other in pairs if other]


def write_report(lines: Mapping[Cell, Line], total: int, lengths: Lengths, path: Path) -> None:
    """Write the page."""
    origins = [sorted({line[key] for line in lines.values()}) for key in ("machine", "commit")]
    machines, commits = (", ".join(origin) or MISSING for origin in origins)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"""# The anchor

After cloning, AMAGAIL's policy loss has the term `bc_anchor * KL(π ‖ π_BC)`, so that adversarial
steps do no harm where cloning is good. Here it is weaker or switched off, or replaced by a cloning
term on expert rows, `bc_loss_coeff`. Everything else is the default. Adversarial iterations after
cloning: {lengths.iterations}.

Mean normalised true score over seeds (0 is random play, 1 the experts), {lengths.episodes:,}
episodes of evaluation. The last row compares with filtered cloning of the same game, episodes and
seed.

{table(lines)}
{len(lines)} of {total} runs are there. Made by `python benchmarks/anchor.py`. Machine: {machines}.
Commits: {commits}. Runs: [anchor.jsonl](anchor.jsonl), and
[paper/results.jsonl](paper/results.jsonl) where the paper's study has the same ones.
""")


def main(arguments: list[str] | None = None) -> int:
    """Run and report; 1 if a run failed, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="runs at a time")
    parser.add_argument("--max-minutes", type=float, help="begin no run after so long")
    parser.add_argument("--output", type=Path, help="folder; default benchmarks")
    parser.add_argument("--quick", action="store_true", help="a small version, for a look")
    parser.add_argument("--report-only", action="store_true", help="run nothing")
    chosen = parser.parse_args(arguments)
    console = Console()
    lengths = QUICK_LENGTHS if chosen.quick else FULL_LENGTHS
    output = chosen.output or (BENCHMARKS / "anchor_work" if chosen.quick else BENCHMARKS)
    results, wanted = JsonLines(output / "anchor.jsonl"), list(cells(chosen.quick))
    failed = 0
    try:
        if not chosen.report_only:
            failed = run_missing(
                wanted,
                read(results, wanted, lengths),
                lengths,
                results,
                output / "anchor_work",
                workers=chosen.workers,
                max_minutes=chosen.max_minutes,
                console=console,
            )
        write_report(read(results, wanted, lengths), len(wanted), lengths, output / "anchor.md")
        console.print(f"Report: {output / 'anchor.md'}", soft_wrap=True)
    except KeyboardInterrupt:
        console.print("Interrupted; finished runs are kept. Run the same again to go on.")
        return INTERRUPTED
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
