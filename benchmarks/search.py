"""Where the study's settings come from: a search on seeds that no other run uses.

    python benchmarks/search.py                      # what is missing, on all cores
    python benchmarks/search.py --max-minutes 20     # begin no run after 20 minutes
    python benchmarks/search.py --report-only        # write search.md from what is there
    python benchmarks/search.py --quick              # a small version, for a look

One setting is changed at a time. What was chosen is in `paper_settings.py`; runs are those of
`reproduce.py`, and their lines are in search.jsonl as in paper/results.jsonl.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

import numpy as np
from comparison import Comparison, runs_of
from paper_cells import COMPETITIVE_GAME, COOPERATIVE_GAMES, Cell
from paper_results import Line
from paper_settings import Lengths
from paper_study import MISSING, markdown_table

SEEDS = (100, 101)  # the study has 0 to 4
SCRATCH_GAME, SCRATCH_COUNT = COOPERATIVE_GAMES[0], 50
SCRATCH = {
    "AMAGAIL_scratch_steps_2": "2 discriminator steps",
    "AMAGAIL_scratch_steps_4": "4",
    "AMAGAIL_scratch": "8, chosen",
    "AMAGAIL_scratch_steps_16": "16",
}
COMPETITIVE_COUNT = 200
COMPETITIVE = {
    "AMAGAIL": "chosen: 3,000 steps of cloning, `bc_anchor=1`, 4 discriminator steps",
    "AMAGAIL_short_cloning": "1,000 steps of cloning",
    "AMAGAIL_anchor_0.1": "`bc_anchor=0.1`",
    "AMAGAIL_no_anchor": "`bc_anchor=0`",
    "AMAGAIL_steps_8": "8 discriminator steps",
    "BC_filtered": "cloning alone, phi filtered",
}
SIDES = ("adversaries", "agent")


def cells(quick: bool = False) -> Iterator[Cell]:
    """What is tried, seeds outermost; the quick version has one seed and two methods a game."""
    for seed in SEEDS[:1] if quick else SEEDS:
        for game, count, methods in (
            (COMPETITIVE_GAME, COMPETITIVE_COUNT, COMPETITIVE),
            (SCRATCH_GAME, SCRATCH_COUNT, SCRATCH),
        ):
            for method in list(methods)[:2] if quick else methods:
                yield Cell(game, method, count, seed)


def scratch_table(lines: Mapping[Cell, Line]) -> str:
    """Normalised scores, one column per seed."""
    rows = [["from scratch", *(f"seed {seed}" for seed in SEEDS)]]
    for method, title in SCRATCH.items():
        runs = {r["seed"]: f"{r['normalised']:.3f}" for r in runs_of(lines, SCRATCH_GAME, method)}
        rows.append([title, *(runs.get(seed, MISSING) for seed in SEEDS)])
    return markdown_table(rows)


def competitive_table(lines: Mapping[Cell, Line]) -> str:
    """The good agent's return with the experts on the other side; mean and runs of either side."""
    rows = [["settings", "learned adversaries (less is better)", "learned agent (more is better)"]]
    for method, title in COMPETITIVE.items():
        runs = [run["against_experts"] for run in runs_of(lines, COMPETITIVE_GAME, method)]
        rows.append([title, *(_mean_and_runs([run[side] for run in runs]) for side in SIDES)])
    return markdown_table(rows)


def _mean_and_runs(values: list[float]) -> str:
    if not values:
        return MISSING
    return f"{np.mean(values):.1f} ({', '.join(f'{value:.1f}' for value in values)})"


def page(lines: Mapping[Cell, Line], lengths: Lengths) -> str:
    """What `SEARCH` writes."""
    return f"""# The search behind the study's settings

On seeds {" and ".join(map(str, SEEDS))}, which no run of the study uses;
{lengths.episodes:,} episodes of evaluation. The standard error of a mean return over a thousand
episodes is about .4 in predator-prey and .005, normalised, in navigation: smaller differences say
nothing.

## Predator-prey, {COMPETITIVE_COUNT} expert episodes
The good agent's return, one side learned, the other the experts'. One setting is changed at a time.

{competitive_table(lines)}
## From scratch: {SCRATCH_GAME.replace("_", " ")}, {SCRATCH_COUNT} expert episodes
Normalised true score after {lengths.scratch_iterations} iterations.

{scratch_table(lines)}"""


SEARCH = Comparison("search", tuple(cells()), tuple(cells(quick=True)), page)


if __name__ == "__main__":
    sys.exit(SEARCH.run(None, __doc__))
