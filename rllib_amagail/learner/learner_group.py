"""Learners that stand and fall together: when one fails, the others are not left waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import ray
import torch
from ray.exceptions import RayActorError, RayError
from ray.rllib.core.learner.learner_group import LearnerGroup
from ray.rllib.utils.actor_manager import FaultTolerantActorManager

from rllib_amagail.actor_errors import cause_of, in_one_line

_SECONDS_TO_FOLLOW = 5.0  # for learners that find out by themselves that another one is gone

# How the fault of `require_finite` begins on a learner whose own batch was fine.
_CAUGHT_FROM_OTHERS = ("weights", "numbers")


class LearnerLostError(RuntimeError):
    """The process of a learner died. RLlib does not start learners anew."""


class JointLearnerGroup(LearnerGroup):
    """RLlib's group, whose errors tell the cause.

    RLlib waits for all learners. When one fails, the others wait for its gradients, for half an
    hour, and then the error of the first in the list is raised, which may be one of those.
    """

    def __init__(self, **kwargs: Any) -> None:
        try:
            super().__init__(**kwargs)
        except RayError as error:
            raise failure_of([error]) from error
        if self.is_remote:
            self._worker_manager = _JointActorManager(
                self._workers,
                max_remote_requests_in_flight_per_actor=(
                    self.config.max_requests_in_flight_per_learner
                ),
            )

    @property
    def is_whole(self) -> bool:
        """Whether all learners are there, as far as is known."""
        return self.is_local or self._worker_manager.num_healthy_actors() == len(self)

    def results_of(self, function: Callable[[Any], Any]) -> list[Any]:
        """What a function gives, learner by learner; raises what one of them raises."""
        return self._get_results(self.foreach_learner(function))

    def _get_results(self, results: Iterable[Any]) -> list[Any]:
        results = list(results)
        errors = [result.get() for result in results if not result.ok]
        if errors:
            error = failure_of(errors)
            raise error from errors[0]
        return [result.get() for result in results]


class _JointActorManager(FaultTolerantActorManager):
    """Kills those that wait in vain."""

    def _fetch_result(
        self, *, remote_actor_ids: list[int], remote_calls: list[Any], **kwargs: Any
    ) -> Any:
        waiting = list(remote_calls) if kwargs.get("timeout_seconds") is None else []
        while waiting:
            (answer,), waiting = ray.wait(waiting, num_returns=1)
            if not (waiting and _failed(answer)):
                continue
            _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=_SECONDS_TO_FOLLOW)
            for call in waiting:
                ray.kill(self._actors[remote_actor_ids[remote_calls.index(call)]])
            break
        return super()._fetch_result(
            remote_actor_ids=remote_actor_ids, remote_calls=remote_calls, **kwargs
        )


def failure_of(errors: list[BaseException]) -> BaseException:
    """The cause among the errors of several learners.

    A number that is not finite, or another exception of a learner's own, comes before the death of
    a process, and this before the complaints of those that had waited for it.
    """
    return min((_as_told(error) for error in errors), key=_rank)


def _rank(error: BaseException) -> int:
    if isinstance(error, FloatingPointError):
        return 1 if str(error).startswith(_CAUGHT_FROM_OTHERS) else 0
    waited = isinstance(error, torch.distributed.DistError) or "gloo" in str(error)
    if waited or "ray.kill" in str(error):
        return 4
    return 3 if isinstance(error, LearnerLostError) else 2


def _as_told(error: BaseException) -> BaseException:
    cause = cause_of(error)
    if isinstance(cause, RayActorError):
        return LearnerLostError(f"a learner is lost: {in_one_line(error)}")
    return cause


def _failed(answer: ray.ObjectRef) -> bool:
    try:
        ray.get(answer)
    except RayError:
        return True
    return False
