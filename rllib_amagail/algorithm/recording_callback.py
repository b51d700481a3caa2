"""An RLlib callback that records what is played while an algorithm trains or is evaluated."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from ray.rllib.callbacks.callbacks import RLlibCallback

from rllib_amagail.demonstrations import DemonstrationRecorder
from rllib_amagail.recorded_episodes import OpenEpisodes, RecordedGame


class RecordDemonstrations(RLlibCallback):
    """Records every whole episode that env runners sample into a folder.

    It works with any algorithm of RLlib's new API stack and with all env runners, local and remote.
    Each writes one part a sample, labelled "train0", "train1", ... or "evaluation0", .... Remote
    runners write where they run, so several machines need a folder that they share; algorithms at
    work at the same time, such as Tune's trials, need folders of their own.

    Agents are recorded as the policies see them: in their turns, or in every round if the
    environment shows everyone. Episodes that are cut into chunks (``truncate_episodes``) are put
    together again, which needs `TurnBasedEnv` or batched worlds; other environments need
    ``batch_mode="complete_episodes"``. An episode that was under way in a restored checkpoint is
    not recorded.

    Example:
        >>> from rllib_amagail import AMAGAILConfig
        >>> config = AMAGAILConfig().callbacks(RecordDemonstrations.into("recorded"))

    To record evaluation alone, give it in ``.evaluation(evaluation_config={"callbacks_class":
    RecordDemonstrations.into("recorded")})``.

    Raises:
        DemonstrationsError: while sampling, for policies that choose phi themselves, and for a
            folder that cannot be recorded into, see `DemonstrationRecorder`.
        ValueError: while sampling, for chunks whose rounds cannot be told.
    """

    folder: ClassVar[str] = "recorded"

    @classmethod
    def into(cls, folder: str | os.PathLike[str]) -> type[RecordDemonstrations]:
        """The class to give to ``config.callbacks``; `folder` is for `Demonstrations.load`."""

        class Into(cls):  # type: ignore[misc, valid-type]
            pass

        Into.folder = os.path.abspath(folder)
        return Into

    def __init__(self) -> None:
        super().__init__()
        self._game: RecordedGame | None = None
        self._open = OpenEpisodes(num_envs=0)

    def on_sample_end(self, *, env_runner: Any, samples: list[Any], **kwargs: Any) -> None:
        """Record the episodes that ended."""
        if self._game is None:
            envs = getattr(env_runner.env, "envs", None)
            env = (envs[0] if envs else env_runner.env).unwrapped
            provenance = {"algorithm": env_runner.config.algo_class.__name__}
            self._game = RecordedGame.of(env, env_runner.config, provenance)
            self._open = OpenEpisodes(env_runner.num_envs)
        ended = self._open.add([self._game.rows(chunk) for chunk in samples])
        if not ended:
            return
        episodes = self._game.demonstrations(ended)
        kind = "evaluation" if env_runner.config.in_evaluation else "train"
        label = f"{kind}{env_runner.worker_index or 0}"
        # Not kept open, because nobody tells a callback that its algorithm has been stopped.
        with DemonstrationRecorder.like(episodes, self.folder, label=label) as recorder:
            recorder.add(episodes)
