"""The console script: whole runs."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.test_cli import FAILING, GAME, SMALL, run


@pytest.fixture(scope="module")
def trained(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run of two iterations: its folder and what it printed."""
    storage = tmp_path_factory.mktemp("results")
    file = storage / "runs.yaml"
    stop = {"training_iteration": 2}
    file.write_text(json.dumps({"one": {"env": GAME, "stop": stop, "config": SMALL}}))
    code, out, err = run("train", "file", str(file), "--storage-path", str(storage))
    assert code == 0, err
    return storage / "one", out


def test_training_shows_progress_and_what_to_do_next(trained: tuple[Path, str]) -> None:
    folder, out = trained
    header, first, second, *rest = out.splitlines()
    assert header.split() == ["iteration", "rounds", "seconds", "score", "normalised"]
    assert [line.split()[:2] for line in (first, second)] == [["1", "200"], ["2", "400"]]
    assert rest[0] == f"Results: {folder}"
    (checkpoint,) = folder.glob("*/checkpoint_*")  # one, at the end
    assert rest[-1] == f"Evaluate with: rllib evaluate {checkpoint}"


def test_the_checkpoint_can_be_evaluated(trained: tuple[Path, str]) -> None:
    command = shlex.split(trained[1].splitlines()[-1].partition("rllib ")[2])
    options = ["--episodes", "6", "--seed", "1", "--config", '{"env_config": {"horizon": 9}}']
    code, out, err = run(*command, *options, "--out", "scores.json", "--render")
    assert code == 0, err
    assert [line.split()[0] for line in out.splitlines()[1:5]] == [
        "agent_1",
        "agent_2",
        "agent_3",
        "score",
    ]
    found = json.loads(Path("scores.json").read_text())
    assert found["environment"] == GAME
    assert [len(agent["returns"]) for agent in found["agents"].values()] == [6, 6, 6]
    assert Image.open(f"{GAME}.gif").n_frames == 9 + 1  # a picture before and after each round
    assert run(*command, *options, "--out", "again.json")[0] == 0
    assert json.loads(Path("again.json").read_text()) == found
    code, _, err = run(*command, "--algo", "PPO")
    assert code == 2
    assert "is of AMAGAIL, not of PPO" in err
    code, _, err = run(*command, "--env", "CartPole-v1")
    assert code == 2
    assert "cannot play CartPole-v1" in err


def test_a_trial_that_fails_gives_its_own_error(ray_session: None) -> None:
    Path("failing.py").write_text(FAILING)
    code, out, err = run("train", "file", "failing.py", "--storage-path", "results")
    assert code == 1
    assert "There is no checkpoint." in out
    told = "environment 'Failing' on env runner 0 failed in step(): OverflowError: the motor broke."
    assert f"error: a trial failed: EnvironmentFaultError: {told}" in err
    assert "There is no checkpoint to go on from\n" in err
    assert "Traceback" not in err
    assert len(list(Path("results").glob("*/*/error.txt"))) == 1


def test_training_goes_on_from_a_checkpoint(trained: tuple[Path, str]) -> None:
    (checkpoint,) = trained[0].glob("*/checkpoint_*")
    words = ["-e", GAME, "-c", json.dumps(SMALL), "-s", '{"training_iteration": 3}']
    folder = ["--storage-path", "results", "--experiment-name", "more"]
    code, out, err = run("train", *words, *folder, "--restore", str(checkpoint))
    assert code == 0, err
    assert [line.split()[:2] for line in out.splitlines()[1:2]] == [["3", "600"]]


def test_a_trial_too_large_for_the_machine_is_refused(ray_session: None) -> None:
    config = json.dumps({**SMALL, "num_env_runners": 7})
    code, _, err = run("train", "-e", GAME, "-c", config)
    assert code == 2
    assert "a trial needs 8 CPU, but Ray has 4 on this machine" in err


@pytest.mark.slow
def test_ctrl_c_keeps_checkpoints_and_tells_how_to_resume() -> None:
    words = ["-e", GAME, "-c", json.dumps(SMALL), "-s", '{"training_iteration": 100000}']
    folder = ["--storage-path", "results", "--experiment-name", "long", "--checkpoint-freq", "1"]
    first = _interrupt(["train", *words, *folder], checkpoints=2)
    resume = first.splitlines()[-1].partition("resume with: rllib ")[2]
    assert resume == f"train --algo AMAGAIL --resume {os.path.abspath('results/long')}"
    second = _interrupt(shlex.split(resume), checkpoints=2)
    assert int(second.splitlines()[1].split()[0]) > 1  # the first iteration after the resume


def _interrupt(words: list[str], checkpoints: int) -> str:
    """Start ``rllib words``, press Ctrl-C after so many new checkpoints; what it printed."""

    def count_checkpoints() -> int:
        return len(list(Path("results").glob("*/*/checkpoint_*")))

    wanted = count_checkpoints() + checkpoints
    script = "import sys; from rllib_amagail.cli.main import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", script, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    try:
        deadline = time.monotonic() + 120
        while count_checkpoints() < wanted:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "no checkpoints in 120 s"
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in err
    return out
