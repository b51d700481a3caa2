"""A used algorithm becomes a fresh one of another config, in the process that it is in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.rllib.algorithms.algorithm import Algorithm

# What Ray Tune has already set for the next trial: its name, folder and log files.
_OF_THE_TRIAL = ("_trial_info", "_logdir", "_stdout", "_stderr")


def set_up_anew(algorithm: Algorithm, config: Mapping[str, Any]) -> None:
    """Take everything down, runners and learners included, and set up as `config` says.

    From here on training is that of a new algorithm: nothing of the old one is left. What is saved
    is the start of a process and its imports.

    Args:
        algorithm: changed in place.
        config: settings as Ray Tune gives them to a new trial.

    Raises:
        ValueError: settings that a new algorithm would refuse; the old one still stands then.
    """
    given = {key: value for key, value in config.items() if not key.startswith("__")}
    algorithm.get_default_config().update_from_dict(given).validate()
    kept = {
        name: value for name, value in vars(algorithm).items() if name.startswith(_OF_THE_TRIAL)
    }
    storage = algorithm._storage
    if algorithm._monitor.is_alive():  # measures the load of the machine, in a thread
        algorithm._monitor.stop()
        algorithm._monitor.join()
    algorithm.cleanup()
    vars(algorithm).clear()
    type(algorithm).__init__(algorithm, given, storage=storage)
    vars(algorithm).update(kept)
