"""Line 2 of Algorithm 1 on remote env runners, some of which may fail while they play."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayTaskError
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED

from rllib_amagail.actor_errors import cause_of, in_one_line

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 0.5


class EnvRunnersLostError(RuntimeError):
    """No env runner is left, or none answers; says why."""


def sample_rounds(
    group: EnvRunnerGroup, config: AlgorithmConfig, restore: Callable[[], Any]
) -> tuple[list[Any], list[Any]]:
    """Play at least ``total_train_batch_size`` rounds on whatever env runners there are.

    The others play more when one dies; Ray starts it anew. When all are dead it waits for them. One
    that does not answer within ``sample_timeout_s`` is killed and started anew.

    Args:
        group: of the env runners, local or remote.
        config: of the algorithm.
        restore: asks for runners that came back, and gives them the present weights.

    Returns:
        Episodes, and the runners' metrics.

    Raises:
        EnvRunnersLostError: all runners are dead for good, or did not answer, or did not come back
            within ``env_runner_restore_timeout_s``, or died more than
            ``num_consecutive_env_runner_failures_tolerance`` times in a row.
        Exception: what a runner raised, unless ``ignore_env_runner_failures``.
    """
    episodes: list[Any] = []
    metrics: list[Any] = []
    rounds, fruitless = 0, 0
    while rounds < config.total_train_batch_size:
        if group.num_remote_env_runners() == 0:
            played = [_play(group.local_env_runner)]
        else:
            if group.num_healthy_remote_workers() == 0:
                wait_for_runners(group, config, restore)
            played, errors = _play_in_parallel(group, config)
            fruitless = 0 if played else fruitless + 1
            if fruitless > config.num_consecutive_env_runner_failures_tolerance:
                raise EnvRunnersLostError(
                    f"all env runners have died {fruitless} times in a row, the last time because "
                    f"of {in_one_line(errors[-1])}"
                )
        for found, results in played:
            episodes += found
            metrics.append(results)
            rounds += int(results.get(NUM_ENV_STEPS_SAMPLED, 0))
    return episodes, metrics


def construction_error(group: EnvRunnerGroup, timeout_s: float) -> BaseException | None:
    """What the constructor of an env runner raised, if one did.

    RLlib logs it and goes on without this runner, which Ray will never start anew.

    Args:
        group: of the env runners.
        timeout_s: how long to wait for an answer of those that are not well, in seconds.
    """
    manager = group._worker_manager
    unwell = [index for index in manager.actor_ids() if not manager.is_actor_healthy(index)]
    for answer in _ping(group, unwell, timeout_s) if unwell else ():
        if not answer.ok and getattr(answer.get(), "actor_init_failed", False):
            return cause_of(answer.get())
    return None


def _play(env_runner: Any) -> tuple[list[Any], Any]:
    return env_runner.sample(), env_runner.get_metrics()


def _play_in_parallel(
    group: EnvRunnerGroup, config: AlgorithmConfig
) -> tuple[list[tuple[list[Any], Any]], list[BaseException]]:
    """What the runners played, and the errors of those that died."""
    asked = group.healthy_env_runner_ids()
    answers = list(
        group._worker_manager.foreach_actor(_play, timeout_seconds=config.sample_timeout_s)
    )
    played, errors = told_by(answers, config)
    silent = sorted(set(asked) - {answer.actor_id for answer in answers})
    for index in silent:
        logger.warning(
            "env runner %d has not answered within sample_timeout_s, %s seconds; starting it anew",
            index,
            config.sample_timeout_s,
        )
        ray.kill(group._worker_manager.actors()[index], no_restart=False)
        group._worker_manager.set_actor_state(index, healthy=False)
    if len(silent) == len(asked):
        raise EnvRunnersLostError(
            f"no env runner has answered within sample_timeout_s, {config.sample_timeout_s} "
            f"seconds: environment {config.env!r} hangs, or is slow. Raise "
            "env_runners(sample_timeout_s=...), or let runners play less at a time by "
            "rollout_fragment_length or num_envs_per_env_runner"
        )
    return played, errors


def told_by(
    answers: Iterable[Any], config: AlgorithmConfig
) -> tuple[list[Any], list[BaseException]]:
    """The results among the answers of env runners, and the errors of those that died.

    Args:
        answers: of RLlib's `FaultTolerantActorManager`.
        config: has ``restart_failed_env_runners`` and ``ignore_env_runner_failures``.

    Raises:
        Exception: what a runner raised, unless failures are to be ignored.
        EnvRunnersLostError: one died, and is neither to be started anew nor ignored.
    """
    results, errors = [], []
    for answer in answers:
        if answer.ok:
            results.append(answer.get())
            continue
        error = answer.get()
        errors.append(error)
        if isinstance(error, RayTaskError) and not config.ignore_env_runner_failures:
            raise cause_of(error) from error
        if not config.restart_failed_env_runners and not config.ignore_env_runner_failures:
            raise EnvRunnersLostError(
                f"env runner {answer.actor_id}: {in_one_line(error)}. To go on without it, set "
                "fault_tolerance(restart_failed_env_runners=True)"
            ) from error
        logger.warning("env runner %d: %s", answer.actor_id, in_one_line(error))
    return results, errors


def wait_for_runners(
    group: EnvRunnerGroup, config: AlgorithmConfig, restore: Callable[[], Any]
) -> None:
    """Return when at least one runner is back.

    Args and EnvRunnersLostError are those of `sample_rounds`.
    """
    limit = config.env_runner_restore_timeout_s
    logger.warning("all env runners are dead; waiting up to %s seconds for Ray to restart", limit)
    deadline = time.monotonic() + limit
    while True:
        answers = _ping(group, group._worker_manager.actor_ids(), limit)
        errors = [answer.get() for answer in answers if not answer.ok]
        if errors and all(isinstance(error, ActorDiedError) for error in errors):
            raise EnvRunnersLostError(
                f"all {len(errors)} env runners are dead and not started anew: "
                f"{in_one_line(errors[0])}"
            ) from errors[0]
        restore()
        if group.num_healthy_remote_workers():
            return
        if time.monotonic() > deadline:
            raise EnvRunnersLostError(
                f"all env runners are dead, and none has come back within "
                f"env_runner_restore_timeout_s, {limit} seconds"
            )
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _ping(group: EnvRunnerGroup, indices: list[int], timeout_s: float) -> list[Any]:
    """Answers or errors of these runners, whatever is known of their health."""
    ping = group._worker_manager.foreach_actor
    return list(
        ping("ping", healthy_only=False, remote_actor_ids=indices, timeout_seconds=timeout_s)
    )
