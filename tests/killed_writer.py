"""A process that records numbered episodes until it is killed, or until it has recorded two.

python tests/killed_writer.py FOLDER FIRST_NUMBER ("for ever" | twice)
"""

import itertools
import sys
import types

# Without the `__init__` of the package, which imports Ray and takes seconds.
package = types.ModuleType("rllib_amagail")
package.__path__ = ["rllib_amagail"]
sys.modules["rllib_amagail"] = package

from gymnasium.spaces import Box, Discrete  # noqa: E402

from rllib_amagail.demonstrations import DemonstrationRecorder  # noqa: E402

folder, first, how_long = sys.argv[1:]
spaces = {"a": Box(-9, 9, (1,))}, {"a": Discrete(5)}
recorder = DemonstrationRecorder(folder, ("a",), *spaces, seconds_per_part=float("inf"))
for number in itertools.count(int(first)):
    recorder.begin_episode()
    for t in range(3):
        recorder.record_round({"a": [t]}, {"a": True}, {"a": 1}, {"a": number})
    recorder.end_episode()
    if how_long == "twice" and number > int(first):
        break  # neither flushed nor closed
    if number % 3 == 2:
        recorder.flush()
        print(number, flush=True)  # all up to here are promised
