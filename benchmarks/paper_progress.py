"""How far the whole is: a live line on a terminal, a plain line for every cell in a pipe."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from paper_cells import Cell
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class TimeLeft:
    """Expects of every cell the mean duration of those of its game and method.

    Where there are none yet it takes the method's mean, then that of all.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[str, ...], list[float]] = defaultdict(list)

    def add(self, cell: Cell, seconds: float) -> None:
        """A cell took so long."""
        for key in self._keys(cell):
            self._sums[key].append(seconds)

    def of(self, cells: Iterable[Cell], workers: int) -> float | None:
        """Seconds until ``cells`` are done; None when nothing is known."""
        expected = [self._expected(cell) for cell in cells]
        if any(seconds is None for seconds in expected):
            return None
        return sum(seconds for seconds in expected if seconds is not None) / workers

    def _expected(self, cell: Cell) -> float | None:
        known = next((self._sums[key] for key in self._keys(cell) if key in self._sums), None)
        return sum(known) / len(known) if known else None

    @staticmethod
    def _keys(cell: Cell) -> tuple[tuple[str, ...], ...]:
        return (cell.method, cell.game), (cell.method,), ()


class CellProgress:
    """Shows cells as they start, end and fail.

    Args:
        cells: still to run.
        finished: lines of those that were run before, for the count and the time left.
        workers: that run at a time.
    """

    def __init__(
        self,
        cells: Iterable[Cell],
        finished: Mapping[Cell, Mapping[str, Any]],
        workers: int,
        console: Console,
    ) -> None:
        self._open = dict.fromkeys(cells)
        self._running: dict[Cell, float] = {}
        self._done, self._workers, self._console = len(finished), workers, console
        self._total = self._done + len(self._open)
        self._left = TimeLeft()
        for cell, line in finished.items():
            self._left.add(cell, line["seconds"])
        columns = (
            TextColumn("[bold]cells"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
        )
        self._live = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task: TaskID = self._live.add_task("cells", total=self._total, state="")

    def __enter__(self) -> Self:
        self._live.start()
        self._show("starting")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def started(self, cell: Cell) -> None:
        """A worker took it."""
        self._running[cell] = time.monotonic()
        self._live.update(self._task, state=self._state(str(cell)))

    def ended(self, cell: Cell, line: Mapping[str, Any]) -> None:
        """It is done."""
        self._done += 1
        self._left.add(cell, self._stop(cell))
        self._show(f"{cell}: {line['normalised']:.3f} in {line['seconds']:.0f} s")

    def failed(self, cell: Cell, error: str) -> None:
        """It raised."""
        self._stop(cell)
        self._console.print(f"FAILED {cell}\n{error}", markup=False, highlight=False)
        self._show(f"{cell} failed")

    def _stop(self, cell: Cell) -> float:
        self._open.pop(cell, None)
        return time.monotonic() - self._running.pop(cell, time.monotonic())

    def _show(self, last: str) -> None:
        state = self._state(last)
        self._live.update(self._task, completed=self._done, state=state)
        if not self._console.is_terminal:
            self._console.print(state, markup=False, highlight=False, soft_wrap=True)

    def _state(self, last: str) -> str:
        left = self._left.of(self._open, self._workers)
        known = "time left unknown" if left is None else f"{_duration(left)} left"
        return f"{self._done}/{self._total}  {len(self._running)} running  {known}  {last}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02d} h" if minutes >= 60 else f"{minutes} min"
