"""Searches that run: their log files, and going on after the driver was killed."""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.tune.utils import flatten_dict

from rllib_amagail.cli.best_trial import BEST_TRIAL_FILE
from tests.test_cli import GAME, run

ROOT = Path(__file__).parent.parent
AGENTS = ("agent_1", "agent_2", "agent_3")
# Iterations of two whole episodes, of the length that the scale of scores is for.
SMALL: dict[str, Any] = {
    "num_envs_per_env_runner": 2,
    "train_batch_size_per_learner": 100,
    "minibatch_size": None,
    "num_epochs": 1,
    "num_demonstrations": 3,
    "bc_steps": 2,
    "discriminator_steps": 1,
    "value_only_iterations": 0,
    "model_config": {"fcnet_hiddens": [8]},
    "lr": {"loguniform": [1e-4, 1e-2]},
    "gradient_penalty": {"uniform": [0.01, 0.1]},
}


def words(**options: Any) -> list[str]:
    stop = {"training_iteration": options.pop("iterations", 2)}
    given = {"env": GAME, "config": SMALL, "stop": stop, "storage_path": "results", **options}
    return [
        "train",
        *(
            word
            for name, value in given.items()
            for word in (
                f"--{name.replace('_', '-')}",
                json.dumps(value) if isinstance(value, dict) else str(value),
            )
        ),
    ]


# --- what a search leaves ------------------------------------------------------------------------

LOGGED = (
    "score",
    "normalised_score",
    *(f"env_runners/agent_episode_returns_mean/{agent}" for agent in AGENTS),
    *(f"learners/{agent}/discriminator_loss" for agent in AGENTS),
    *(f"learners/{agent}/default_optimizer_learning_rate" for agent in AGENTS),
)


@pytest.fixture(scope="module")
def searched(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A population of two trials that ran to its end: its folder and what was printed."""
    storage = tmp_path_factory.mktemp("results")
    options = {"scheduler": "pbt", "scheduler_config": {"perturbation_interval": 2}}
    code, out, err = run(
        *words(**options, iterations=4, num_samples=2, storage_path=storage, experiment_name="s")
    )
    assert code == 0, err
    return storage / "s", out


def trial_folders(folder: Path) -> list[Path]:
    return sorted(file.parent for file in folder.glob("*/result.json"))


def scalars(file: Path) -> Iterator[tuple[str, float]]:
    """Names and values in a TensorBoard file: records of a length, a checksum, data, a checksum."""
    from tensorboardX.proto.event_pb2 import Event

    with file.open("rb") as stream:
        while header := stream.read(12):
            event = Event.FromString(stream.read(struct.unpack("<Q", header[:8])[0]))
            stream.read(4)
            for value in event.summary.value:
                yield value.tag, value.simple_value


@pytest.mark.slow
def test_a_search_tells_each_trials_settings_and_the_best(searched: tuple[Path, str]) -> None:
    folder, out = searched
    lines = out.splitlines()
    for trial in (0, 1):
        told = next(line for line in lines if line.startswith(f"trial {trial}: "))
        assert "lr " in told
        assert "gradient_penalty " in told
    best = json.loads((folder / BEST_TRIAL_FILE).read_text())
    finals = [
        json.loads((trial / "result.json").read_text().splitlines()[-1])["score"]
        for trial in trial_folders(folder)
    ]
    assert best["value"] == pytest.approx(max(finals))
    assert best["config"].keys() <= {"lr", "gradient_penalty"}
    assert f"Its settings: {folder / BEST_TRIAL_FILE}" in lines


@pytest.mark.slow
def test_a_population_changes_settings_in_flight(searched: tuple[Path, str]) -> None:
    folder, _ = searched
    exchanges = [json.loads(line) for line in (folder / "pbt_global.txt").read_text().splitlines()]
    assert exchanges
    changed_trial, *_, copied, mutated = exchanges[-1]
    assert mutated["lr"] != pytest.approx(copied["lr"])
    (changed,) = (
        trial
        for trial in trial_folders(folder)
        if f"_{changed_trial.partition('_')[0]}_" in trial.name
    )
    rows = [json.loads(line) for line in (changed / "result.json").read_text().splitlines()]
    rates = [row["learners"]["agent_1"]["default_optimizer_learning_rate"] for row in rows]
    assert rates[-1] == pytest.approx(mutated["lr"])
    # Who copies a trial that is through, at iteration 4, is only stopped after one of its own.
    assert rows[-1]["training_iteration"] in (4, 5)


@pytest.mark.slow
def test_csv_json_and_tensorboard_hold_our_metrics(searched: tuple[Path, str]) -> None:
    for trial in trial_folders(searched[0]):
        last = flatten_dict(json.loads((trial / "result.json").read_text().splitlines()[-1]))
        with (trial / "progress.csv").open() as stream:
            row = list(csv.DictReader(stream))[-1]
        board: dict[str, float] = {}  # a file for every time the trial went on
        for events in sorted(trial.glob("events.out.tfevents*")):
            board |= dict(scalars(events))
        for key in LOGGED:
            assert math.isfinite(last[key]), key
            assert float(row[key]) == pytest.approx(last[key])
            assert board[f"ray/tune/{key}"] == pytest.approx(last[key], rel=1e-5)


# --- going on after a kill -----------------------------------------------------------------------


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("search_alg", ["random", "optuna"])
def test_a_search_goes_on_after_its_driver_was_killed(tmp_path: Path, search_alg: str) -> None:
    if search_alg == "optuna":
        pytest.importorskip("optuna")
    options = {"search_alg": search_alg, "num_samples": 3, "checkpoint_freq": 2}
    limits = {"iterations": 12, "ray_num_cpus": 1}  # one trial after the other
    driver = start(tmp_path, *words(**options, **limits, experiment_name="killed"))
    folder = tmp_path / "results" / "killed"

    def in_the_second_trial() -> bool:
        # Ray Tune copies the results of the first into the folder a little later.
        some = any(len(rows_of(trial)) == 12 for trial in trial_folders(folder))
        return some and len(list(folder.glob("*/checkpoint_*"))) >= 8

    wait_for(in_the_second_trial, driver)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.communicate()
    before = {trial.name: rows_of(trial) for trial in trial_folders(folder)}
    finished = [name for name, rows in before.items() if len(rows) == 12]
    assert finished

    again = start(tmp_path, "train", "--resume", str(folder))
    out, err = again.communicate(timeout=600)
    assert again.returncode == 0, err
    assert "Best of 3 trials" in out
    assert len(json.loads((folder / BEST_TRIAL_FILE).read_text())["config"]) == 2
    after = {trial.name: rows_of(trial) for trial in trial_folders(folder)}
    assert len(after) == 3
    for name in finished:  # not run again
        assert after[name] == before[name]
    for name, rows in after.items():
        iterations = [row["training_iteration"] for row in rows]
        assert iterations[-1] == 12
        if name in before and name not in finished:  # lost: what came after the last checkpoint
            assert len(iterations) <= 12 + 2 + 1
    settings = [rows[-1]["config"]["lr"] for rows in after.values()]
    assert len(set(settings)) == 3


def rows_of(trial: Path) -> list[dict[str, Any]]:
    whole = (trial / "result.json").read_text().rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


def start(folder: Path, *command: str) -> subprocess.Popen[str]:
    """``rllib command`` as a process of its own, with a Ray of its own."""
    script = "import sys; from rllib_amagail.cli.main import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", script, *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder)},
    )


def wait_for(condition: Any, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 600
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing in 600 s"
        time.sleep(0.05)
