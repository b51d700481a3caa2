"""What a search found: the best trial's settings, printed and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune import ResultGrid
from ray.tune.utils import flatten_dict

BEST_TRIAL_FILE = "best_trial.json"

# RLlib keeps it under a private name.
_NAMES = {"_model_config": "model_config"}


def report_best_trial(results: ResultGrid, metric: str) -> dict[str, Any] | None:
    """Print the best trial's score and settings, and write them into the run's folder.

    Settings are those in which the trials differ, as ``--config`` takes them. Says nothing of a
    run of one trial, or of one without any score.

    Args:
        results: of all trials.
        metric: result key; more is better. A trial counts by its last result.

    Returns:
        What is in the file; None if there is nothing to say.
    """
    scored = []
    for result in results:
        value = flatten_dict(result.metrics or {}).get(metric)
        if value is not None and math.isfinite(value):
            scored.append((float(value), result))
    if len(results) < 2 or not scored:
        return None
    value, best = max(scored, key=lambda pair: pair[0])
    settings = _differences(best.config, [result.config for result in results])
    told = ", ".join(f"{key} {short(setting)}" for key, setting in settings.items())
    print(f"Best of {len(results)} trials ({metric} {value:.2f} at its end): {told}")
    found = {
        "metric": metric,
        "value": value,
        "config": settings,
        "trial": best.path,
        "checkpoint": None if best.checkpoint is None else best.checkpoint.path,
    }
    file = Path(results.experiment_path) / BEST_TRIAL_FILE
    file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(f"Its settings: {file}")
    return found


def short(value: Any) -> str:
    """A setting for people: numbers with four digits."""
    return format(value, ".4g") if isinstance(value, float) else str(value)


def _differences(config: Mapping[str, Any], others: list[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        _NAMES.get(key, key): value
        for key, value in config.items()
        if any(_as_json(other.get(key)) != _as_json(value) for other in others)
    }


def _as_json(value: Any) -> str:
    """For comparisons; classes and functions, which no search changes, are all the same."""
    try:
        return json.dumps(value)
    except TypeError:
        return ""
