"""The study's modules, a small grid and made-up lines of results."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # scripts, in no package
anchor = importlib.import_module("anchor")
cells = importlib.import_module("paper_cells")
comparison = importlib.import_module("comparison")
cross_play = importlib.import_module("paper_cross_play")
progress = importlib.import_module("paper_progress")
report = importlib.import_module("paper_report")
results = importlib.import_module("paper_results")
reproduce = importlib.import_module("reproduce")
run = importlib.import_module("paper_run")
search = importlib.import_module("search")
sitting = importlib.import_module("paper_sitting")
settings = importlib.import_module("paper_settings")
statistics = importlib.import_module("paper_statistics")
studies = importlib.import_module("paper_study")
tables = importlib.import_module("paper_tables")
targets = importlib.import_module("paper_targets")
trial = importlib.import_module("paper_trial")

Cell = cells.Cell
NAVIGATION = "stochastic_cooperative_navigation"
TINY = settings.Lengths(
    iterations=1, scratch_iterations=1, bc_steps=2, competitive_bc_steps=2, episodes=2
)
SMALL_GRID = cells.Grid(counts=(10, 50), extra_counts=(50,), seeds=(0, 1))


def described(cell: Any, lengths: Any = TINY) -> dict[str, Any]:
    """A cell's settings, as its line of results has them."""
    return settings.settings_of(cell, lengths).to_dict()


def line_of(cell: Any, score: float = -30.0, lengths: Any = TINY) -> dict[str, Any]:
    """A made-up line of results."""
    scale = settings.scale_of(cell.game)
    return {
        **cell.to_dict(),
        "score": score,
        "score_std": 4.0,
        "normalised": scale.normalised(score),
        "rounds": 6400,
        "seconds": 3.0,
        "settings": described(cell, lengths),
        "curve": [{"rounds": 3200, "seconds": 1.0, "score": score}],
        "commit": "abc",
        "machine": "2 cores",
    }
