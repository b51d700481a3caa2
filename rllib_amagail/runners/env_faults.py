"""What becomes of an environment that raises, or that gives what nobody can learn from."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.rllib.env.env_errors import StepFailedRecreateEnvError
from ray.rllib.env.env_runner import (
    ENV_STEP_FAILURE,
    NUM_ENV_STEP_FAILURES_LIFETIME,
    EnvRunner,
)
from ray.rllib.utils.metrics import ENV_RESET_TIMER, ENV_STEP_TIMER

from rllib_amagail.actor_errors import TellsErrors, in_one_line

logger = logging.getLogger(__name__)


class EnvironmentFaultError(RuntimeError):
    """An environment failed; says which one, on which runner, in which call, and how."""


class NamesEnvironmentFaults(TellsErrors, EnvRunner):
    """An RLlib env runner that names what its environment does amiss, or gives it a new one.

    With ``restart_failed_sub_environments`` new environments take the place of failed ones, at most
    ``num_consecutive_env_runner_failures_tolerance`` times in a row: an environment that always
    fails would be made for ever. Otherwise the fault is raised.
    """

    _faults_in_a_row = 0

    def make_env(self) -> None:
        """Create the environments anew."""
        with self._making_env():
            super().make_env()

    def _try_env_step(self, actions: Any) -> Any:
        """What a step gave, or RLlib's mark that the environments had to be made anew.

        Raises:
            EnvironmentFaultError: it failed, and is not to be made anew.
        """
        try:
            with self.metrics.log_time(ENV_STEP_TIMER):
                results = self._step_env(actions)
        except Exception as error:
            self.metrics.log_value(NUM_ENV_STEP_FAILURES_LIFETIME, 1, reduce="lifetime_sum")
            self._replace_env("step()", error)
            return ENV_STEP_FAILURE
        self._faults_in_a_row = 0
        self._log_env_steps(metric=self._metrics_num_try_env_step, num_steps=1)
        return results

    def _try_env_reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        """What a reset gave; raises as `_try_env_step`."""
        while True:
            try:
                with self.metrics.log_time(ENV_RESET_TIMER):
                    return self._reset_env(seed, options)
            except Exception as error:
                self._replace_env("reset()", error)

    def _step_env(self, actions: Any) -> Any:
        """Step the environments and check what they give."""
        return self.env.step(actions)

    def _reset_env(self, seed: int | None, options: dict | None) -> Any:
        """Begin new episodes in all environments and check what they show."""
        return self.env.reset(seed=seed, options=options)

    def _replace_env(self, call: str, error: Exception) -> None:
        self._faults_in_a_row += 1
        limit = self.config.num_consecutive_env_runner_failures_tolerance
        wanted = self.config.restart_failed_sub_environments
        if not wanted or self._faults_in_a_row > limit:
            hint = (
                f"; it has failed {self._faults_in_a_row} times in a row"
                if wanted
                else ". To go on with a new environment instead, set "
                "fault_tolerance(restart_failed_sub_environments=True)"
            )
            raise EnvironmentFaultError(f"{self._fault(call, error)}{hint}") from error
        if not isinstance(error, StepFailedRecreateEnvError):  # which asks for it, without a word
            logger.warning("%s; going on with a new one", self._fault(call, error))
        self.make_env()

    @contextmanager
    def _making_env(self) -> Iterator[None]:
        """Name the environment and the runner in what a constructor raises."""
        try:
            yield
        except Exception as error:
            raise EnvironmentFaultError(self._fault("its constructor", error)) from error

    def _fault(self, call: str, error: Exception) -> str:
        env = self.config.env
        name = env if isinstance(env, str) else getattr(env, "__name__", repr(env))
        runner = f"env runner {self.worker_index or 0}"
        return f"environment {name!r} on {runner} failed in {call}: {in_one_line(error)}"
