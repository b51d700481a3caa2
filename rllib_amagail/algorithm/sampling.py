"""Line 2 of Algorithm 1 for env runners that play some batches ahead of the learners."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_RL_MODULE
from ray.rllib.core.learner.learner_group import LearnerGroup
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED, WEIGHTS_SEQ_NO

from rllib_amagail.algorithm.played_rounds import told_by, wait_for_runners

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlayedBatch:
    """The rollouts of one epoch.

    Attributes:
        episodes: as of `EnvRunner.sample`, in the order of runners; empty if none could play.
        results: the runners' metrics, to aggregate.
        staleness: epochs that lie between the policies that played and the learners'.
    """

    episodes: list[Any]
    results: list[dict[str, Any]]
    staleness: int


@dataclass(frozen=True)
class _Request:
    """A batch that was asked for."""

    tag: str  # of its requests to the runners
    epoch: int  # of the policies that play it


class SamplingAhead:
    """Env runners that play the next batches while the learners learn (asynchronous sampling).

    At the beginning of epoch u batch u + ``batches_ahead`` is asked for, with the policies of that
    moment, and then batch u is waited for. A runner works its requests off in order and each
    carries its policies. So the policies that play a batch are ``batches_ahead`` epochs older than
    the learners' (in the first epochs fewer), however long anybody takes, and a seed gives the same
    run again. PPO's objective stays the right one: its ratio is to the probabilities that the
    policies recorded when they acted, however old those were.

    Runners that fail are dealt with by RLlib's `FaultTolerantActorManager`. What they have not
    delivered the others play anew, with the latest policies.

    When all are dead it waits for them.

    Args:
        group: the runners, remote ones.
        restore: asks for runners that came back, and gives them the present state.
    """

    def __init__(self, group: EnvRunnerGroup, restore: Callable[[], Any]) -> None:
        self._group = group
        self._restore = restore
        self._requests: deque[_Request] = deque()
        self._num_requests = 0
        self._policies: ray.ObjectRef | None = None
        self._epoch = 0
        self._late: list[str] = []  # tags of batches that are no longer waited for

    def take_policies(self, policies: dict[str, Any]) -> None:
        """Keep policies, of `policies_of`, for the requests to come; one copy for all runners."""
        if self._group.local_env_runner is not None:  # `Algorithm.get_module` is the local one's
            _take(self._group.local_env_runner, policies)
        self._policies = ray.put(policies)
        self._epoch += 1

    @property
    def has_policies(self) -> bool:
        """Whether there are policies to play with."""
        return self._policies is not None

    def next_batch(self, config: AlgorithmConfig) -> PlayedBatch:
        """Ask for what the runners are to play meanwhile, and wait for the oldest batch.

        Needs policies, see `take_policies`. The batch is smaller than configured if
        waiting took ``sample_timeout_s``; what comes later is dropped.

        Args:
            config: has ``batches_ahead``, ``total_train_batch_size`` and ``sample_timeout_s``.

        Raises:
            Exception: what a runner raised, unless ``ignore_env_runner_failures``.
            EnvRunnersLostError: one died, and is neither to be started anew nor ignored, or all
                are dead and none comes back.
        """
        self._drop_late_answers()
        while len(self._requests) <= config.batches_ahead:
            request = _Request(f"batch {self._num_requests}", self._epoch)
            self._num_requests += 1
            self._requests.append(request)
            self._ask(request.tag, config.total_train_batch_size)
        oldest = self._requests.popleft()
        return self._wait_for(oldest, config)

    def forget(self) -> None:
        """Drop the policies and all batches under way: a restored run does not learn from them."""
        self._late += [request.tag for request in self._requests]
        self._requests.clear()
        self._policies = None

    def _ask(self, tag: str, rounds: int) -> None:
        healthy = self._group.num_healthy_remote_workers()
        if healthy:
            share = -(-rounds // healthy)
            self._group.foreach_env_runner_async(
                _play, tag=tag, kwargs={"policies": self._policies, "rounds": share}
            )

    def _wait_for(self, request: _Request, config: AlgorithmConfig) -> PlayedBatch:
        rounds = config.total_train_batch_size
        episodes: list[Any] = []
        results: list[dict[str, Any]] = []
        missing = rounds
        while missing > 0:
            answers = self._group._worker_manager.fetch_ready_async_reqs(
                tags=request.tag, timeout_seconds=config.sample_timeout_s
            )
            in_order = sorted(answers, key=lambda answer: answer.actor_id)
            for played, found in told_by(in_order, config)[0]:
                episodes += played
                results += found
                missing -= _rounds(found)
            if self._group.num_in_flight_async_reqs(request.tag):  # the time is over
                self._late.append(request.tag)
                break
            if missing > 0:  # somebody failed
                if not self._group.num_healthy_remote_workers():
                    wait_for_runners(self._group, config, self._restore)
                self._ask(request.tag, missing)
        if missing > 0:
            logger.warning(
                f"found {rounds - missing} rounds of {request.tag}, expected {rounds}: runners "
                f"take longer than sample_timeout_s, {config.sample_timeout_s}"
            )
        return PlayedBatch(episodes, results, self._epoch - request.epoch)

    def _drop_late_answers(self) -> None:
        if self._late:
            self._group.fetch_ready_async_reqs(tags=self._late, return_obj_refs=True)
            self._late = [tag for tag in self._late if self._group.num_in_flight_async_reqs(tag)]


def policies_of(learner_group: LearnerGroup, module_ids: list[str]) -> dict[str, Any]:
    """What env runners need of the learners: weights for inference, and their number."""
    state = learner_group.get_state(
        components=[f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}/{mid}" for mid in module_ids],
        inference_only=True,
    )[COMPONENT_LEARNER]
    return {name: state[name] for name in (COMPONENT_RL_MODULE, WEIGHTS_SEQ_NO)}


def impose_policies(group: EnvRunnerGroup, policies: dict[str, Any]) -> None:
    """Give all runners these policies before anything else that is asked of them from now on.

    `EnvRunnerGroup.sync_weights` does not promise that: it leaves out runners that have not yet
    answered the call before, and runners refuse policies whose number is not above theirs.
    """
    if group.local_env_runner is not None:
        _take(group.local_env_runner, policies)
    sent = {"policies": ray.put(policies)} if group.num_remote_workers() else {}
    group.foreach_env_runner(_take, kwargs=sent, local_env_runner=False, timeout_seconds=0.0)


def _take(runner: EnvRunner, policies: dict[str, Any]) -> None:
    runner._weights_seq_no = 0
    runner.set_state(policies)


def _play(
    runner: EnvRunner, policies: dict[str, Any], rounds: int
) -> tuple[list[Any], list[dict[str, Any]]]:
    """What a runner does for a batch: at least so many rounds with these policies."""
    _take(runner, policies)
    episodes: list[Any] = []
    results: list[dict[str, Any]] = []
    while rounds > 0:
        episodes += runner.sample()
        results.append(runner.get_metrics())
        rounds -= _rounds(results[-1:])
    return episodes, results


def _rounds(results: list[dict[str, Any]]) -> int:
    return sum(int(result.get(NUM_ENV_STEPS_SAMPLED, 0)) for result in results)
