"""Demonstrations in a file, or in a folder of part files as `DemonstrationRecorder` writes them.

Every part is a complete file of `Demonstrations.save`, named `part-00000.parquet`, or
`part-LABEL-00000.parquet` where several processes record into one folder. Other files are ignored.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace

from rllib_amagail.demonstrations import parquet
from rllib_amagail.demonstrations.concatenation import concatenate
from rllib_amagail.demonstrations.data import Demonstrations
from rllib_amagail.demonstrations.errors import DemonstrationsError
from rllib_amagail.demonstrations.locations import Location

_PART = re.compile(r"part-(?:([a-z0-9]+)-)?([0-9]{5,18})\.parquet")


def part_name(number: int, label: str = "") -> str:
    """The name of part `number`, from 0, of the process `label`."""
    return f"part-{label}-{number:05}.parquet" if label else f"part-{number:05}.parquet"


def part_of(name: str) -> tuple[str, int] | None:
    """Label and number of the part that is named so; None for other files."""
    match = _PART.fullmatch(name)
    return None if match is None else (match[1] or "", int(match[2]))


def parts_of(path: str | os.PathLike[str] | Location) -> list[Location]:
    """The parts of a folder in order of labels and numbers, or the one file itself.

    Raises DemonstrationsError if there is no such file or folder, or no part in the folder.
    """
    location = path if isinstance(path, Location) else Location.of(path)
    if location.is_file():
        return [location]
    if not location.is_folder():
        raise DemonstrationsError(
            f"{location.name}: found no such file, expected a demonstrations file or folder"
        )
    found = {name: part_of(name) for name in location.file_names()}
    parts = sorted((part, name) for name, part in found.items() if part is not None)
    if not parts:
        raise DemonstrationsError(
            f"{location.name}: found a folder of {len(found)} files without any part, expected "
            f"files named {part_name(0)}: record some episodes, or give the file itself"
        )
    return [location.child(name) for _, name in parts]


def load(path: str | os.PathLike[str], max_bytes: int) -> Demonstrations:
    """Read a file or a folder; see `Demonstrations.load`."""
    location = Location.of(path)
    parts = parts_of(location)
    if len(parts) > 1:
        _check_total(location, parts, max_bytes)
    loaded = [_load_file(part, max_bytes) for part in parts]
    kind = loaded[0].select([])
    for part, demonstrations in zip(parts[1:], loaded[1:], strict=True):
        try:
            concatenate([kind, demonstrations.select([])])
        except DemonstrationsError as error:
            raise DemonstrationsError(f"{part.name}: {error} ({parts[0].name})") from error
    if len(loaded) == 1:
        return loaded[0]
    # Parts of one recording say the same.
    provenances = [part.provenance for part in loaded]
    distinct = [p for i, p in enumerate(provenances) if p not in provenances[:i]]
    provenance = distinct[0] if len(distinct) == 1 else {"concatenated": distinct}
    return replace(concatenate(loaded), provenance=provenance)


def kind_of(part: Location) -> Demonstrations:
    """No episodes, of the kind that a part holds. Raises as `Demonstrations.load`."""
    return _load_file(part, parquet.MAX_BYTES, with_rows=False)


def _check_total(location: Location, parts: list[Location], max_bytes: int) -> None:
    total = 0
    for part in parts:
        total += parquet.read_footer(part, max_bytes).num_bytes
        if total > max_bytes:
            raise DemonstrationsError(
                f"{location.name}: found more than {max_bytes} bytes of contents in the parts up "
                f"to {part.name}, expected at most that in all: raise max_bytes if you trust them"
            )


def _load_file(location: Location, max_bytes: int, with_rows: bool = True) -> Demonstrations:
    stored = parquet.read(location, max_bytes, with_rows=with_rows)
    num_episodes = stored.pop("num_episodes")
    try:
        loaded = Demonstrations(**stored)
    except DemonstrationsError as error:
        raise DemonstrationsError(f"{location.name}: {error}") from error
    if with_rows and loaded.num_episodes != num_episodes:
        raise DemonstrationsError(
            f"{location.name}: found {loaded.num_episodes} episodes, expected {num_episodes} as "
            f"its metadata says: get the file anew"
        )
    return loaded
