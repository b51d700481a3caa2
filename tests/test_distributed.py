"""Several runners and learners: what is missing on one of them stops nobody."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import ray

from rllib_amagail import AMAGAIL, AMAGAILConfig
from rllib_amagail.learner.sharding import EpisodeShards
from tests.test_algorithm import small_config

pytestmark = pytest.mark.usefixtures("ray_session")


def weights(algorithm: AMAGAIL, learner: int) -> dict[str, dict[str, np.ndarray]]:
    """The modules of one learner process."""
    states = algorithm.learner_group.foreach_learner(
        lambda learner: learner.get_state(components="rl_module")["rl_module"]
    )
    return [result.get() for result in states][learner]


def changed(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> bool:
    return any(not np.array_equal(before[name], after[name]) for name in before)


def test_a_learner_without_an_agents_turns_takes_part_in_training_it() -> None:
    config = small_config().learners(num_learners=2, num_cpus_per_learner=1)
    config.imitation(value_only_iterations=0)
    algorithm = config.build_algo()
    episodes = algorithm.env_runner.sample(num_episodes=4)
    for episode in episodes[1:]:  # one of the learners never meets agent_2
        del episode.agent_episodes["agent_2"]
    before = weights(algorithm, 0)
    algorithm.learner_group.update(training_data=EpisodeShards(episodes=episodes))
    first, second = weights(algorithm, 0), weights(algorithm, 1)
    assert changed(before["agent_1"], first["agent_1"])
    assert changed(before["agent_2"], first["agent_2"])
    for module_id in first:
        assert not changed(first[module_id], second[module_id]), module_id
    algorithm.stop()


def game_config() -> AMAGAILConfig:
    return (
        AMAGAILConfig()
        .environment("stochastic_cooperative_navigation", env_config={"horizon": 5})
        .env_runners(num_env_runners=2, num_envs_per_env_runner=4)
        .training(train_batch_size_per_learner=80, minibatch_size=None, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": [8]})
        .imitation(reward_source="environment")
        .fault_tolerance(restart_failed_env_runners=True, delay_between_env_runner_restarts_s=0.1)
        .debugging(seed=0, log_level="ERROR")
    )


def rounds_sampled(result: dict[str, Any]) -> int:
    return int(result["env_runners"]["num_env_steps_sampled"])


@pytest.mark.slow
def test_training_survives_a_killed_runner() -> None:
    algorithm = game_config().build_algo()
    assert rounds_sampled(algorithm.train()) >= 80
    group = algorithm.env_runner_group
    ray.kill(group._worker_manager.actors()[1], no_restart=False)
    while group.num_remote_worker_restarts() == 0:
        assert rounds_sampled(algorithm.train()) >= 80
    assert group.num_healthy_remote_workers() == 2
    streams = group.foreach_env_runner(
        lambda runner: runner.module["agent_1"].get_state(), local_env_runner=False
    )
    learned = algorithm.learner_group._learner.module["agent_1"].get_state()
    for runner_weights in streams:
        for name, array in runner_weights.items():
            np.testing.assert_array_equal(array, learned[name])
    algorithm.stop()


def test_remote_runners_play_different_episodes() -> None:
    algorithm = game_config().build_algo()
    first = algorithm.env_runner_group.foreach_env_runner(
        lambda runner: runner.sample()[0].get_observations()[0], local_env_runner=False
    )
    algorithm.stop()
    assert len(first) == 2
    assert not np.allclose(first[0], first[1])
