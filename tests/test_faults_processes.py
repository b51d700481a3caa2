"""Processes that are killed while they work: at most the iteration in flight is lost."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rllib_amagail import AMAGAIL
from rllib_amagail.algorithm.played_rounds import EnvRunnersLostError
from rllib_amagail.learner.learner_group import LearnerLostError
from tests.fault_toys import (
    ENV_STEPS,
    FaultyBatchedEnv,
    FaultyEnv,
    faulty_config,
    in_the_middle,
    kill,
    learner_pids,
    runner_pids,
)
from tests.test_cli import run

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("ray_session")]


def with_runners(env: type[FaultyEnv], **env_config: Any) -> AMAGAIL:
    return faulty_config(env, **env_config).env_runners(num_env_runners=2).build_algo()


def rounds_sampled(result: dict[str, Any]) -> int:
    return int(result["env_runners"]["num_env_steps_sampled"])


def weights_of_runners(algorithm: AMAGAIL) -> list[dict[str, np.ndarray]]:
    return algorithm.env_runner_group.foreach_env_runner(
        lambda runner: runner.module["left"].get_state(inference_only=True), local_env_runner=False
    )


@pytest.mark.parametrize(
    ("env", "killed"),
    [
        (FaultyBatchedEnv, 2),
        pytest.param(FaultyBatchedEnv, 1, marks=pytest.mark.slow),
        pytest.param(FaultyEnv, 1, marks=pytest.mark.slow),
        pytest.param(FaultyEnv, 2, marks=pytest.mark.slow),
    ],
)
def test_runners_killed_while_they_play(env: type[FaultyEnv], killed: int) -> None:
    """No iteration has fewer rounds, and they come back with the learner's weights."""
    algorithm = with_runners(env, pause=0.05)
    algorithm.train()
    pids = runner_pids(algorithm)[:killed]
    with in_the_middle(lambda: kill(*pids), 0.2):
        assert rounds_sampled(algorithm.train()) >= ENV_STEPS
    group = algorithm.env_runner_group
    while group.num_remote_worker_restarts() < killed:
        assert rounds_sampled(algorithm.train()) >= ENV_STEPS
    assert not set(pids) & set(runner_pids(algorithm))
    learned = algorithm.learner_group._learner.module["left"].get_state(inference_only=True)
    found = weights_of_runners(algorithm)
    assert len(found) == 2
    for weights in found:
        for name, array in weights.items():
            np.testing.assert_array_equal(array, learned[name])
    algorithm.stop()


@pytest.mark.slow
def test_runners_that_may_not_come_back_end_the_run() -> None:
    config = faulty_config().env_runners(num_env_runners=2)
    algorithm = config.fault_tolerance(max_num_env_runner_restarts=0).build_algo()
    kill(*runner_pids(algorithm))
    with pytest.raises(EnvRunnersLostError, match=r"^all 2 env runners are dead .* \(pid \d+"):
        algorithm.train()
    algorithm.stop()


@pytest.mark.slow
def test_a_runner_is_not_started_anew_against_the_users_will() -> None:
    config = faulty_config().env_runners(num_env_runners=1)
    algorithm = config.fault_tolerance(restart_failed_env_runners=False).build_algo()
    kill(*runner_pids(algorithm))
    with pytest.raises(EnvRunnersLostError, match=r"^env runner 1: its process .*died.*To go on"):
        algorithm.train()
    algorithm.stop()


@pytest.mark.parametrize("num_learners", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_killed_learner_ends_the_run(num_learners: int, tmp_path: Path) -> None:
    """Quickly: the other one would wait for it for half an hour."""
    config = faulty_config().learners(num_learners=num_learners, num_cpus_per_learner=1)
    algorithm = config.training(num_epochs=2000).build_algo()
    folder = algorithm.save_to_path(str(tmp_path / "checkpoint"))
    pids = learner_pids(algorithm)
    started = time.monotonic()
    with (
        in_the_middle(lambda: kill(pids[-1]), 1.0),
        pytest.raises(LearnerLostError) as error,
    ):
        algorithm.train()
    assert time.monotonic() - started < 300
    line = str(error.value).splitlines()[0]
    assert re.match(r"a learner is lost: its process \(pid \d+ on [\d.]+\) died: ", line)
    assert line.endswith(f"The last checkpoint is {folder}")
    with pytest.raises(RuntimeError, match=r"^neither trained on nor saved: .*a learner is lost"):
        algorithm.save_to_path(str(tmp_path / "later"))
    algorithm.stop()
    assert not (tmp_path / "later").exists()


KILLED = """
import os
from pathlib import Path
from tests.fault_toys import faulty_config, kill, learner_pids

def kill_once(*, algorithm, result, **kwargs):
    marker = Path({marker!r})
    if result["training_iteration"] == 2 and not marker.exists():
        marker.touch()
        kill(*{pids})

config = faulty_config().learners(num_learners=1, num_cpus_per_learner=1)
config.callbacks(on_train_result=kill_once)
stop = {{"training_iteration": 4}}
"""


@pytest.mark.slow
@pytest.mark.parametrize("pids", ["learner_pids(algorithm)", "[os.getpid()]"])
def test_a_trial_goes_on_from_its_last_checkpoint(pids: str, tmp_path: Path) -> None:
    """Whether a learner or the trial's own process is killed, after its second iteration."""
    marker = tmp_path / "killed"
    Path("killed.py").write_text(KILLED.format(marker=str(marker), pids=pids))
    options = ["--checkpoint-freq", "1", "--max-failures", "1", "--storage-path", "results"]
    code, _, err = run("train", "file", "killed.py", *options)
    assert code == 0, err
    assert marker.exists()
    (file,) = Path("results").glob("*/*/result.json")
    results = [json.loads(line) for line in file.read_text().splitlines()]
    assert [result["training_iteration"] for result in results][-2:] == [3, 4]
    assert results[-1]["iterations_since_restore"] < 4  # it did not begin anew
