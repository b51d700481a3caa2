"""Training progress as a table that grows line by line, on a terminal and in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Mapping
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.utils import flatten_dict

from rllib_amagail.algorithm.multi_agent_bc import LOG_LIKELIHOOD
from rllib_amagail.cli.best_trial import short
from rllib_amagail.cli.errors import suggestion

SECONDS_BETWEEN_LINES = 5.0

# Title, result key, format.
_Column = tuple[str, str, str]
_TIME: tuple[_Column, ...] = (
    ("iteration", "training_iteration", "d"),
    ("rounds", "num_env_steps_sampled_lifetime", ",.0f"),
    ("seconds", "time_total_s", ",.1f"),
)
_SCORE: tuple[_Column, ...] = (
    ("score", "score", ".2f"),
    ("normalised", "normalised_score", ".3f"),
)
_FIT: tuple[_Column, ...] = (("log lik.", LOG_LIKELIHOOD, ".4f"),)
_WIDTH = 12
_TRIAL_WIDTH = 24


class ProgressLines(Callback):
    """Prints a line per result of a trial, at most one in `SECONDS_BETWEEN_LINES`, and the last.

    Ray Tune's own reporters repeat a block of many lines with every report.

    Args:
        metric: result key that tells how well a trial does.
        stop_keys: result keys of the stopping criteria; those that a trial does not report are
            named once, because such a trial never stops.
        every_result: print all results.
        searched: settings that a search chooses; told for every trial, and when they change.
    """

    # A run that is resumed may have been started by a version that had none.
    _searched: tuple[str, ...] = ()

    def __init__(
        self,
        metric: str,
        stop_keys: Collection[str],
        every_result: bool,
        searched: Collection[str] = (),
    ) -> None:
        own = {"score": _SCORE, LOG_LIKELIHOOD: _FIT}
        quality = own.get(metric, (("return", metric, ".2f"),))
        self._columns = (*_TIME, *quality)
        self._stop_keys = tuple(stop_keys)
        self._searched = tuple(searched)
        self._pause = 0.0 if every_result else SECONDS_BETWEEN_LINES
        self._several_trials = False
        self._printed_at: dict[str, float] = {}
        self._told: dict[str, str] = {}  # settings, by trial

    def setup(self, *args: Any, total_num_samples: int | None = None, **info: Any) -> None:
        """Called by Ray Tune before the first trial, also of a resumed run."""
        self._several_trials = total_num_samples != 1
        self._printed_at, self._told = {}, {}

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Called by Ray Tune with every result."""
        values = flatten_dict(result)
        if not self._printed_at:
            self._warn_of_stop_keys(values)
            self._print(trial="trial", cells=[title for title, _, _ in self._columns])
        last = self._printed_at.get(trial.trial_id)
        self._tell_settings(trial)
        now = time.monotonic()
        if last is not None and now - last < self._pause and not result.get("done"):
            return
        self._printed_at[trial.trial_id] = now
        cells = [_cell(values.get(key), form) for _, key, form in self._columns]
        self._print(trial=_label(trial), cells=cells)

    def _tell_settings(self, trial: Trial) -> None:
        told = ", ".join(
            f"{key.lstrip('_')} {short(trial.config.get(key))}" for key in self._searched
        )
        if told and self._told.get(trial.trial_id) != told:
            print(f"{_label(trial)}: {told}", flush=True)
            self._told[trial.trial_id] = told

    def _print(self, trial: str, cells: list[str]) -> None:
        line = "".join(cell.rjust(_WIDTH) for cell in cells)
        print(f"{trial:<{_TRIAL_WIDTH}}{line}" if self._several_trials else line, flush=True)

    def _warn_of_stop_keys(self, values: Mapping[str, Any]) -> None:
        for key in self._stop_keys:
            if key not in values:
                print(
                    f"Note: no result has the stop key {key!r} yet{suggestion(key, values)}",
                    file=sys.stderr,
                )


def _label(trial: Trial) -> str:
    """Ray Tune's number and settings of a trial, or the number alone where that is too long."""
    tag = str(trial.experiment_tag)
    return tag if len(tag) < _TRIAL_WIDTH else f"trial {tag.partition('_')[0]}"


def _cell(value: Any, form: str) -> str:
    return "-" if value is None else format(value, form)
