"""Demonstrations from what people have: pickles of MAGAIL, .npz, CSV, plain Parquet, dicts.

No reader executes anything of its source, and each checks sizes before it reads.
"""

from rllib_amagail.demonstrations.readers.asynchronous import make_asynchronous
from rllib_amagail.demonstrations.readers.interpretation import Interpretation
from rllib_amagail.demonstrations.readers.npz import read_npz
from rllib_amagail.demonstrations.readers.suffix import read
from rllib_amagail.demonstrations.readers.tables import from_rows, read_csv, read_table
from rllib_amagail.demonstrations.readers.trajectories import from_dicts, read_pickle

__all__ = [
    "Interpretation",
    "from_dicts",
    "from_rows",
    "make_asynchronous",
    "read",
    "read_csv",
    "read_npz",
    "read_pickle",
    "read_table",
]
