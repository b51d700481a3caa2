"""A process that records numbered episodes, each of which earns its number, until its end.

python tests/killed_writer.py FOLDER FIRST_NUMBER END, where END is
    killed      from outside; every third episode it flushes and prints the number
    finished    after two episodes, neither flushed nor closed
    write 2     by itself, when it begins to write its second part
    fsync 3     by itself, at the third fsync; every part has one of the file and one of its folder
"""

import itertools
import os
import signal
import sys
import types
from typing import Any

# Without the `__init__` of the package, which imports Ray and takes seconds.
package = types.ModuleType("rllib_amagail")
package.__path__ = ["rllib_amagail"]
sys.modules["rllib_amagail"] = package

import pyarrow.parquet as pq  # noqa: E402
from gymnasium.spaces import Box, Discrete  # noqa: E402

from rllib_amagail.demonstrations import DemonstrationRecorder  # noqa: E402

folder, first, *end = sys.argv[1:]


def kill_at(owner: Any, function: str, call: int) -> None:
    original, calls = getattr(owner, function), itertools.count(1)

    def deadly(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(owner, function, deadly)


if end[0] == "write":
    kill_at(pq.ParquetWriter, "write_table", int(end[1]))
elif end[0] == "fsync":
    kill_at(os, "fsync", int(end[1]))
seconds = float("inf") if len(end) == 1 else 0.0
spaces = {"a": Box(-9, 9, (1,))}, {"a": Discrete(5)}
recorder = DemonstrationRecorder(folder, ("a",), *spaces, seconds_per_part=seconds)
for number in itertools.count(int(first)):
    recorder.begin_episode()
    for t in range(3):
        recorder.record_round({"a": [t]}, {"a": True}, {"a": 1}, {"a": number})
    recorder.end_episode()
    if end == ["finished"] and number > int(first):
        break
    if end == ["killed"] and number % 3 == 2:
        recorder.flush()
        print(number, flush=True)  # all up to here are promised
