"""An environment that fails is named, with the agent and what was expected; or a new one plays."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from rllib_amagail.runners.env_faults import EnvironmentFaultError
from tests.fault_toys import (
    HORIZON,
    FaultyBatchedEnv,
    FaultyEnv,
    faulty_config,
    make_faulty_runner,
)

pytestmark = pytest.mark.faults

ENVIRONMENTS = [FaultyEnv, FaultyBatchedEnv]


def first_line(error: pytest.ExceptionInfo[BaseException]) -> str:
    return str(error.value).splitlines()[0]


@pytest.mark.parametrize("env", ENVIRONMENTS)
@pytest.mark.parametrize(
    ("fault", "at", "message"),
    [
        ("reset raises", 0, r"reset\(\): OSError: the engine did not start"),
        ("step raises", 2, r"step\(\): OSError: the engine broke"),
        (
            "nan observation",
            0,
            r"reset\(\): .*agent 'right'.* 1 of 4 numbers not finite .*at \[2\]",
        ),
        ("nan observation", 3, r"step\(\): .*agent 'right'.* 1 of 4 numbers not finite .*at \[2\]"),
        ("nan reward", 2, r"step\(\): .*agent 'right'.* reward of nan, expected a finite one"),
        (
            "shape",
            1,
            r"step\(\): .*'right'.* shape \((5,|2, 3)\).*, expected .*shape \((4,|2, 4)\)",
        ),
        ("unknown agent", 1, r"step\(\): .*'ghost'.*, expected .*'left', 'right'"),
        ("nobody", 0, r"reset\(\): .*found (no observation|observations of \[\])"),
    ],
)
def test_a_fault_is_named(env: type[FaultyEnv], fault: str, at: int, message: str) -> None:
    runner = make_faulty_runner(env, fault=fault, at=at)
    with pytest.raises(EnvironmentFaultError) as error:
        runner.sample(num_timesteps=2 * HORIZON)
    line = first_line(error)
    assert re.match(f"environment '{env.__name__}' on env runner 0 .*{message}", line)


def test_an_ending_that_cannot_be_learned_from_is_named() -> None:
    runner = make_faulty_runner(FaultyEnv, fault="no final observation")
    with pytest.raises(EnvironmentFaultError, match=r"^environment 'FaultyEnv'.*right.*truncat"):
        runner.sample(num_timesteps=4 * HORIZON)


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_a_runner_can_be_asked_again(env: type[FaultyEnv], tmp_path: Path) -> None:
    runner = make_faulty_runner(env, fault="step raises", at=2, once=str(tmp_path / "happened"))
    with pytest.raises(EnvironmentFaultError):
        runner.sample(num_timesteps=2 * HORIZON)
    episodes = runner.sample(num_timesteps=2 * HORIZON)
    assert sum(len(episode) for episode in episodes if episode.is_done) >= HORIZON


@pytest.mark.parametrize("env", ENVIRONMENTS)
@pytest.mark.parametrize("fault", ["step raises", "reset raises", "nan reward"])
def test_a_new_environment_goes_on(env: type[FaultyEnv], fault: str, tmp_path: Path) -> None:
    once = str(tmp_path / "happened")
    runner = make_faulty_runner(env, fault=fault, at=0 if fault == "reset raises" else 2, once=once)
    runner.config = runner.config.copy(copy_frozen=False).fault_tolerance(
        restart_failed_sub_environments=True
    )
    before = runner.env
    episodes = runner.sample(num_episodes=2)
    assert runner.env is not before
    assert {len(episode) for episode in episodes} == {HORIZON}


@pytest.mark.parametrize("env", ENVIRONMENTS)
@pytest.mark.parametrize("fault", ["step raises", "reset raises"])
def test_an_environment_that_always_fails_is_not_made_for_ever(
    env: type[FaultyEnv], fault: str
) -> None:
    runner = make_faulty_runner(env, fault=fault)
    runner.config = runner.config.copy(copy_frozen=False).fault_tolerance(
        restart_failed_sub_environments=True, num_consecutive_env_runner_failures_tolerance=3
    )
    with pytest.raises(EnvironmentFaultError, match="has failed 4 times in a row"):
        runner.sample(num_episodes=2)


def run(**options: Any) -> None:
    """Train two iterations with two remote runners."""
    env = options.pop("env", FaultyBatchedEnv)
    timeout = options.pop("sample_timeout_s", 60)
    config = faulty_config(env, **options)
    config.env_runners(num_env_runners=2, sample_timeout_s=timeout)
    algorithm = config.build_algo()
    try:
        for _ in range(2):
            algorithm.train()
    finally:
        algorithm.stop()


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("env", [pytest.param(FaultyEnv, marks=pytest.mark.slow), FaultyBatchedEnv])
def test_a_remote_runner_tells_what_its_environment_raised(env: type[FaultyEnv]) -> None:
    with pytest.raises(EnvironmentFaultError) as error:
        run(env=env, fault="step raises", at=1)
    line = first_line(error)
    assert re.match(rf"environment '{env.__name__}' on env runner [12] failed in step\(\)", line)
    assert "OSError: the engine broke" in line
    assert line.endswith("There is no checkpoint to go on from")


@pytest.mark.usefixtures("ray_session")
def test_a_constructor_that_fails_on_another_machine_is_named() -> None:
    message = r"^environment 'FaultyEnv' on env runner [12] failed in its constructor: FileNotFound"
    with pytest.raises(EnvironmentFaultError, match=message):
        run(env=FaultyEnv, fault="constructor")


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_environments_that_hang_end_the_run() -> None:
    with pytest.raises(RuntimeError, match=r"^no env runner has answered within sample_timeout_s"):
        run(env=FaultyEnv, fault="hangs", at=1, sample_timeout_s=1)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_one_environment_that_hangs_does_not(tmp_path: Path) -> None:
    run(fault="hangs", at=1, once=str(tmp_path / "happened"), sample_timeout_s=5)
    assert (tmp_path / "happened").exists()
