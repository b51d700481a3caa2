"""The arithmetic of the soak's report."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))  # scripts, in no package
report = importlib.import_module("soak_report")


def iteration(number: int, at: float, healthy: int = 2, rounds: int = 40, **more: object) -> dict:
    return {"iteration": number, "at": at, "healthy": healthy, "rounds": rounds, **more}


def test_the_slope_of_several_lives_is_that_within_them() -> None:
    times = np.arange(5.0)
    rising, error = report.slope([(times, 2 * times + 100), (times + 50, 2 * times - 7)])
    assert rising == pytest.approx(2)
    assert error == pytest.approx(0, abs=1e-9)
    # Values 0, 1, 1, 0 around no slope: residuals -.5, .5, .5, -.5; error sqrt((1 / 2) / 5).
    flat, error = report.slope([(np.arange(4.0), np.array([0.0, 1.0, 1.0, 0.0]))])
    assert flat == pytest.approx(0)
    assert error == pytest.approx(np.sqrt(0.5 / 5))


def test_what_a_killed_driver_costs() -> None:
    log = [iteration(n, float(n)) for n in (1, 2, 3)]
    log += [{"killed": "driver", "at": 3.5}, {"start": 2, "at": 10.0}, iteration(3, 11.5)]
    found = report.recoveries(log)["driver"]
    assert found["kills"] == found["measured"] == 1
    assert found["seconds to recover"] == [8, 8]
    assert found["iterations lost"] == [1, 1]
    assert found["rounds lost"] == [40, 40]


def test_what_a_killed_runner_costs() -> None:
    log = [iteration(1, 1.0), {"killed": "runner_2", "at": 1.5}, iteration(2, 2.0, healthy=1)]
    log += [iteration(3, 3.0, healthy=1, rounds=20), iteration(4, 4.0), iteration(5, 5.0)]
    found = report.recoveries(log)["runner"]
    assert found["seconds to recover"] == [2.5, 2.5]
    assert found["rounds lost"] == [20, 20]


def test_growth_is_by_kind_and_without_the_warm_up() -> None:
    log = []
    for number in range(0, 100, 5):
        memory = 100 + 0.01 * number if number >= 30 else 0.0
        looked = {"driver": [1, memory, 30], "runner_1": [2, 50, 9], "runner_2": [3, 60, 9]}
        log.append(iteration(number, 0.0, processes=looked, actors=3))
    found = report.growth(log)
    assert found["driver"]["memory"]["per 1000 iterations"] == pytest.approx(10)
    assert found["driver"]["handles"]["per 1000 iterations"] == pytest.approx(0)
    assert found["runner"]["lives"] == 2
    assert found["runner"]["memory"]["per 1000 iterations"] == pytest.approx(0)
