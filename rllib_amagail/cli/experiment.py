"""One experiment as the user describes it, by options or in a file."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

from rllib_amagail.cli.errors import CommandError, suggestion
from rllib_amagail.cli.names import find_algorithm

DEFAULT_ALGORITHM = "AMAGAIL"
DEFAULT_STORAGE_PATH = "~/ray_results"
# A run that is interrupted goes on from its last checkpoint, so there must be some on the way.
DEFAULT_CHECKPOINT_FREQ = 10

# Schedulers that need a search space.
_CHANGE_SETTINGS = ("pbt", "pb2")
# Other words for the fields of `Experiment`, in files.
_ALIASES = {"algo": "run", "local_dir": "storage_path"}
_EXPECTED_TYPES: dict[str, tuple[type, ...]] = {
    "run": (str,),
    "env": (str, type),
    "config": (Mapping,),
    "base": (AlgorithmConfig,),
    "stop": (Mapping,),
    "name": (str,),
    "num_samples": (int,),
    "checkpoint_freq": (int,),
    "checkpoint_at_end": (bool,),
    "keep_checkpoints_num": (int,),
    "checkpoint_score_attr": (str,),
    "storage_path": (str,),
    "max_failures": (int,),
    "restore": (str,),
    "resources_per_trial": (Mapping,),
    "scheduler": (str,),
    "scheduler_config": (Mapping,),
    "search_alg": (str,),
    "search_space": (Mapping,),
}


@dataclass(frozen=True)
class Experiment:
    """What ``rllib train`` shall run; fields are named like the options.

    Attributes:
        run: the algorithm's name.
        env: see `find_environment`. None: that of `config` or `base`.
        config: the algorithm's settings, which may hold ``{"grid_search": [...]}`` and
            distributions such as ``{"loguniform": [1e-5, 1e-3]}``.
        base: the algorithm's configuration from a Python file, on which `config` is laid.
        stop: result keys (nested ones with slashes) and the values that end a trial.
        name: the folder below `storage_path`. None: Ray Tune makes one up.
        num_samples: how often every variant of the grid is run.
        checkpoint_freq: iterations between checkpoints; 0 for none.
        checkpoint_at_end: save when a trial ends.
        keep_checkpoints_num: how many to keep. None: all.
        checkpoint_score_attr: the result key by which these are the best; "min-" in front of it
            for the lowest. None: the latest are kept.
        storage_path: where results and checkpoints go.
        max_failures: how often a trial that fails goes on from its last checkpoint by itself.
        restore: the checkpoint that training starts from.
        resources_per_trial: what a trial reserves in all.
        scheduler: a name of `ray.tune.schedulers.create_scheduler`.
        scheduler_config: the scheduler's arguments.
        search_alg: a name of `ray.tune.search.create_searcher`. None: random.
        search_space: distributions by field from a Python file, used when there is a `search_alg`
            or a scheduler that changes settings; `config` is laid on it.

    Raises:
        CommandError: a field of the wrong type or range.
    """

    run: str = DEFAULT_ALGORITHM
    env: str | type | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    base: AlgorithmConfig | None = None
    stop: Mapping[str, float] = field(default_factory=dict)
    name: str | None = None
    num_samples: int = 1
    checkpoint_freq: int = DEFAULT_CHECKPOINT_FREQ
    checkpoint_at_end: bool = True
    keep_checkpoints_num: int | None = None
    checkpoint_score_attr: str | None = None
    storage_path: str = DEFAULT_STORAGE_PATH
    max_failures: int = 0
    restore: str | None = None
    resources_per_trial: Mapping[str, float] = field(default_factory=dict)
    scheduler: str | None = None
    scheduler_config: Mapping[str, Any] = field(default_factory=dict)
    search_alg: str | None = None
    search_space: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for option in dataclasses.fields(self):
            value, expected = getattr(self, option.name), _EXPECTED_TYPES[option.name]
            if value is None and option.default is None:
                continue
            if not isinstance(value, expected) or (bool not in expected and value is True):
                names = " or ".join(kind.__name__.lower() for kind in expected)
                raise CommandError(f"{option.name} is {value!r}; expected {names}")
        for name, smallest in (
            ("num_samples", 1),
            ("checkpoint_freq", 0),
            ("keep_checkpoints_num", 1),
            ("max_failures", 0),
        ):
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise CommandError(f"{name} is {value}; expected >= {smallest}")
        for key, value in self.stop.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                hint = "; write nested keys as 'outer/inner'" if isinstance(value, Mapping) else ""
                raise CommandError(f"stop: {key} is {value!r}; expected a number{hint}")

    @classmethod
    def from_description(cls, name: str, description: Any) -> Self:
        """From ``{run, env, stop, config, ...}``, the value of `name` in a run file.

        Raises:
            CommandError: no mapping, or an unknown key in it.
        """
        if not isinstance(description, Mapping):
            raise CommandError(
                f"experiment {name!r} is {description!r}; expected a mapping with run, env, stop "
                "and config"
            )
        known = {option.name for option in dataclasses.fields(cls)} - {
            "base",
            "name",
            "search_space",
        }
        values: dict[str, Any] = {"name": str(name)}
        for key, value in description.items():
            option = _ALIASES.get(key, key)
            if option not in known:
                words = sorted({*known, *_ALIASES})
                raise CommandError(
                    f"experiment {name!r} has the unknown key {key!r}{suggestion(str(key), words)}"
                    f" Known keys: {', '.join(words)}"
                )
            values[option] = value
        return cls(**{option: value for option, value in values.items() if value is not None})

    def with_options(self, options: Mapping[str, Any]) -> Self:
        """A copy in which the options given on the command line win.

        ``config`` is laid over the one that is there, key by key; anything else replaces it.

        Raises:
            CommandError: an option of the wrong type, or another algorithm than that of `base`.
        """
        if self.base is not None and "run" in options:
            raise CommandError("--algo does not go with a Python file: its config has an algorithm")
        changes = dict(options)
        if "config" in changes:
            changes["config"] = {**self.config, **changes["config"]}
        return dataclasses.replace(self, **changes)

    def searched(self) -> dict[str, Any]:
        """The part of the search space that is used: all of it, or nothing."""
        is_search = self.search_alg is not None or self.scheduler in _CHANGE_SETTINGS
        return dict(self.search_space) if is_search else {}

    def algorithm(self) -> type[Algorithm]:
        """The class to train.

        Raises:
            CommandError: an unknown name, or a `base` without a class.
        """
        if self.base is None:
            return find_algorithm(self.run)
        if self.base.algo_class is None:
            raise CommandError(
                f"the config is a plain {type(self.base).__name__}; expected the config of an "
                "algorithm, such as AMAGAILConfig()"
            )
        return self.base.algo_class

    def folder(self) -> str:
        """Where a run of this experiment is kept.

        Raises:
            CommandError: it has no name.
        """
        if self.name is None:
            raise CommandError("--resume without DIR needs --experiment-name")
        return f"{absolute(self.storage_path)}/{self.name}"


def absolute(path: str) -> str:
    """The path as other processes can use it; URIs as they are."""
    return path if "://" in path else os.path.abspath(os.path.expanduser(path))
