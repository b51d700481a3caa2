"""What the anchor is for: AMAGAIL with weaker ones and without, beside filtered cloning.

    python benchmarks/anchor.py                      # what is missing, on all cores
    python benchmarks/anchor.py --max-minutes 20     # begin no run after 20 minutes
    python benchmarks/anchor.py --report-only        # write anchor.md from what is there
    python benchmarks/anchor.py --quick              # a small version, for a look

Runs are those of `reproduce.py`: the same settings but for the anchor, the same recordings, and
lines in anchor.jsonl as in paper/results.jsonl. What the paper's study ran is not run again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

import numpy as np
from comparison import STUDY_RESULTS, Comparison, runs_of
from paper_cells import COOPERATIVE_GAMES, Cell
from paper_results import Line
from paper_settings import Lengths
from paper_study import MISSING, markdown_table

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


def cells(quick: bool = False) -> Iterator[Cell]:
    """What is compared, seeds outermost; the quick version has one seed and count."""
    for seed in SEEDS[:1] if quick else SEEDS:
        for count in COUNTS[:1] if quick else COUNTS:
            for game in COOPERATIVE_GAMES:
                for method in TITLES:
                    yield Cell(game, method, count, seed)


def table(lines: Mapping[Cell, Line]) -> str:
    """Mean normalised scores over seeds, and how far a run fell below cloning's of its seed."""
    rows = [["game, expert episodes", *TITLES.values()]]
    for game, count in dict.fromkeys((cell.game, cell.demonstrations) for cell in cells()):
        row = [f"{game.replace('_', ' ')}, {count}"]
        for method in TITLES:
            runs = [line["normalised"] for line in runs_of(lines, game, method, count)]
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


def page(lines: Mapping[Cell, Line], lengths: Lengths) -> str:
    """What `ANCHOR` writes."""
    return f"""# The anchor

After cloning, AMAGAIL's policy loss has the term `bc_anchor * KL(π ‖ π_BC)`, so that adversarial
steps do no harm where cloning is good. Here it is weaker or switched off, or replaced by a cloning
term on expert rows, `bc_loss_coeff`. Everything else is the default. Adversarial iterations after
cloning: {lengths.iterations}.

Mean normalised true score over seeds (0 is random play, 1 the experts), {lengths.episodes:,}
episodes of evaluation. The last row compares with filtered cloning of the same game, episodes and
seed.

{table(lines)}"""


ANCHOR = Comparison("anchor", tuple(cells()), tuple(cells(quick=True)), page, shared=STUDY_RESULTS)


if __name__ == "__main__":
    sys.exit(ANCHOR.run(None, __doc__))
