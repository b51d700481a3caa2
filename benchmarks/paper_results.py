"""Finished cells: one JSON line each, appended for good or not at all."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from paper_settings import settings_hash

Line = dict[str, Any]


class AnyCell(Hashable, Protocol):
    """One run of any study; its fields are in its line of results."""

    def to_dict(self) -> dict[str, str | int]:
        """The fields by name."""
        ...


C = TypeVar("C", bound=AnyCell)


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
        """Write a line through to the disk, after cutting off what a kill left of another.

        Processes that append to one file wait for each other.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # until the file is closed
            file.seek(0)
            content = file.read()
            if not content.endswith(b"\n"):
                file.truncate(content.rfind(b"\n") + 1)
            file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())


def finished(
    lines: Iterable[Line], wanted: Iterable[C], settings_of: Callable[[C], Mapping[str, Any]]
) -> dict[C, Line]:
    """The line of every cell that was run with its present settings; the latest, if several.

    Args:
        lines: of results, with the fields of their cells and with ``settings``.
        wanted: cells of one study.
        settings_of: a cell's present settings, as JSON.
    """
    wanted = list(wanted)
    names = list(wanted[0].to_dict()) if wanted else []
    found = {
        (*(line[name] for name in names), settings_hash(line["settings"])): line for line in lines
    }
    keys = {cell: (*cell.to_dict().values(), settings_hash(settings_of(cell))) for cell in wanted}
    return {cell: found[key] for cell, key in keys.items() if key in found}
