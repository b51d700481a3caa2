"""Experiments checked before anything starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import SearchAlgorithm, Searcher

from rllib_amagail.algorithm.amagail import AMAGAIL
from rllib_amagail.algorithm.multi_agent_bc import LOG_LIKELIHOOD, MultiAgentBC
from rllib_amagail.cli.distributions import domains, map_values, variants, with_distributions
from rllib_amagail.cli.errors import CommandError, one_line, suggestion
from rllib_amagail.cli.experiment import Experiment, absolute
from rllib_amagail.cli.names import find_environment
from rllib_amagail.cli.search import make_scheduler, make_searcher, number_of_trials


@dataclass(frozen=True)
class Plan:
    """An experiment that can run.

    Attributes:
        experiment: what the user asked for.
        algorithm: the class to train.
        param_space: the trials' config for Ray Tune, grids and distributions included.
        searcher: chooses the trials, if there is something to choose.
        scheduler: of the trials, if one is named.
        num_trials: how many there will be.
        resources: what a trial needs, such as ``{"CPU": 3.0}``.
        metric: the result key that tells how well a trial does; more is better.
    """

    experiment: Experiment
    algorithm: type[Algorithm]
    param_space: dict[str, Any]
    searcher: SearchAlgorithm | Searcher | None
    scheduler: TrialScheduler | None
    num_trials: int
    resources: dict[str, float]
    metric: str

    @property
    def searched(self) -> list[str]:
        """The settings that hold distributions."""
        return [key for key, value in self.param_space.items() if domains(value)]

    @property
    def reuses_actors(self) -> bool:
        """Whether trials take over the processes of finished ones, which saves their start."""
        return self.num_trials > 1 and issubclass(self.algorithm, AMAGAIL)


def make_plan(experiment: Experiment) -> Plan:
    """Check all that can be checked without training.

    Every value of every grid and the ends of every distribution are tried once in a config.

    Raises:
        CommandError: what is wrong first.
    """
    algorithm = experiment.algorithm()
    base = algorithm.get_default_config() if experiment.base is None else experiment.base
    settings = _settings(experiment, base, needs_env=not issubclass(algorithm, MultiAgentBC))
    if experiment.base is not None:
        settings = {**base.to_dict(), **settings}
    settings = _found_by_trials(settings)
    needs = [_check(algorithm, variant) for variant in variants(settings)]
    if experiment.resources_per_trial:
        settings |= _reservation(experiment, algorithm, next(iter(variants(settings))))
        needs = [_check(algorithm, variant) for variant in variants(settings)]
    resources = {name: max(n.get(name, 0.0) for n in needs) for name in set().union(*needs)}
    metric = metric_of(algorithm, is_played=settings.get("env") is not None)
    return Plan(
        experiment,
        algorithm,
        settings,
        make_searcher(experiment, settings, metric),
        make_scheduler(experiment, settings, metric),
        number_of_trials(experiment, settings),
        resources,
        metric,
    )


def apply_settings(config: AlgorithmConfig, settings: Mapping[str, Any]) -> None:
    """Change `config` in place.

    Raises:
        CommandError: a key or value that the config does not know.
    """
    known = set(vars(config))
    try:
        config.update_from_dict(dict(settings))
    except Exception as error:
        raise CommandError(one_line(error)) from error
    # RLlib's own `update_from_dict` makes new fields of unknown keys.
    for key in sorted(set(vars(config)) - known):
        raise CommandError(f"unknown config key {key!r}{suggestion(key, known)}")


def metric_of(algorithm: type[Algorithm], is_played: bool = True) -> str:
    """The result key that tells how well a trial does, in an environment or without one."""
    if not is_played:
        return LOG_LIKELIHOOD
    return "score" if issubclass(algorithm, AMAGAIL) else "env_runners/episode_return_mean"


def _settings(experiment: Experiment, base: AlgorithmConfig, *, needs_env: bool) -> dict[str, Any]:
    """What the user set, in the words of `AlgorithmConfig`."""
    settings = with_distributions(experiment.searched() | dict(experiment.config))
    env = experiment.env or settings.get("env") or base.env
    if env is not None:
        settings["env"] = map_values(
            lambda e: find_environment(e) if isinstance(e, str) else e, env
        )
    elif needs_env:
        raise CommandError("no environment: give --env NAME; 'rllib list' shows the games")
    if "model" in settings and base.enable_rl_module_and_learner:
        raise CommandError(
            "config key 'model' has no effect on RLlib's new API stack; use 'model_config', for "
            'example {"model_config": {"fcnet_hiddens": [64, 64]}}'
        )
    if "model_config" in settings:  # RLlib keeps it under a private name
        known = base.model_config
        settings["_model_config"] = map_values(
            lambda model_config: {**known, **model_config}, settings.pop("model_config")
        )
    return settings


def _found_by_trials(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with absolute paths: trials run in folders of their own."""
    if "demonstrations" not in settings:
        return settings
    given = map_values(
        lambda path: absolute(os.fspath(path)) if isinstance(path, str | os.PathLike) else path,
        settings["demonstrations"],
    )
    return settings | {"demonstrations": given}


def _check(algorithm: type[Algorithm], settings: dict[str, Any]) -> dict[str, float]:
    """Build the config as a trial does; return the resources that the trial needs."""
    apply_settings(algorithm.get_default_config(), settings)
    try:
        request = algorithm.default_resource_request(settings)  # validates another such config
    except Exception as error:
        raise CommandError(one_line(error)) from error
    return dict(request.required_resources)


def _reservation(
    experiment: Experiment, algorithm: type[Algorithm], settings: dict[str, Any]
) -> dict[str, Any]:
    """Settings that make a trial reserve what ``resources_per_trial`` says.

    RLlib sums up what a trial needs from its config, so the surplus goes to the main process.
    """
    request = algorithm.default_resource_request(settings)
    needed = request.required_resources
    changes: dict[str, Any] = {}
    for name, amount in experiment.resources_per_trial.items():
        kind = name.upper() if name.lower() in ("cpu", "gpu") else name
        if isinstance(amount, bool) or not isinstance(amount, int | float):
            raise CommandError(f"resources_per_trial: {name} is {amount!r}; expected a number")
        surplus = amount - needed.get(kind, 0.0)
        if surplus < 0 or (kind == "GPU" and surplus):
            raise CommandError(
                f"resources_per_trial: {name} is {amount}, but by its config a trial needs "
                f"{needed.get(kind, 0.0):g}. Change num_env_runners, num_learners, "
                "num_gpus_per_learner or the like in the config"
            )
        if kind == "CPU":
            changes["num_cpus_for_main_process"] = request.bundles[0].get("CPU", 0.0) + surplus
        elif kind != "GPU":
            custom = changes.setdefault("custom_resources_for_main_process", {})
            custom[kind] = amount
    return changes
