"""Agents that seldom, never or only sometimes act, and very many agents."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rllib_amagail import AMAGAIL, AMAGAILConfig
from tests.test_algorithm import small_config
from tests.test_distributed import changed, weights
from tests.uneven_toys import AGENTS, HORIZON, register_uneven, uneven_demonstrations

pytestmark = pytest.mark.usefixtures("ray_session")
SOMETIMES = ("rare", "never")


def uneven_config(generator: str = "ppo") -> AMAGAILConfig:
    """Eight episodes an iteration: the rare agent is in less than one of them."""
    register_uneven()
    return (
        AMAGAILConfig()
        .environment("uneven")
        .env_runners(num_envs_per_env_runner=8, batch_mode="complete_episodes")
        .imitation(generator=generator)
        .training(train_batch_size_per_learner=8 * HORIZON, minibatch_size=32, num_epochs=2)
        .rl_module(model_config={"fcnet_hiddens": [8]})
        .imitation(
            demonstrations=uneven_demonstrations(),
            discriminator_hiddens=(8,),
            discriminator_batch_size=32,
            bc_steps=3,
            value_only_iterations=0,
        )
        .debugging(seed=0, log_level="ERROR")
    )


def numbers_of(result: dict[str, Any], module_id: str) -> dict[str, float]:
    found = result["learners"].get(module_id, {})
    return {k: float(v) for k, v in found.items() if isinstance(v, int | float | np.number)}


def assert_trained_evenly(algorithm: AMAGAIL, iterations: int, learners: int) -> None:
    """What has rows is trained, replicas stay equal, nothing is NaN."""
    acted_in = dict.fromkeys(AGENTS, 0)
    for _ in range(iterations):
        before = weights(algorithm, 0)
        result = algorithm.train()
        after = [weights(algorithm, rank) for rank in range(learners)]
        for agent in AGENTS:
            rows = numbers_of(result, agent).get("num_module_steps_trained", 0)
            acts = np.isfinite(rows) and rows > 0
            acted_in[agent] += acts
            assert changed(before[agent], after[0][agent]) == acts or algorithm.iteration == 1
        for module_id, first in after[0].items():
            for name, array in first.items():
                assert np.isfinite(array).all(), (module_id, name)
                for other in after[1:]:
                    np.testing.assert_array_equal(other[module_id][name], array)
    for agent in set(AGENTS) - set(SOMETIMES):
        assert acted_in[agent] == iterations
    assert 0 < acted_in["rare"] < iterations
    assert acted_in["never"] == 0


@pytest.mark.parametrize("generator", ["ppo", "mack"])
def test_agents_that_act_unevenly(generator: str) -> None:
    algorithm = uneven_config(generator).build_algo()
    assert_trained_evenly(algorithm, 6, learners=1)
    algorithm.stop()


@pytest.mark.slow
@pytest.mark.parametrize("generator", ["ppo", "mack"])
def test_agents_that_act_unevenly_with_two_learners(generator: str) -> None:
    config = uneven_config(generator).learners(num_learners=2)
    config.training(train_batch_size_per_learner=4 * HORIZON)
    algorithm = config.build_algo()
    assert_trained_evenly(algorithm, 6, learners=2)
    algorithm.stop()


def test_copies_of_a_config_share_its_demonstrations() -> None:
    """RLlib makes one for every policy: a hundred copies of Z would not fit."""
    config = uneven_config()
    assert config.copy(copy_frozen=False).demonstrations is config.demonstrations


def test_a_hundred_agents_with_policies_of_their_own() -> None:
    config = small_config(num_agents=100, participation=0.2)
    config.env_runners(num_envs_per_env_runner=2).rl_module(model_config={"fcnet_hiddens": [4]})
    config.training(train_batch_size_per_learner=16, minibatch_size=None, num_epochs=1)
    config.imitation(bc_steps=1, discriminator_hiddens=(4,), discriminator_batch_size=16)
    algorithm = config.build_algo()
    before = weights(algorithm, 0)
    algorithm.train()
    result = algorithm.train()
    after = weights(algorithm, 0)
    trained = [agent for agent in before if changed(before[agent], after[agent])]
    assert len(trained) == 200  # a policy and a discriminator each
    for found in (numbers_of(result, f"agent_{i + 1}") for i in range(100)):
        if found["num_module_steps_trained"] > 0:  # else there is no loss this time: NaN
            assert np.isfinite(found["total_loss"])
    algorithm.stop()
