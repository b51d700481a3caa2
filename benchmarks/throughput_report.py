"""What was measured: medians, ratios, JSON and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.table import Table
from throughput_parts import OVERHEAD

Samples = dict[str, dict[str, list[float]]]  # row, column: one number a repeat


@dataclass
class Section:
    """One table.

    Attributes:
        name: its key in the JSON.
        title: what it shows.
        row_name: heading of the rows' names.
        samples: what was measured so far.
        note: why something is missing; empty if nothing is.
        seconds: that it took, preparations included.
    """

    name: str
    title: str
    row_name: str
    samples: Samples = field(default_factory=dict)
    note: str = ""
    seconds: float = 0.0

    def add(self, row: str, values: Mapping[str, float]) -> None:
        """Take in the numbers of one repeat, column by column."""
        for column, value in values.items():
            self.samples.setdefault(row, {}).setdefault(column, []).append(value)

    def table(self) -> list[list[str]]:
        """Heading and rows of medians; in brackets the smallest and the largest repeat."""
        columns = list(dict.fromkeys(name for row in self.samples.values() for name in row))
        lines = [[self.row_name, *columns]]
        for row, values in self.samples.items():
            lines.append([row, *(_cell(values.get(column, ())) for column in columns)])
        return lines

    def to_dict(self) -> dict[str, Any]:
        """For JSON: medians and all repeats."""
        rows = [
            {
                "row": row,
                "median": {column: median(values) for column, values in columns.items()},
                "repeats": columns,
            }
            for row, columns in self.samples.items()
        ]
        seconds = round(self.seconds, 1)
        return {"title": self.title, "rows": rows, "note": self.note, "seconds": seconds}


@dataclass(frozen=True)
class Target:
    """What a ratio must reach."""

    what: str
    bound: float
    at_least: bool

    def verdict(self, found: float) -> str:
        """The bound, and whether it is kept."""
        kept = found >= self.bound if self.at_least else found <= self.bound
        return f"{'>=' if self.at_least else '<='} {self.bound:g}: {'yes' if kept else 'NO'}"


TARGETS = {
    "rollouts_vs_stock": Target("batched rollouts : rollouts of RLlib's runner", 20, True),
    "rollouts_vs_bare": Target("batched rollouts : bare loop", 0.5, True),
    "iteration_vs_stock": Target("iteration of stock PPO : iteration of AMAGAIL", 5, True),
    "overhead_share": Target(f"{', '.join(OVERHEAD)} : whole iteration", 0.25, False),
    "turn_cost_most_agents": Target("seconds a turn, most agents : fewest", 1.5, False),
    "row_cost_most_rows": Target("seconds a row, most rows : fewest", 1.2, False),
}


def ratios(sections: Iterable[Section]) -> dict[str, float]:
    """Medians of each repeat's ratios, of all that can be told so far."""
    samples = {section.name: section.samples for section in sections}
    found: dict[str, float] = {}

    def of_rows(name: str, section: str, column: str, over: str, under: str) -> None:
        rows = samples.get(section, {})
        if over in rows and under in rows:
            pairs = zip(rows[over][column], rows[under][column], strict=False)
            found[name] = median(a / b for a, b in pairs)

    best = "batched runner, 256 worlds"
    of_rows("rollouts_vs_stock", "rollouts", "rounds/s", best, "RLlib's runner, 20 envs")
    of_rows("rollouts_vs_bare", "rollouts", "rounds/s", best, "bare loop, 256 worlds")
    of_rows("iteration_vs_stock", "iterations", "seconds", "stock PPO", "AMAGAIL")
    parts = [samples["parts"][p]["%"] for p in OVERHEAD] if samples.get("parts") else []
    if parts:
        found["overhead_share"] = median(sum(shares) / 100 for shares in zip(*parts, strict=False))
    for name, section, column in (
        ("turn_cost_most_agents", "agents", "iteration, µs a turn"),
        ("row_cost_most_rows", "rows", "iteration, µs a row"),
    ):
        sizes = list(samples.get(section, {}))
        if len(sizes) > 1:
            of_rows(name, section, column, sizes[-1], sizes[0])
    return found


def to_json(header: Mapping[str, Any], sections: Sequence[Section]) -> dict[str, Any]:
    """All that was measured."""
    return {
        **header,
        "ratios": ratios(sections),
        "targets": {
            name: {"bound": t.bound, "at_least": t.at_least} for name, t in TARGETS.items()
        },
        "sections": {section.name: section.to_dict() for section in sections},
    }


def to_markdown(header: Mapping[str, Any], sections: Sequence[Section]) -> str:
    """The same as tables, medians with the smallest and the largest repeat in brackets."""
    lines = [
        "# Throughput",
        "",
        f"{header['machine']}; commit {header['commit']}; {header['repeats']} repeats, "
        f"{header['seconds']:.0f} s in all" + ("" if header["complete"] else ", interrupted") + ".",
        f"Made by `{header['command']}`. Medians of the repeats; in brackets the smallest and the "
        "largest. Contenders take turns, so that a busy machine hits all of them; ratios are "
        "medians of each repeat's ratio. One torch thread a process.",
    ]
    for title, table, note in _tables(sections):
        lines += ["", f"## {title}", "", "| " + " | ".join(table[0]) + " |"]
        lines += ["|---" + "|---:" * (len(table[0]) - 1) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in table[1:]]
        lines += ["", note] if note else []
    return "\n".join(lines) + "\n"


def to_console(sections: Sequence[Section], show: Callable[[Any], None]) -> None:
    """The same tables for a terminal."""
    for title, rows, note in _tables(sections):
        table = Table(*rows[0], title=title, caption=note or None, title_justify="left")
        for row in rows[1:]:
            table.add_row(*row)
        show(table)


def _tables(sections: Sequence[Section]) -> list[tuple[str, list[list[str]], str]]:
    """Title, heading with rows, and note of every table."""
    rows = [["ratio", "found", "target", "of"]]
    for name, found in ratios(sections).items():
        target = TARGETS[name]
        rows.append([f"`{name}`", f"{found:.3g}", target.verdict(found), target.what])
    tables = [(section.title, section.table(), section.note) for section in sections]
    return [("Ratios", rows, ""), *tables]


def _cell(values: Sequence[float]) -> str:
    if not values:
        return ""
    smallest, middle, largest = map(_number, (min(values), median(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({smallest} to {largest})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
