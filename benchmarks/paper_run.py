"""Run cells by Ray Tune, one CPU each, and keep what they find."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from paper_cells import Cell
from paper_progress import CellProgress
from paper_settings import Lengths
from paper_trial import CellTrial
from ray import tune
from ray.tune import Callback, CheckpointConfig, RunConfig, TuneConfig, Tuner
from ray.tune.experiment import Trial
from ray.tune.search import ConcurrencyLimiter, Searcher

from rllib_amagail.cli.session import ray_session

# Before Tune reads them: no reports and log files of its own, and Ctrl-C is the driver's.
_TUNE_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}


class CellQueue(Searcher):
    """Hands out cells in their order, until none is left or the time is up.

    Args:
        cells: to run.
        deadline: ``time.monotonic()`` after which no cell is begun; None for none.
    """

    def __init__(self, cells: Iterable[Cell], deadline: float | None) -> None:
        super().__init__(metric="score", mode="max")
        self._cells = deque(cells)
        self._deadline = deadline

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The next cell as a trial's config."""
        late = self._deadline is not None and time.monotonic() > self._deadline
        if late or not self._cells:
            return Searcher.FINISHED
        return {"cell": self._cells.popleft().to_dict()}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing to learn from: the cells are known."""

    def save(self, checkpoint_path: str) -> None:
        """Not needed: the file of results tells what is left."""

    def restore(self, checkpoint_path: str) -> None:
        """Not needed either."""


class KeepResults(Callback):
    """Keeps the line of every finished cell, and the errors of those that failed."""

    def __init__(self, keep: Callable[[dict[str, Any]], None], progress: CellProgress) -> None:
        self._keep = keep
        self._progress = progress
        self.errors: dict[Cell, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray Tune stores callbacks to restore a run, which this driver does itself."""
        return {}

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Called by Ray Tune."""
        self._progress.started(_cell(trial))

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Called by Ray Tune with the only result of a cell."""
        line = result["line"]
        self._keep(line)
        self._progress.ended(_cell(trial), line)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Called by Ray Tune when a cell raised or its process died."""
        found = trial.error_file
        error = Path(found).read_text() if found else "found no message of the error"
        self.errors[_cell(trial)] = error
        self._progress.failed(_cell(trial), error)


def run_cells(
    cells: list[Cell],
    lengths: Lengths,
    work: Path,
    *,
    workers: int,
    deadline: float | None,
    keep: Callable[[dict[str, Any]], None],
    progress: CellProgress,
) -> dict[Cell, str]:
    """Run ``cells``, ``workers`` at a time.

    Args:
        cells: in the order of work.
        lengths: how long each takes.
        work: folder for recordings, policies and Tune's files.
        workers: processes of one thread each.
        deadline: ``time.monotonic()`` after which no cell is begun; None for none.
        keep: called with the line of every finished cell, at once.
        progress: shows them.

    Returns:
        The errors of the cells that failed.
    """
    kept = KeepResults(keep, progress)
    with _environment(_TUNE_ENVIRONMENT), ray_session(num_cpus=workers):
        Tuner(
            tune.with_resources(CellTrial, {"cpu": 1}),
            param_space={"lengths": asdict(lengths), "work": str(work.resolve())},
            tune_config=TuneConfig(
                search_alg=ConcurrencyLimiter(CellQueue(cells, deadline), max_concurrent=workers),
                num_samples=len(cells),
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=RunConfig(
                name=f"sitting-{time.strftime('%Y%m%d-%H%M%S')}",
                storage_path=str((work / "tune").resolve()),
                verbose=0,
                callbacks=[kept],
                checkpoint_config=CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    return kept.errors


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables that later runs of Tune in this process shall not find."""
    before = dict(os.environ)
    os.environ |= values
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name)
            if name in before:
                os.environ[name] = before[name]


def _cell(trial: Trial) -> Cell:
    return Cell(**trial.config["cell"])
