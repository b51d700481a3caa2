"""How trials are chosen (search algorithm) and which of them go on (scheduler)."""

from __future__ import annotations

import importlib.util
import inspect
import math
from collections.abc import Mapping
from typing import Any

from ray.tune.schedulers import (
    PopulationBasedTraining,
    TrialScheduler,
    create_scheduler,
)
from ray.tune.search import SEARCH_ALG_IMPORT, SearchAlgorithm, Searcher, create_searcher
from ray.tune.search.basic_variant import BasicVariantGenerator

from rllib_amagail.cli.distributions import domains, grids, with_distributions
from rllib_amagail.cli.errors import CommandError, one_line, suggestion
from rllib_amagail.cli.experiment import Experiment
from rllib_amagail.search_spaces import CHANGEABLE, mutations, stay_in_range

RANDOM = "random"

# Policies stand still while only their baselines learn, so the first iterations tell nothing.
_GRACE_ITERATIONS = 5
_ITERATIONS_BETWEEN_MUTATIONS = 5
_ALIASES = {"asha": "async_hyperband"}
_MUTATIONS = "hyperparam_mutations"
_HOW_TO_SAY = (
    'such as --config \'{"lr": {"loguniform": [1e-5, 1e-3]}}\', or a Python file that defines '
    "search_space (the tuned configs do) together with --search-alg"
)


def number_of_trials(experiment: Experiment, settings: Mapping[str, Any]) -> int:
    """How many trials a run has: ``num_samples`` of every point of the grid."""
    return experiment.num_samples * math.prod(len(values) for values in grids(settings))


def make_searcher(
    experiment: Experiment, settings: Mapping[str, Any], metric: str
) -> SearchAlgorithm | Searcher | None:
    """What chooses the trials; None where there is nothing to choose.

    Args:
        experiment: names the algorithm. None: random.
        settings: of the trials, with Ray Tune's distributions; an int at "seed" seeds the choice.
        metric: the result key to maximise.

    Raises:
        CommandError: an unknown name, a missing package, or nothing to search.
    """
    name = experiment.search_alg or RANDOM
    if name not in SEARCH_ALG_IMPORT:
        raise CommandError(
            f"unknown search algorithm {name!r}{suggestion(name, SEARCH_ALG_IMPORT)} Choose one of "
            f"{', '.join(SEARCH_ALG_IMPORT)}"
        )
    if experiment.search_alg and not domains(settings):
        raise CommandError(
            f"search_alg is {name!r}, but the config has nothing to search; expected "
            f"distributions, {_HOW_TO_SAY}"
        )
    seed = settings.get("seed")
    seed = seed if isinstance(seed, int) else None
    if SEARCH_ALG_IMPORT[name] is SEARCH_ALG_IMPORT[RANDOM]:
        return BasicVariantGenerator(random_state=seed) if domains(settings) else None
    if grids(settings):
        raise CommandError(
            f"search_alg is {name!r} and the config has a grid_search; expected distributions only "
            "('choice' for a list of values), or --search-alg random"
        )
    if name == "optuna" and importlib.util.find_spec("optuna") is None:
        raise CommandError(
            'search_alg optuna needs a package that is not installed: pip install "'
            'rllib_amagail[search]"'
        )
    try:
        return create_searcher(name, metric=metric, mode="max", seed=seed)
    except Exception as error:
        raise CommandError(f"search_alg {name}: {one_line(error)}") from error


def make_scheduler(
    experiment: Experiment, settings: Mapping[str, Any], metric: str
) -> TrialScheduler | None:
    """What stops trials, or has them go on from one another; None: all end by themselves.

    Args:
        experiment: names the scheduler and its arguments, which go before the defaults here.
        settings: of the trials, with Ray Tune's distributions.
        metric: the result key to maximise.

    Raises:
        CommandError: an unknown name or argument, or a run that the scheduler cannot manage.
    """
    if experiment.scheduler is None:
        if experiment.scheduler_config:
            raise CommandError("scheduler_config is given without a scheduler")
        return None
    given = {
        key: with_distributions(value, key) for key, value in experiment.scheduler_config.items()
    }
    name = _ALIASES.get(experiment.scheduler, experiment.scheduler)
    arguments = {"metric": metric, "mode": "max", **_defaults(name, experiment, settings), **given}
    try:
        scheduler = create_scheduler(name, **arguments)
    except Exception as error:
        raise CommandError(f"scheduler {experiment.scheduler}: {one_line(error)}") from error
    known = inspect.signature(type(scheduler)).parameters
    for key in experiment.scheduler_config:  # create_scheduler drops unknown ones silently
        if key not in known:
            raise CommandError(
                f"scheduler {experiment.scheduler} has no argument {key!r}{suggestion(key, known)}"
            )
    if isinstance(scheduler, PopulationBasedTraining):
        _check_population(experiment, settings)
    return scheduler


def _defaults(name: str, experiment: Experiment, settings: Mapping[str, Any]) -> dict[str, Any]:
    iterations = {"time_attr": "training_iteration"}
    if name in ("async_hyperband", "asynchyperband"):
        last = experiment.scheduler_config.get("max_t", experiment.stop.get("training_iteration"))
        if last is None:
            return iterations | {"grace_period": _GRACE_ITERATIONS}
        return iterations | {"max_t": last, "grace_period": min(_GRACE_ITERATIONS, last)}
    if name == "pbt":
        changes = mutations(settings)
        if not changes and _MUTATIONS not in experiment.scheduler_config:
            raise CommandError(
                "scheduler pbt: the config has nothing that may change in flight; expected "
                f"distributions of some of {', '.join(CHANGEABLE)}, {_HOW_TO_SAY}"
            )
        return iterations | {
            "perturbation_interval": _ITERATIONS_BETWEEN_MUTATIONS,
            # Else a trial that falls behind while others wait for a core starves them: it goes
            # back to an old checkpoint, and Ray Tune runs whoever is furthest back.
            "synch": True,
            _MUTATIONS: changes,
            "custom_explore_fn": stay_in_range(settings),
        }
    return {}


def _check_population(experiment: Experiment, settings: Mapping[str, Any]) -> None:
    if experiment.search_alg not in (None, RANDOM):
        raise CommandError(
            f"search_alg is {experiment.search_alg!r}, but scheduler pbt changes the trials' "
            "settings by itself; expected --search-alg random, or another scheduler such as asha"
        )
    if experiment.checkpoint_freq == 0:
        raise CommandError(
            "checkpoint_freq is 0, but with scheduler pbt trials go on from each other's "
            f"checkpoints; expected --checkpoint-freq {_ITERATIONS_BETWEEN_MUTATIONS} or the like"
        )
    trials = number_of_trials(experiment, settings)
    if trials < 2:
        raise CommandError(
            f"scheduler pbt: found {trials} trial, expected at least 2; give --num-samples 4 or "
            "the like"
        )
