"""Finished cells: one JSON line each, appended for good or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from paper_cells import Cell
from paper_settings import Lengths, settings_hash, settings_of

Line = dict[str, Any]


class JsonLines:
    """A file that a kill at any moment leaves usable."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Line]:
        """All lines; a half-written last one is ignored.

        Raises:
            ValueError: a broken line before the last one; names it.
        """
        if not self._path.is_file():
            return []
        *whole, _ = self._path.read_bytes().split(b"\n")
        lines = []
        for number, line in enumerate(whole, 1):
            try:
                lines.append(json.loads(line))
            except ValueError as error:
                raise ValueError(
                    f"{self._path}, line {number}: found {line[:40]!r}, expected JSON; delete the "
                    "line to run its cell again"
                ) from error
        return lines

    def append(self, line: Mapping[str, Any]) -> None:
        """Write a line through to the disk, after cutting off what a kill left of another."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab+") as file:
            file.seek(0)
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)
            file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def cell_of(line: Mapping[str, Any]) -> Cell:
    """The cell of a line of results."""
    return Cell(line["game"], line["method"], line["demonstrations"], line["seed"])


def finished(lines: Iterable[Line], cells: Iterable[Cell], lengths: Lengths) -> dict[Cell, Line]:
    """The line of every cell that was run with its present settings; the latest, if several."""
    found = {(cell_of(line), settings_hash(line["settings"])): line for line in lines}
    wanted = {cell: settings_hash(settings_of(cell, lengths).to_dict()) for cell in cells}
    return {cell: found[key] for cell in wanted if (key := (cell, wanted[cell])) in found}
