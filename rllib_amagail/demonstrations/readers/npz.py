"""Episodes as the arrays of an .npz file."""

import io
import os
import tokenize
import zipfile
import zlib
from dataclasses import replace
from typing import Any

import numpy as np

from rllib_amagail.demonstrations.data import Demonstrations
from rllib_amagail.demonstrations.errors import DemonstrationsError
from rllib_amagail.demonstrations.readers.interpretation import Interpretation
from rllib_amagail.demonstrations.readers.source_file import SourceFile, check_shape
from rllib_amagail.demonstrations.readers.trajectories import FIELDS, from_episodes

_LENGTHS = "lengths"
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
    ValueError,
    SyntaxError,
    RuntimeError,  # an encrypted member, an unknown compression, a header nested too deep
    OSError,
    EOFError,
    MemoryError,
    OverflowError,
)
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz(path: str | os.PathLike[str], **options: Any) -> Demonstrations:
    """Demonstrations of a file that `numpy.savez` or `numpy.savez_compressed` wrote.

    | array | shape | |
    |---|---|---|
    | observations | [E, T, N, D] | needed |
    | actions | [E, T, N] or [E, T, N, n]; Discrete ones may be one-hot | may be missing |
    | rewards | [E, T, N] | may be missing |
    | participation | [E, T, N] bool; actions elsewhere are ignored | missing: everywhere |
    | action_masks | [E, T, N, M] | may be missing |
    | lengths | [E], the rounds that count of each episode's T | missing: all |

    Agents whose rows have different widths have arrays of their own, without the axis N:
    `observations/agent_1`, `observations/agent_2` and so on. Other arrays are ignored.

    Nothing is extracted to disk, pickled arrays are refused, and sizes are checked before reading.

    Args:
        path: the file.
        **options: of `Interpretation`.

    Raises DemonstrationsError naming the file.
    """
    how = Interpretation(**options)
    try:
        source = SourceFile.read(path, how.max_bytes)
        names = how.field_names((*FIELDS, _LENGTHS), {})
        try:
            arrays = _arrays(source.data, set(names.values()), how.max_bytes)
        except DemonstrationsError:
            raise
        except _DAMAGED as error:
            raise DemonstrationsError(
                f"found a file that cannot be read as .npz, expected one that numpy.savez wrote: "
                f"get it anew ({str(error)[:200]})"
            ) from error
        episodes = _episodes(arrays, names)
        return from_episodes(episodes, replace(how, names={}), {}, source.provenance("npz"))
    except DemonstrationsError as error:
        raise DemonstrationsError(f"{os.fspath(path)}: {error}") from error


def _arrays(data: bytes, names: set[str], max_bytes: int) -> dict[str, np.ndarray]:
    """The arrays that are called, or whose first part before a slash is called, one of `names`."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {}
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name in members:
                raise DemonstrationsError(f"found two arrays {name[:50]!r}, expected one of a name")
            if name.partition("/")[0] in names:
                members[name] = info
        size = sum(info.file_size for info in members.values())
        if size > max_bytes:
            raise DemonstrationsError(
                f"found {size} bytes of arrays, expected at most {max_bytes}: raise max_bytes if "
                f"you trust the file"
            )
        return {name: _array(archive, name, info) for name, info in members.items()}


def _array(archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo) -> np.ndarray:
    """One member; `zipfile` reads no more than the size that was checked."""
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            raise ValueError(f"{name[:50]}: found version {version} of the .npy format")
        shape, is_fortran, dtype = _HEADERS[version](stream)
        if dtype.kind not in "biuf" or dtype.shape:
            raise DemonstrationsError(
                f"{name[:50]}: found an array of {str(dtype)[:50]}, expected booleans, integers or "
                f"floats: arrays of objects could run code, so none is loaded"
            )
        raw = stream.read()
    check_shape(shape, dtype.itemsize, len(raw))
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if is_fortran else "C")


def _episodes(arrays: dict[str, np.ndarray], names: dict[str, str]) -> list[dict[str, Any]]:
    """The episodes as `from_dicts` takes them, without the rounds beyond their lengths."""
    fields = {names[name]: name for name in FIELDS}
    rows = {name: array for name, array in arrays.items() if name.partition("/")[0] in fields}
    for name, array in rows.items():
        if array.ndim < 2 or array.shape[:2] != next(iter(rows.values())).shape[:2]:
            raise DemonstrationsError(
                f"{name[:50]}: found shape {array.shape}, expected [E, T, ...] with the E and T of "
                f"{next(iter(rows))[:50]!r}, {next(iter(rows.values())).shape[:2]}"
            )
        if "/" not in name and array.ndim < 3:
            raise DemonstrationsError(
                f"{name[:50]}: found shape {array.shape}, expected [E, T, N, ...], or an array "
                f"{name[:50]}/AGENT of [E, T, ...] for each agent"
            )
    if not rows:
        raise DemonstrationsError(
            f"found none of the arrays {sorted(fields)}, expected at least "
            f"{names['observations']!r}: say what the file calls its arrays with names"
        )
    num_episodes, num_rounds = next(iter(rows.values())).shape[:2]
    lengths = arrays.get(names[_LENGTHS], np.full(num_episodes, num_rounds))
    if lengths.shape != (num_episodes,) or lengths.dtype.kind not in "iu":
        raise DemonstrationsError(
            f"{names[_LENGTHS]}: found {lengths.dtype} of shape {lengths.shape}, expected integers "
            f"of shape ({num_episodes},)"
        )
    if num_episodes and not (lengths.min() >= 1 and lengths.max() <= num_rounds):
        raise DemonstrationsError(
            f"{names[_LENGTHS]}: found lengths from {lengths.min()} to {lengths.max()}, expected "
            f"1 to the {num_rounds} rounds of the arrays"
        )
    return [_episode(rows, fields, number, int(length)) for number, length in enumerate(lengths)]


def _episode(
    rows: dict[str, np.ndarray], fields: dict[str, str], number: int, length: int
) -> dict[str, Any]:
    """One of them; `fields` tells what the names of the file stand for."""
    episode: dict[str, Any] = {}
    for name, array in rows.items():
        prefix, _, agent = name.partition("/")
        field = fields[prefix]
        own = array[number, :length]
        if agent:
            episode.setdefault(field, {})[agent] = own
        else:
            episode[field] = np.swapaxes(own, 0, 1)  # [N, T, ...]
    return episode
