"""The simulated schedule of many runners and learners: arithmetic that one can check by hand."""

from __future__ import annotations

import importlib
import math
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # scripts, in no package
model = importlib.import_module("scaling_model")
scaling = importlib.import_module("scaling")
report = importlib.import_module("scaling_report")
parts_module = importlib.import_module("scaling_parts")

# 400 rounds: 4 runners play 1 s, one learner learns 2 s; nothing else takes any time.
FREE = model.Parts(
    play_s=0.01,
    play_deviation=0.0,
    take_weights_s=0.0,
    request_s=0.0,
    result_s=0.0,
    pack_s=0.0,
    unpack_s=0.0,
    update_s=0.005,
    episode_bytes=0.0,
    result_bytes=0.0,
    weights_bytes=0.0,
    gradient_bytes=0.0,
    gradient_steps=0,
    bandwidth=math.inf,
    latency_s=0.0,
)
FOUR = model.Setting(runners=4, learners=1, rounds=400)


def simulated(parts: Any, setting: Any, epochs: int = 20) -> Any:
    return model.simulate(parts, setting, epochs, np.random.default_rng(0))


def test_they_take_turns() -> None:
    found = simulated(FREE, FOUR)
    assert found.seconds == pytest.approx(1 + 2)
    assert (found.runners, found.learners) == pytest.approx((1 / 3, 2 / 3))
    assert found.driver == 0


def test_ahead_the_slower_decides() -> None:
    found = simulated(FREE, replace(FOUR, batches_ahead=1))
    assert found.seconds == pytest.approx(2)
    assert (found.runners, found.learners) == pytest.approx((1 / 2, 1))
    fewer = simulated(FREE, replace(FOUR, runners=1, batches_ahead=1))  # 4 s to play
    assert fewer.seconds == pytest.approx(4)


def test_without_remote_learners_the_driver_learns() -> None:
    found = simulated(FREE, replace(FOUR, learners=0))
    assert found.seconds == pytest.approx(3)
    assert found.driver == pytest.approx(2 / 3)


def test_the_driver_does_one_thing_at_a_time() -> None:
    parts = replace(FREE, request_s=0.1, result_s=0.2, episode_bytes=10, pack_s=1e-4, unpack_s=2e-4)
    # Asks 4 runners, of which the last begins at .4; merges 4 results; unpickles and pickles
    # 4,000 bytes; asks the learner, which unpickles them, too.
    driver = 4 * 0.1 + 4 * 0.2 + 0.8 + 0.4 + 0.1
    found = simulated(parts, FOUR)
    assert found.seconds == pytest.approx(driver + 1 + 0.8 + 2)
    assert found.driver == pytest.approx(driver / found.seconds)
    spared = simulated(parts, replace(FOUR, by_reference=True))
    assert found.seconds - spared.seconds == pytest.approx(0.8 + 0.4)


def test_the_slowest_runner_is_waited_for() -> None:
    parts = replace(FREE, play_deviation=0.1, update_s=0.0)
    found = simulated(parts, replace(FOUR, runners=2, rounds=200), epochs=20_000)
    # The larger of two independent normal numbers is 1 / sqrt(pi) deviations above the mean.
    assert found.seconds == pytest.approx(1 + 0.1 / math.sqrt(math.pi), abs=0.003)


def test_gradients_go_round_a_ring() -> None:
    parts = replace(FREE, gradient_bytes=1e6, gradient_steps=10, bandwidth=1e6, latency_s=1e-3)
    setting = replace(FOUR, learners=4)
    assert model.bytes_an_iteration(parts, setting)["gradients, a learner"] == 2 * 3 / 4 * 1e6
    # A quarter of the rounds, 1.5 s of sending, and 10 steps of 2 x 3 messages.
    assert model.update_seconds(parts, setting) == pytest.approx(0.5 + 1.5 + 10 * 6 * 1e-3)


def test_bytes() -> None:
    parts = replace(FREE, episode_bytes=10, result_bytes=7, weights_bytes=100)
    assert model.bytes_an_iteration(parts, replace(FOUR, runners=33, runners_a_node=32)) == {
        "episodes, runners to driver": 4000,
        "episodes, to learners": 4000,
        "metrics, runners to driver": 33 * 7,
        "policies, learner to driver": 100,
        "policies, driver to nodes": 2 * 100,
        "gradients, a learner": 0,
    }


def test_steps_and_their_gradients_are_counted() -> None:
    parameter = torch.nn.Parameter(torch.zeros(5))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    with parts_module.steps_counted() as counted:
        optimizer.step()
        optimizer.step()
    optimizer.step()
    assert counted == {"steps": 2, "bytes": 2 * 5 * 4}


def test_the_page_has_every_setting() -> None:
    simulated_rows = scaling.simulate_sizes(FREE, 400)
    # 1,000 runners play 25.6 rounds each, .256 s, and learners learn 2 s.
    largest = next(row for row in simulated_rows if row["setting"]["runners"] == 1000)
    assert largest["schedule"]["seconds"] == pytest.approx(2.256)
    assert largest["rounds_a_second"] == pytest.approx(64 * 400 / 2.256)
    page = report.to_markdown(
        {
            "machine": "two cores",
            "commit": "abc",
            "command": "scaling.py",
            "seed": 0,
            "batch_size": 400,
            "seconds": 1.0,
            "parts": asdict(FREE),
            "measured": [{"runners": 1, "learners": 0, "batches_ahead": 0, "ratios": [1.0, 2.0]}],
            "simulated": simulated_rows,
        }
    )
    assert "| 1 | 0 (the driver) | 0 | 1.50 (1.00 to 2.00) |" in page
    assert "| 1,000 | 64 | 0 | through the driver | 2.26 |" in page
    assert page.count("by reference") == len(scaling.SIMULATED_SIZES)
