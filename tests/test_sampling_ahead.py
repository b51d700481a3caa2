"""Env runners that play ahead: how old their policies are, faults, and what happens in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.rllib.utils.actor_manager import CallResult, ResultOrError

from rllib_amagail import AMAGAIL, AMAGAILConfig
from rllib_amagail.algorithm.sampling import SamplingAhead
from tests.test_algorithm import HORIZON, small_config, train
from tests.test_distributed import game_config, rounds_sampled

pytestmark = pytest.mark.usefixtures("ray_session")


def ahead_config(batches_ahead: int = 1) -> AMAGAILConfig:
    """80 rounds a batch by one remote runner; policies that move from the first epoch on."""
    config = game_config().env_runners(num_env_runners=1).training(lr=1e-2)
    return config.sampling(batches_ahead=batches_ahead).imitation(value_only_iterations=0)


def weights(algorithm: AMAGAIL) -> list[dict[str, np.ndarray]]:
    """The first agent's policy on every remote runner."""
    return algorithm.env_runner_group.foreach_env_runner(
        lambda runner: runner.module["agent_1"].get_state(), local_env_runner=False
    )


def learned(algorithm: AMAGAIL) -> dict[str, np.ndarray]:
    return algorithm.learner_group._learner.module["agent_1"].get_state(inference_only=True)


def equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(found[name], array) for name, array in expected.items())


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (ahead_config().env_runners(num_env_runners=0), r"num_env_runners is 0; expected >= 1"),
        (ahead_config().imitation(generator="mack"), r"generator is 'mack'; expected 'ppo'"),
        (ahead_config(-1), r"batches_ahead is -1; expected >= 0"),
    ],
)
def test_what_it_needs(config: AMAGAILConfig, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        config.validate()


def test_policies_are_as_many_epochs_old() -> None:
    results = train(ahead_config(2), 4)
    assert [result["staleness"] for result in results] == [0, 1, 2, 2]
    # The number of the weights that the runner had: epochs that the learner had done.
    numbers = [result["env_runners"]["weights_seq_no"] for result in results]
    assert numbers == [0, 0, 0, 1]
    assert [rounds_sampled(result) for result in results] == [80] * 4


def test_runners_play_while_learners_learn() -> None:
    algorithm = ahead_config().build_algo()
    update, played_meanwhile = algorithm._update_learners, []

    def watch(episodes: list[Any]) -> None:
        in_flight = list(algorithm.env_runner_group._worker_manager._in_flight_req_to_actor_id)
        played_meanwhile.append(len(ray.wait(in_flight, timeout=60)[0]))
        update(episodes)

    algorithm._update_learners = watch  # type: ignore[method-assign]
    algorithm.train()
    assert played_meanwhile == [1]
    algorithm.stop()


class GroupOfTwo:
    """Stands for an EnvRunnerGroup, of which runner 2 is the faster one."""

    local_env_runner = None

    @property
    def _worker_manager(self) -> GroupOfTwo:
        return self

    def num_healthy_remote_workers(self) -> int:
        return 2

    def num_in_flight_async_reqs(self, tag: str) -> int:
        return 0

    def foreach_env_runner_async(self, function: Any, tag: str, kwargs: dict[str, Any]) -> None:
        assert kwargs["rounds"] == 40

    def fetch_ready_async_reqs(self, **kwargs: Any) -> list[CallResult]:
        metrics = {"num_env_steps_sampled": 40}
        played = {2: (["second"], [metrics]), 1: (["first"], [metrics])}
        return [
            CallResult(index, ResultOrError(result=found), None) for index, found in played.items()
        ]


def test_a_batch_does_not_depend_on_who_is_faster() -> None:
    ahead = SamplingAhead(GroupOfTwo(), restore=list)  # type: ignore[arg-type]
    batch = ahead.next_batch(ahead_config())
    assert batch.episodes == ["first", "second"]


@pytest.mark.slow
def test_neither_saving_nor_evaluating_disturbs_what_is_under_way(tmp_path: Path) -> None:
    runs = []
    for disturbed in (False, True):
        config = ahead_config().evaluation(evaluation_interval=100, evaluation_duration=4)
        algorithm = config.build_algo()
        algorithm.train()
        if disturbed:
            algorithm.save_to_path(tmp_path / "checkpoint")
            assert "agent_episode_returns_mean" in algorithm.evaluate()["env_runners"]
        results = [algorithm.train() for _ in range(2)]
        assert [result["staleness"] for result in results] == [1, 1]
        runs.append(learned(algorithm))
        algorithm.stop()  # with batches under way
    assert equal(runs[0], runs[1])


@pytest.mark.parametrize("batches_ahead", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_restored_run_plays_with_the_restored_policies(
    batches_ahead: int, tmp_path: Path
) -> None:
    algorithm = ahead_config(batches_ahead).build_algo()
    algorithm.train()
    algorithm.save_to_path(tmp_path / "checkpoint")
    saved = learned(algorithm)
    for _ in range(3):
        algorithm.train()
    algorithm.restore_from_path(tmp_path / "checkpoint")
    module = algorithm.get_module("agent_1")
    assert module is not None
    assert equal(module.get_state(), saved)
    algorithm._sample_episodes()
    assert algorithm.metrics.peek("staleness") == 0
    assert equal(weights(algorithm)[0], saved)
    algorithm.train()
    algorithm.stop()


def train_until_healthy(algorithm: AMAGAIL, runners: int) -> None:
    for _ in range(20):
        algorithm.train()
        if algorithm.env_runner_group.num_healthy_remote_workers() == runners:
            return
    raise AssertionError("runners did not come back")


@pytest.mark.slow
def test_runners_may_die() -> None:
    algorithm = ahead_config().env_runners(num_env_runners=2).build_algo()
    assert rounds_sampled(algorithm.train()) == 80
    actors = algorithm.env_runner_group._worker_manager.actors()
    ray.kill(actors[1], no_restart=False)
    assert rounds_sampled(algorithm.train()) >= 80  # the other one plays what it owes
    train_until_healthy(algorithm, 2)
    for actor in actors.values():
        ray.kill(actor, no_restart=False)
    algorithm.train()
    train_until_healthy(algorithm, 2)
    results = [algorithm.train() for _ in range(2)]
    assert rounds_sampled(results[-1]) >= 80
    first, second = weights(algorithm)
    assert equal(first, second)
    algorithm.stop()


@pytest.mark.slow
def test_learns_the_echo_game_from_scratch() -> None:
    config = small_config().training(lr=1e-2).imitation(bc_steps=0, value_only_iterations=0)
    config.env_runners(num_env_runners=1).sampling(batches_ahead=1)
    results = train(config, 15)
    best_possible = 0.6 * HORIZON
    assert results[0]["score"] < 0.6 * best_possible
    assert results[-1]["score"] > 0.9 * best_possible
