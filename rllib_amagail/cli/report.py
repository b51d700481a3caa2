"""What ``rllib train`` says when a run is over."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Iterator

from ray.tune import Result, ResultGrid
from ray.tune.utils import flatten_dict

from rllib_amagail.cli.best_trial import report_best_trial
from rllib_amagail.cli.errors import INTERRUPTED, RUN_FAILED, first_error_line


def report(results: ResultGrid, metric: str, command: str) -> int:
    """Print where results are, the best trial and checkpoint, and what to do next.

    Args:
        results: of all trials.
        metric: result key; more is better.
        command: what started the run, up to the options that tell the experiment.

    Returns:
        The exit code: 0, `RUN_FAILED` or `INTERRUPTED`.
    """
    print(f"Results: {results.experiment_path}")
    report_best_trial(results, metric)
    _print_checkpoints(results, metric)
    failed = [result for result in results if result.error is not None]
    for result in failed:
        cause = first_error_line(str(result.error))
        print(f"error: a trial failed: {cause}\n  more in {result.path}/error.txt", file=sys.stderr)
    resume = f"{command} --resume {shlex.quote(results.experiment_path)}"
    # Tune calls trials terminated that Ctrl-C stopped; those that ended have a last result.
    ended = [r.error is not None or bool((r.metrics or {}).get("done")) for r in results]
    if not ended or not all(ended):
        print(f"Interrupted; resume with: {resume}")
        return INTERRUPTED
    return RUN_FAILED if failed else 0


def _print_checkpoints(results: ResultGrid, metric: str) -> None:
    last = [result.checkpoint.path for result in results if result.checkpoint is not None]
    if not last:
        print("There is no checkpoint.")
        return
    chosen = last[-1]
    scored = [scored for result in results for scored in _scored(result, metric)]
    if scored:
        value, chosen = max(scored)
        print(f"Best checkpoint ({metric} {value:.2f}): {chosen}")
    others = [path for path in last if path != chosen or not scored]
    if len(last) == 1 or not scored:
        for path in others:
            print(f"Last checkpoint: {path}")
    elif others:
        print(f"Checkpoints of the other trials: {len(others)}, in their folders")
    print(f"Evaluate with: rllib evaluate {shlex.quote(chosen)}")


def _scored(result: Result, metric: str) -> Iterator[tuple[float, str]]:
    """Value and path of the trial's checkpoints that have a value."""
    for checkpoint, metrics in result.best_checkpoints or ():
        value = flatten_dict(metrics).get(metric)
        if value is not None and math.isfinite(value):
            yield float(value), checkpoint.path
