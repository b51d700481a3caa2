"""RLlib's PPO that knows where it was saved last, and says so when training fails."""

from __future__ import annotations

import os
import pickle
import shutil
import traceback
from typing import Any

from ray.rllib.algorithms.ppo import PPO
from ray.rllib.env.env_runner_group import EnvRunnerGroup

from rllib_amagail.actor_errors import in_one_line
from rllib_amagail.algorithm.played_rounds import EnvRunnersLostError, construction_error
from rllib_amagail.learner.learner_group import LearnerLostError
from rllib_amagail.runners.env_faults import EnvironmentFaultError

_FAULTS = (EnvironmentFaultError, EnvRunnersLostError, FloatingPointError, LearnerLostError)


class SavedPPO(PPO):
    """What every fault has in common: its cause comes first, then the way back."""

    _last_checkpoint: str | None = None
    _broken_by: str | None = None  # the error after which the learners cannot go on

    def setup(self, config: Any) -> None:
        """As of RLlib, which hides what the constructor of a remote env runner raises.

        Raises:
            Exception: what it raised, unless ``ignore_env_runner_failures``.
        """
        try:
            super().setup(config)
        except IndexError as error:  # RLlib asks the first of no runners
            self._raise_construction_error(_group_within(error))
            raise
        if not self.config.ignore_env_runner_failures:
            for group in (self.env_runner_group, self.eval_env_runner_group):
                self._raise_construction_error(group)

    def step(self) -> dict[str, Any]:
        """As of RLlib; what is raised tells the last checkpoint."""
        self._require_whole()
        try:
            return super().step()
        except Exception as error:
            learners_lost = self.learner_group.is_remote and not self.learner_group.is_whole
            if learners_lost or isinstance(error, FloatingPointError):
                self._broken_by = in_one_line(error)
            if isinstance(error, _FAULTS):
                raise type(error)(f"{error}. {self._way_back()}") from error
            error.add_note(self._way_back())
            raise

    def bring_back_runners(self) -> None:
        """Give the env runners that Ray has started anew the present state, as RLlib does."""
        group = self.env_runner_group
        restored = self.restore_env_runners(group)
        if restored:
            self._make_on_env_runners_recreated_callbacks(
                config=self.config,
                env_runner_group=group,
                restored_env_runner_indices=restored,
            )

    def save(self, checkpoint_dir: str | None = None) -> Any:
        """As of RLlib; remembers the folder."""
        saved = super().save(checkpoint_dir)
        self._last_checkpoint = saved.checkpoint.path
        return saved

    def save_to_path(self, path: str | os.PathLike | None = None, **kwargs: Any) -> str:
        """As of RLlib, but never half: what cannot be written whole is removed again.

        Raises:
            RuntimeError: the learners have weights that are not finite, or some are lost.
            OSError: the folder cannot be written, or the disk is full.
        """
        self._require_whole()
        is_new = (
            path is not None
            and kwargs.get("filesystem") is None
            and not (os.path.isdir(path) and os.listdir(path))
        )
        try:
            self._last_checkpoint = super().save_to_path(path, **kwargs)
        except OSError as error:
            if is_new:
                shutil.rmtree(str(path), ignore_errors=True)
            raise OSError(
                error.errno, f"cannot save to {path}: {error}. {self._way_back()}"
            ) from error
        return self._last_checkpoint

    def restore_from_path(self, path: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """As of RLlib, but nothing is restored from a checkpoint that was not finished.

        Raises:
            ValueError: it was not finished, or is damaged.
        """
        is_all = not args and kwargs.get("component") is None
        if is_all:
            self._require_finished(path)
        try:
            super().restore_from_path(path, *args, **kwargs)
        except (EOFError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"{path}: the checkpoint is damaged: {in_one_line(error)}. Go on from an older one"
            ) from error
        if is_all:
            self._last_checkpoint, self._broken_by = str(path), None

    @classmethod
    def from_checkpoint(cls, path: Any, *args: Any, **kwargs: Any) -> Any:
        """As of RLlib; raises as `restore_from_path`."""
        if isinstance(path, str | os.PathLike):
            cls._require_finished(path)
        return super().from_checkpoint(path, *args, **kwargs)

    @classmethod
    def _require_finished(cls, path: str | os.PathLike) -> None:
        state = os.path.join(path, cls.STATE_FILE_NAME)  # written last
        is_finished = any(os.path.isfile(state + kind) for kind in (".pkl", ".msgpack"))
        if os.path.isdir(path) and not is_finished:
            raise ValueError(
                f"{path}: found no {cls.STATE_FILE_NAME}, which is written last, expected a whole "
                "checkpoint: it was not finished. Go on from an older one"
            )

    def _require_whole(self) -> None:
        if self._broken_by is not None:
            raise RuntimeError(
                f"neither trained on nor saved: training has ended with {self._broken_by}"
            )

    def _way_back(self) -> str:
        if self._last_checkpoint is None:
            return "There is no checkpoint to go on from"
        return f"The last checkpoint is {self._last_checkpoint}"

    def _raise_construction_error(self, group: EnvRunnerGroup | None) -> None:
        if group is not None:
            error = construction_error(group, self.config.env_runner_health_probe_timeout_s)
            if error is not None:
                raise error


def _group_within(error: BaseException) -> EnvRunnerGroup | None:
    """The group of env runners whose constructor raised; nobody else knows it."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        found = frame.f_locals.get("self")
        if isinstance(found, EnvRunnerGroup):
            return found
    return None
