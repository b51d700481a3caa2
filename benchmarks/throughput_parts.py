"""Where the seconds of an iteration go."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.rllib.utils.metrics.metrics_logger import MetricsLogger

from rllib_amagail import AMAGAIL
from rllib_amagail.games import ParticleGame
from rllib_amagail.learner import judging_learner, learner
from rllib_amagail.learner.learner import AMAGAILTorchLearner
from rllib_amagail.runners.batched_policies import BatchedPolicies
from rllib_amagail.runners.turn_recorder import TurnRecorder

REST = "rest"
# What a learning system cannot do without is environment, forwards and gradients. This is the rest.
OVERHEAD = ("episodes", "batch", "sync", REST)

Point = tuple[Any, str]  # a class or module, and the name of a function in it
Points = Mapping[str, tuple[Point, ...]]

PARTS: Points = {
    "environment": (
        (ParticleGame, "step"),
        (ParticleGame, "reset"),
        (ParticleGame, "observations"),
    ),
    "policy forward": ((BatchedPolicies, "decide"),),
    "episodes": (
        (TurnRecorder, "add_turns"),
        (TurnRecorder, "add_round"),
        (TurnRecorder, "cut"),
    ),
    "batch": ((AMAGAILTorchLearner, "_collect_turns"), (AMAGAILTorchLearner, "_encode")),
    "discriminator": (
        (judging_learner, "update_discriminator"),
        (judging_learner, "discriminator_rewards"),
    ),
    "policy update": (
        (learner, "advantage_columns"),
        (learner, "update_by_ppo"),
        (learner, "policy_parameters"),
    ),
    "sync": ((EnvRunnerGroup, "sync_weights"),),
    # PPO's loss logs in every minibatch, which is no gradient work.
    REST: ((MetricsLogger, "log_dict"), (MetricsLogger, "log_value")),
}

STAGES: Points = {
    "rollouts": ((AMAGAIL, "_sample_episodes"),),
    "update": ((AMAGAIL, "_update_learners"),),
}


class PartTimer:
    """Seconds by part, each without the parts that were called inside it.

    Attributes:
        seconds: by part; they add up to what the outermost calls took.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._clock = clock
        self._inner: list[float] = []  # per open call, the seconds of calls inside it

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, whose seconds count for ``part``."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self._inner.append(0.0)
            began = self._clock()
            try:
                return function(*args, **kwargs)
            finally:
                elapsed = self._clock() - began
                self.seconds[part] += elapsed - self._inner.pop()
                if self._inner:
                    self._inner[-1] += elapsed

        return call

    @contextmanager
    def watching(self, points: Points) -> Iterator[None]:
        """Time the functions at these points in all that runs meanwhile in this process."""
        with ExitStack() as stack:
            for part, places in points.items():
                for owner, name in places:
                    function = self.timed(part, getattr(owner, name))
                    stack.enter_context(mock.patch.object(owner, name, function))
            yield


def seconds_by_part(function: Callable[[], Any], points: Points) -> tuple[Any, dict[str, float]]:
    """Call ``function``; what it returned, and its seconds by part, `REST` included."""
    timer = PartTimer()
    with timer.watching(points):
        returned = timer.timed(REST, function)()
    return returned, dict(timer.seconds)
