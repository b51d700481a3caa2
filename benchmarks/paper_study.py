"""A study: its cells, how long they are run, where its files are, and what is there of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from paper_cells import Cell, Grid
from paper_results import JsonLines, Line, finished
from paper_settings import Lengths, settings_of

_PAPER_NUMBERS = Path(__file__).parent / "paper" / "paper_numbers.json"
MISSING = "–"  # noqa: RUF001
# What the paper calls the methods that it has.
PAPER_NAMES = {"AMAGAIL": "AMAGAIL", "MAGAIL_chosen": "MAGAIL", "BC_phi": "Behavior Cloning"}


@dataclass(frozen=True)
class Study:
    """What is run, and where it is kept.

    Attributes:
        grid: its cells.
        lengths: how long each is run.
        output: folder of results and report.
        arguments: of the command that runs it.
    """

    grid: Grid
    lengths: Lengths
    output: Path
    arguments: str

    @property
    def results(self) -> Path:
        """One line per finished cell."""
        return self.output / "results.jsonl"

    @property
    def matches(self) -> Path:
        """One line per pair of methods and seed of table 1."""
        return self.output / "cross_play.jsonl"

    @property
    def work(self) -> Path:
        """What is not committed: recordings, policies, Tune's files."""
        return self.output / "work"

    def described(self, cell: Cell) -> dict[str, Any]:
        """A cell's present settings, as its line of results has them."""
        return settings_of(cell, self.lengths).to_dict()


@dataclass(frozen=True)
class Findings:
    """The lines of a study's finished cells."""

    cells: tuple[Cell, ...]
    lines: dict[Cell, Line]

    @classmethod
    def of(cls, study: Study) -> Findings:
        """Read them; lines of other settings than the present ones do not count."""
        cells = tuple(study.grid.cells())
        return cls(cells, finished(JsonLines(study.results).read(), cells, study.described))

    def column(self, game: str, method: str, count: int) -> list[Line]:
        """The lines of all seeds that are there, in their order."""
        wanted = {"game": game, "method": method, "demonstrations": count}
        return [
            line
            for line in self.lines.values()
            if all(line[key] == value for key, value in wanted.items())
        ]

    def values(self, game: str, method: str, count: int, key: str = "normalised") -> np.ndarray:
        """``[S]`` values of the seeds that are there."""
        return np.array([line[key] for line in self.column(game, method, count)], dtype=float)

    def mean(self, game: str, method: str, count: int) -> float | None:
        """Mean normalised score over seeds; None without any."""
        values = self.values(game, method, count)
        return float(values.mean()) if len(values) else None

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Demonstration counts of the grid, ascending."""
        return tuple(sorted({cell.demonstrations for cell in self.cells}))


def paper_numbers() -> dict[str, Any]:
    """What the paper's tables say."""
    return json.loads(_PAPER_NUMBERS.read_text())


def markdown_table(rows: Iterable[Iterable[str]], rule: str = "---:") -> str:
    """The first row is the head, the first column names the rows; ``rule`` is the others'."""
    head, *body = (list(row) for row in rows)
    rules = ["---", *[rule] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rules, *body]) + "\n"
