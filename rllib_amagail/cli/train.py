"""``rllib train``: experiments through Ray Tune."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.tune import CheckpointConfig, FailureConfig, RunConfig, TuneConfig, Tuner
from ray.tune.result import EXPR_PARAM_FILE

from rllib_amagail.cli.errors import INTERRUPTED, RUN_FAILED, CommandError, one_line
from rllib_amagail.cli.experiment import Experiment, absolute
from rllib_amagail.cli.names import NAMESAKES
from rllib_amagail.cli.plan import Plan, make_plan, metric_of
from rllib_amagail.cli.progress import ProgressLines
from rllib_amagail.cli.report import report
from rllib_amagail.cli.run_files import load_experiments
from rllib_amagail.cli.session import ray_session

# What may be said besides --resume; the rest is as the run was started.
_FREE_ON_RESUME = {"run", "name", "storage_path"}


@dataclass(frozen=True)
class TrainOptions:
    """What the command line says.

    Attributes:
        file: a run file, or None when the options describe the experiment.
        experiment: the fields of `Experiment` that were given as options.
        resume: None for a new run; otherwise the folder of the run to go on with, "" for the one
            that ``storage_path`` and ``name`` tell.
        ray_address, ray_num_cpus, ray_num_gpus: see `ray_session`.
        verbosity: how many -v.
    """

    file: str | None
    experiment: Mapping[str, Any]
    resume: str | None
    ray_address: str | None
    ray_num_cpus: int | None
    ray_num_gpus: int | None
    verbosity: int


@dataclass(frozen=True)
class _Job:
    """An experiment that is checked and ready, new or resumed."""

    make_tuner: Callable[[], Tuner]
    resources: Mapping[str, float]  # of a trial
    metric: str  # see `Plan`
    source: str  # the words after "rllib train" that tell the algorithm


def train(options: TrainOptions) -> int:
    """Run the experiments, one after the other.

    Returns:
        0; `RUN_FAILED` if a trial failed; `INTERRUPTED` after Ctrl-C.

    Raises:
        CommandError: wrong usage, found before anything starts, or a failure of Ray.
    """
    if options.ray_address and (options.ray_num_cpus or options.ray_num_gpus):
        raise CommandError("--ray-num-cpus and --ray-num-gpus do not go with --ray-address")
    loaded = [Experiment()] if options.file is None else load_experiments(options.file)
    if len(loaded) > 1 and "name" in options.experiment:
        raise CommandError(f"--experiment-name: {options.file} has {len(loaded)} experiments")
    experiments = [experiment.with_options(options.experiment) for experiment in loaded]
    if options.resume is None:
        jobs = [_new_job(experiment, options) for experiment in experiments]
    else:
        jobs = _resumed_jobs(experiments, options)
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # Tune's boxes ignore RunConfig(verbose=0)
    # Seconds; Tune's 10 would be lost when this process is killed, whatever checkpoints there are.
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1")
    with ray_session(
        address=options.ray_address,
        num_cpus=options.ray_num_cpus,
        num_gpus=options.ray_num_gpus,
        verbosity=options.verbosity,
    ):
        if not options.ray_address:
            for job in jobs:
                _check_machine(job.resources)
        return _run_all(jobs)


def _run_all(jobs: Sequence[_Job]) -> int:
    worst = 0
    for job in jobs:
        try:
            results = job.make_tuner().fit()
        except Exception as error:
            raise CommandError(one_line(error), RUN_FAILED) from error
        code = report(results, job.metric, f"rllib train {job.source}")
        if code == INTERRUPTED:
            return code
        worst = max(worst, code)
    return worst


def _new_job(experiment: Experiment, options: TrainOptions) -> _Job:
    if experiment.restore and "://" not in experiment.restore:
        folder = absolute(experiment.restore)
        if not Path(folder).is_dir():
            raise CommandError(f"--restore: no checkpoint folder {folder}")
    if experiment.base is None and experiment.run in NAMESAKES:
        print(f"Note: {NAMESAKES[experiment.run]}", file=sys.stderr)
    plan = make_plan(experiment)
    return _Job(
        make_tuner=partial(_tuner, plan, every_result=options.verbosity > 0),
        resources=plan.resources,
        metric=plan.metric,
        source=_source(experiment, options),
    )


def _resumed_jobs(experiments: Sequence[Experiment], options: TrainOptions) -> list[_Job]:
    if extra := set(options.experiment) - _FREE_ON_RESUME:
        raise CommandError(
            f"--resume goes on with a run as it was started; leave out {', '.join(sorted(extra))}. "
            "To train on with other settings, start a new run with --restore CHECKPOINT"
        )
    if options.resume and len(experiments) > 1:
        raise CommandError(
            f"--resume DIR is for one experiment, but {options.file} has {len(experiments)}; "
            "without DIR all are resumed"
        )
    jobs = []
    for experiment in experiments:
        folder = absolute(options.resume) if options.resume else experiment.folder()
        if not Tuner.can_restore(folder):
            raise CommandError(f"--resume: {folder} is not the folder of a run of Ray Tune")
        algorithm = experiment.algorithm()
        restore = partial(Tuner.restore, folder, trainable=algorithm, resume_errored=True)
        metric = metric_of(algorithm, is_played=_was_played(folder))
        jobs.append(_Job(restore, {}, metric, _source(experiment, options)))
    return jobs


def _was_played(folder: str) -> bool:
    """Whether a run had an environment; Tune writes down the settings of every trial."""
    trials = [json.loads(file.read_text()) for file in Path(folder).glob(f"*/{EXPR_PARAM_FILE}")]
    return all(settings.get("env") is not None for settings in trials)


def _source(experiment: Experiment, options: TrainOptions) -> str:
    """What tells the algorithm on resume: a Python file's may have a name that only it knows."""
    if experiment.base is not None:
        return f"file {shlex.quote(str(options.file))}"
    return f"--algo {experiment.run}"


