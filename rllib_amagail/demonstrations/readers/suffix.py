"""Any source that there is a reader for, by the end of its name."""

import os
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rllib_amagail.demonstrations.data import Demonstrations
from rllib_amagail.demonstrations.errors import DemonstrationsError
from rllib_amagail.demonstrations.readers.asynchronous import make_asynchronous
from rllib_amagail.demonstrations.readers.interpretation import Interpretation
from rllib_amagail.demonstrations.readers.npz import read_npz
from rllib_amagail.demonstrations.readers.tables import read_csv, read_table
from rllib_amagail.demonstrations.readers.trajectories import read_pickle

_READERS: dict[str, Callable[..., Demonstrations]] = {
    ".pkl": read_pickle,
    ".pickle": read_pickle,
    ".npz": read_npz,
    ".csv": read_csv,
    ".tsv": read_csv,
}
_PARQUET = (".parquet", ".pq")
_OWN_KEY = b"rllib_amagail.demonstrations"


def read(path: str | os.PathLike[str], **options: Any) -> Demonstrations:
    """Demonstrations of a file of any kind: .parquet, .pq, .csv, .tsv, .npz, .pkl, .pickle.

    What `Demonstrations.save` wrote says itself what it holds: of the options, only a player
    function, its rng and max_bytes go with it.

    Args:
        path: the file, or a folder for `Demonstrations.load`.
        **options: of `Interpretation`.

    Raises DemonstrationsError naming the file.
    """
    name = os.fspath(path)
    suffix = os.path.splitext(name)[1].lower()
    if suffix in _READERS:
        return _READERS[suffix](path, **options)
    if suffix in _PARQUET and os.path.isfile(name) and not _is_own(name):
        return read_table(path, **options)
    if suffix not in _PARQUET and os.path.isfile(name):
        raise DemonstrationsError(
            f"{name}: found a name that ends in {suffix!r}, expected one of "
            f"{[*_PARQUET, *_READERS]}: call the reader of its kind, or rename it"
        )
    how = Interpretation(**options)
    foreign = sorted(set(options) - {"player_function", "rng", "max_bytes"})
    if foreign:
        raise DemonstrationsError(
            f"{name}: found {foreign} for demonstrations that say these themselves, expected only "
            f"player_function, rng and max_bytes"
        )
    loaded = Demonstrations.load(path, how.max_bytes)
    if how.player_function is None or how.rng is None:
        return loaded
    try:
        return make_asynchronous(loaded, how.player_function, how.rng)
    except DemonstrationsError as error:
        raise DemonstrationsError(f"{name}: {error}") from error


def _is_own(name: str) -> bool:
    """Whether `Demonstrations.save` wrote a Parquet file; so it is with what is none at all."""
    try:
        with pa.OSFile(name) as source:
            return _OWN_KEY in (pq.read_metadata(source).metadata or {})
    except (pa.ArrowException, OSError, ValueError):
        return True
