"""A run killed and restored at any iteration gives the numbers of one that was not."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rllib_amagail import AMAGAIL, AMAGAILConfig
from rllib_amagail.runners.batched_env_runner import BatchedEnvRunner
from tests.test_algorithm import small_config
from tests.toys import HORIZON, echo_demonstrations
from tests.tuned_run import ITERATIONS, NAME

pytestmark = pytest.mark.usefixtures("ray_session")
ROOT = Path(__file__).parent.parent
PATIENCE = 600  # seconds, with processes that start slowly on a busy machine
GAME = "stochastic_cooperative_navigation"

# Results that tell of the process and not of training, and words for measured times.
OF_THE_PROCESS = ("config", "perf", "pid", "iterations_since_restore")
CLOCK = ("timer", "throughput", "time", "duration")
NOT_TRAINED_ON = ("episodes_length_in", "episodes_length_out")  # RLlib's, of its connectors


def game_config() -> AMAGAILConfig:
    """A bundled game, played as arrays; an iteration ends in the middle of episodes."""
    return (
        AMAGAILConfig()
        .environment(GAME, env_config={"horizon": 7})
        .env_runners(env_runner_cls=BatchedEnvRunner, num_envs_per_env_runner=4)
        .training(train_batch_size_per_learner=4 * 10, minibatch_size=16, num_epochs=2)
        .rl_module(model_config={"fcnet_hiddens": [8]})
        .imitation(num_demonstrations=20, discriminator_hiddens=(8,), bc_steps=5)
        .imitation(value_only_iterations=1)
        .debugging(seed=0, log_level="ERROR")
    )


def echo_config() -> AMAGAILConfig:
    """The echo game, played by RLlib's runner; an iteration ends in the middle of episodes."""
    config = small_config().env_runners(num_envs_per_env_runner=4)
    config.training(train_batch_size_per_learner=4 * (HORIZON + HORIZON // 2), minibatch_size=16)
    return config.imitation(bc_steps=5)


def with_mack(config: AMAGAILConfig) -> AMAGAILConfig:
    batch = config.train_batch_size_per_learner
    config.imitation(generator="mack", critic="joint", discriminator_hiddens=(8,))
    return config.training(train_batch_size_per_learner=batch)


def regularised(config: AMAGAILConfig) -> AMAGAILConfig:
    """Everything that keeps discriminators and policies from going astray."""
    config.imitation(discriminator_input_noise=0.1, discriminator_group_lasso=0.01)
    config.imitation(reward_form="airl", reward_shaping=True, bc_loss_coeff=0.1)
    return config.training(
        use_kl_loss=True, kl_target=1e-4, lr=[[0, 1e-2], [500, 1e-4]], entropy_coeff=0.01
    )


def complete(config: AMAGAILConfig) -> AMAGAILConfig:
    return config.env_runners(batch_mode="complete_episodes")


def streaming(config: AMAGAILConfig, folder: Path) -> AMAGAILConfig:
    """Demonstrations in six parts, of which a window holds one."""
    folder.mkdir()
    whole = echo_demonstrations(episodes=12)
    for part in range(6):
        whole.select(range(2 * part, 2 * part + 2)).save(folder / f"part-{part:05}.parquet")
    config.imitation(demonstrations=str(folder), discriminator_batch_size=8)
    return config.streaming(demonstrations_memory=8000)


def numbers(result: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, float]]:
    """All numbers of a result but for times, by path."""
    for key, value in result.items():
        name = str(key)
        if (not path and name in OF_THE_PROCESS) or name.endswith(NOT_TRAINED_ON):
            continue
        if name == "sample" or any(word in name.replace("lifetime", "") for word in CLOCK):
            continue
        if isinstance(value, Mapping):
            yield from numbers(value, f"{path}/{name}")
        elif isinstance(value, int | float | np.number):
            yield f"{path}/{name}", float(value)


def train(algorithm: AMAGAIL, iterations: int) -> list[dict[str, float]]:
    return [dict(numbers(algorithm.train())) for _ in range(iterations)]


def learned(algorithm: AMAGAIL) -> dict[str, np.ndarray]:
    """Weights of all modules."""
    state = algorithm.learner_group.get_weights()
    return {f"{m}/{name}": array for m, arrays in state.items() for name, array in arrays.items()}


def assert_same_numbers(found: list[dict[str, float]], expected: list[dict[str, float]]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        different = {
            name: (ours[name], value)
            for name, value in theirs.items()
            if ours[name] != value and not (math.isnan(value) and math.isnan(ours[name]))
        }
        assert not different, theirs["/training_iteration"]


def assert_goes_on(
    checkpoint: Path, expected: list[dict[str, float]], weights: dict[str, np.ndarray]
) -> None:
    """A run restored from `checkpoint` gives these results, and ends with these weights."""
    restored = AMAGAIL.from_checkpoint(str(checkpoint))
    try:
        assert_same_numbers(train(restored, len(expected)), expected)
        for name, array in learned(restored).items():
            np.testing.assert_array_equal(array, weights[name], err_msg=name)
    finally:
        restored.stop()


def assert_resumes(config: AMAGAILConfig, folder: Path, after: int = 1, more: int = 2) -> None:
    """Saved `after` so many iterations, the run goes on for as many `more` with equal numbers."""
    algorithm = config.build_algo()
    try:
        train(algorithm, after)
        algorithm.save_to_path(str(folder / "checkpoint"))
        expected, weights = train(algorithm, more), learned(algorithm)
    finally:
        algorithm.stop()
    assert (
        expected[0]["/env_runners/num_env_steps_sampled_lifetime"]
        > (expected[0]["/env_runners/num_env_steps_sampled"])
    )
    assert_goes_on(folder / "checkpoint", expected, weights)


@pytest.mark.parametrize("make", [game_config, echo_config], ids=["batched", "one_by_one"])
def test_at_any_iteration(make: Any, tmp_path: Path) -> None:
    algorithm = make().build_algo()
    algorithm.save_to_path(str(tmp_path / "0"))
    algorithm.clone_behaviour()
    algorithm.save_to_path(str(tmp_path / "cloned"))
    results = []
    for iteration in (1, 2, 3):
        results += train(algorithm, 1)
        algorithm.save_to_path(str(tmp_path / str(iteration)))
    results += train(algorithm, 1)
    weights = learned(algorithm)
    algorithm.stop()
    for moment in ("0", "cloned", "1", "2", "3"):
        done = int(moment) if moment.isdigit() else 0
        assert_goes_on(tmp_path / moment, results[done:], weights)


@pytest.mark.parametrize(
    "config",
    [
        lambda: regularised(game_config()),
        lambda: complete(with_mack(game_config())),
        lambda: complete(regularised(echo_config())),
        lambda: with_mack(echo_config()),
    ],
    ids=["batched_regularised", "batched_mack", "complete_regularised", "one_by_one_mack"],
)
def test_with_one_process(config: Any, tmp_path: Path) -> None:
    assert_resumes(config(), tmp_path)


@pytest.mark.slow
def test_with_streamed_demonstrations(tmp_path: Path) -> None:
    config = streaming(echo_config(), tmp_path / "z")
    assert config.streamed_demonstrations() is not None
    assert_resumes(config, tmp_path, more=3)


def remote(config: AMAGAILConfig, learners: int = 0) -> AMAGAILConfig:
    config.env_runners(num_env_runners=2, num_envs_per_env_runner=2)
    return config.learners(num_learners=learners)


@pytest.mark.slow
def test_with_remote_runners_and_a_remote_learner(tmp_path: Path) -> None:
    assert_resumes(remote(regularised(game_config()), learners=1), tmp_path)


@pytest.mark.slow
def test_with_remote_runners_one_by_one(tmp_path: Path) -> None:
    assert_resumes(remote(echo_config()), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        lambda folder: remote(complete(with_mack(game_config()))),
        lambda folder: remote(with_mack(echo_config()), learners=1),
        lambda folder: remote(complete(streaming(echo_config(), folder)), learners=1),
        lambda folder: remote(regularised(echo_config())),
    ],
    ids=["batched_complete_mack", "mack_learner", "complete_streaming_learner", "regularised"],
)
def test_with_remote_runners_in_other_ways(config: Any, tmp_path: Path) -> None:
    assert_resumes(config(tmp_path / "z"), tmp_path, after=2)


def test_evaluation_leaves_training_alone() -> None:
    results = []
    for interval in (None, 1):
        config = echo_config().evaluation(
            evaluation_interval=interval, evaluation_duration=3, evaluation_num_env_runners=0
        )
        algorithm = config.build_algo()
        results.append(train(algorithm, 3))
        algorithm.stop()
    without, beside = results
    assert any(name.startswith("/evaluation") for name in beside[0])
    kept = [{k: v for k, v in r.items() if not k.startswith("/evaluation")} for r in beside]
    assert_same_numbers(kept, without)


def test_another_number_of_runners_goes_on_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    algorithm = game_config().build_algo()
    train(algorithm, 1)
    state = algorithm.get_state()
    assert state["remote_env_runners"] == {"training": {}}
    with caplog.at_level(logging.WARNING):
        algorithm.set_state(state)
    assert "env runners" not in caplog.text
    state["remote_env_runners"]["training"][1] = {}
    with caplog.at_level(logging.WARNING):
        algorithm.set_state(state)
    assert r"remote env runners [1] for training, and this run has env runners []" in caplog.text
    assert train(algorithm, 1)[0]["/training_iteration"] == 2
    algorithm.stop()


def _tuned(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.tuned_run", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=(folder.parent / f"{folder.name}.txt").open("a"),
        start_new_session=True,
    )


def _reported(folder: Path) -> dict[int, dict[str, float]]:
    """Iteration to the numbers that were written last for it."""
    (file,) = (folder / NAME).glob("*/result.json")
    results = [json.loads(line) for line in file.read_text().splitlines()]
    return {result["training_iteration"]: dict(numbers(result)) for result in results}


@pytest.mark.slow
def test_a_tuned_run_whose_driver_is_killed(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert _tuned(whole).wait(PATIENCE) == 0
    process = _tuned(killed)
    deadline = time.monotonic() + PATIENCE
    while len(list((killed / NAME).glob("*/checkpoint_*"))) < 3:
        assert process.poll() is None, (tmp_path / "killed.txt").read_text()[-2000:]
        assert time.monotonic() < deadline, f"no checkpoints in {PATIENCE} s"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert _tuned(killed).wait(PATIENCE) == 0
    found, expected = _reported(killed), _reported(whole)
    assert sorted(expected) == list(range(1, ITERATIONS + 1))
    names = [name for name in expected[ITERATIONS] if name.startswith(("/learners", "/score"))]
    for name in names:
        ours, theirs = found[ITERATIONS][name], expected[ITERATIONS][name]
        assert ours == theirs or (math.isnan(ours) and math.isnan(theirs)), name