def _tuner(plan: Plan, *, every_result: bool) -> Tuner:
    experiment = plan.experiment
    attribute = experiment.checkpoint_score_attr
    progress = ProgressLines(plan.metric, tuple(experiment.stop), every_result, plan.searched)
    if not experiment.stop:
        print("No stopping criterion (--stop): training goes on until Ctrl-C.", flush=True)
    return Tuner(
        plan.algorithm,
        param_space=plan.param_space,
        tune_config=TuneConfig(
            num_samples=experiment.num_samples,
            scheduler=plan.scheduler,
            search_alg=plan.searcher,
            reuse_actors=plan.reuses_actors,
        ),
        run_config=RunConfig(
            name=experiment.name,
            storage_path=absolute(experiment.storage_path),
            stop=dict(experiment.stop),
            verbose=0,
            callbacks=[progress],
            failure_config=FailureConfig(max_failures=experiment.max_failures),
            checkpoint_config=CheckpointConfig(
                num_to_keep=experiment.keep_checkpoints_num,
                checkpoint_score_attribute=attribute and attribute.removeprefix("min-"),
                checkpoint_score_order="min" if (attribute or "").startswith("min-") else "max",
                checkpoint_frequency=experiment.checkpoint_freq,
                checkpoint_at_end=experiment.checkpoint_at_end,
            ),
        ),
        # `Tuner` has no public argument to start from a checkpoint; `tune.run` below it has.
        _tuner_kwargs={"restore": absolute(experiment.restore)} if experiment.restore else None,
    )


def _check_machine(needed: Mapping[str, float]) -> None:
    """A trial that asks for more than there is would wait for ever."""
    available = ray.cluster_resources()
    for name, amount in needed.items():
        if amount > available.get(name, 0.0):
            raise CommandError(
                f"a trial needs {amount:g} {name}, but Ray has {available.get(name, 0.0):g} on "
                "this machine. Let it count more (--ray-num-cpus, --ray-num-gpus), or ask for less "
                "in the config (num_env_runners, num_learners)"
            )
