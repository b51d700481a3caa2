"""MACK: natural gradients for policy, baseline and discriminator, behind the same driver."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchCategorical
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_amagail import AMAGAIL, AMAGAILConfig
from rllib_amagail.kfac import KFAC
from rllib_amagail.learner.discriminator import discriminator_id
from rllib_amagail.learner.discriminator_update import update_discriminator
from rllib_amagail.learner.kfac_steps import label_generator
from rllib_amagail.learner.mack_generator import (
    policy_fisher_loss,
    policy_gradient_loss,
)
from rllib_amagail.learner.sharding import EpisodeShards
from tests.test_algorithm import learner_numbers, small_config, train
from tests.test_distributed import changed, weights
from tests.test_learner_parts import make_discriminator
from tests.toys import HORIZON

AGENTS = ("agent_1", "agent_2")


def mack_config(**env_config: Any) -> AMAGAILConfig:
    """The echo game of `small_config` by MACK."""
    return small_config(**env_config).imitation(generator="mack", discriminator_lr=0.1)


# --- configuration -------------------------------------------------------------------------------


def test_a_generator_brings_its_defaults_and_leaves_what_was_set() -> None:
    config = AMAGAILConfig().training(lr=0.2).imitation(generator="mack", gradient_penalty=0.5)
    assert (config.lr, config.gradient_penalty) == (0.2, 0.5)
    assert (config.discriminator_lr, config.num_envs_per_env_runner) == (0.1, 20)
    assert config.model_config["fcnet_hiddens"] == [64, 64]
    assert config.minibatch_size is None  # whole batches, of any size
    config.imitation(generator="ppo")
    assert config.minibatch_size == AMAGAILConfig().minibatch_size
    assert (config.lr, config.gradient_penalty) == (0.2, 0.5)
    assert config.discriminator_lr == AMAGAILConfig().discriminator_lr


def test_in_a_flat_dict_the_order_of_keys_does_not_matter() -> None:
    config = AMAGAILConfig().update_from_dict({"discriminator_steps": 4, "generator": "mack"})
    assert (config.discriminator_steps, config.lr) == (4, 0.3)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"generator": "trpo"}, "generator is 'trpo'; expected one of ppo, mack"),
        ({"critic": "central"}, "critic is 'central'; expected one of own, joint"),
        ({"kfac_kl_clip": 0.0}, "kfac_kl_clip is 0.0; expected > 0"),
        ({"kfac_damping": -1.0}, "kfac_damping is -1.0; expected >= 0"),
        ({"kfac_value_steps": 0}, "kfac_value_steps is 0; expected >= 1"),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_config().update_from_dict(setting).validate()


@pytest.mark.parametrize("setting", [{"generator": "mack"}, {"critic": "joint"}])
def test_shared_layers_of_policy_and_values_are_refused(setting: dict[str, Any]) -> None:
    config = small_config().imitation(**setting)
    config.rl_module(model_config={"fcnet_hiddens": [8], "vf_share_layers": True})
    with pytest.raises(ValueError, match="vf_share_layers=False"):
        config.validate()


# --- losses --------------------------------------------------------------------------------------


def test_policy_gradient_by_hand() -> None:
    # Two choices, logits 0: d log pi(0) / d logits = (1/2, -1/2), entropy is stationary.
    logits = torch.zeros(2, 2, requires_grad=True)
    batch = {
        Columns.ACTIONS: torch.tensor([0, 1]),
        Postprocessing.ADVANTAGES: torch.tensor([3.0, 1.0]),
    }
    loss = policy_gradient_loss(TorchCategorical(logits=logits), batch, entropy_coeff=0.1)
    # -(3 + 1) / 2 * log(1/2) - 0.1 * log 2
    assert loss.item() == pytest.approx(1.9 * np.log(2))
    loss.backward()
    np.testing.assert_allclose(logits.grad, [[-0.75, 0.75], [0.25, -0.25]])


def fisher(parameters: torch.Tensor, space: gym.Space) -> np.ndarray:
    """Mean of the outer products of the rows' gradients, ``[K, K]``."""
    parameters.requires_grad_()
    labels = label_generator(np.random.default_rng(0), parameters.device)
    policy_fisher_loss(parameters, space, labels).backward()
    rows = parameters.grad.numpy()
    return rows.T @ rows / len(rows)


def test_fisher_of_every_action_space() -> None:
    rows = 200_000
    two = gym.spaces.Discrete(2)
    # p = (1/4, 3/4): diag(p) - p p^T has 3/16 on the diagonal.
    logits = torch.tensor([[0.0, np.log(3.0)]], dtype=torch.float32).repeat(rows, 1)
    expected = 3 / 16 * np.array([[1, -1], [-1, 1]])
    np.testing.assert_allclose(fisher(logits, two), expected, atol=3e-3)
    # Two independent choices: blocks.
    both = fisher(logits.detach().repeat(1, 2), gym.spaces.MultiDiscrete([2, 2]))
    np.testing.assert_allclose(both, np.kron(np.eye(2), expected), atol=3e-3)
    # Deviation 2: 1/4 for the mean, 2 for the logarithm of the deviation.
    parameters = torch.tensor([[5.0, np.log(2.0)]], dtype=torch.float32).repeat(rows, 1)
    box = gym.spaces.Box(-1, 1, (1,), np.float32)
    np.testing.assert_allclose(fisher(parameters, box), [[0.25, 0], [0, 2]], atol=3e-2)


def test_the_discriminators_step_is_newtons_on_the_mean_over_all_rows() -> None:
    discriminator = make_discriminator(hiddens=())  # logit = w x + b, w and b are 0 at first
    with torch.no_grad():
        for parameter in discriminator.parameters():
            parameter.zero_()
    optimizer = KFAC(discriminator, lr=1.0, kl_clip=100.0, damping=0.0, momentum=0.0)
    expert, policy = np.random.default_rng(0).normal(size=(2, 20_000, 6)).astype(np.float32)
    update_discriminator(
        discriminator,
        optimizer,
        torch.from_numpy(expert + 0.1),
        torch.from_numpy(policy - 0.1),
        steps=1,
        batch_size=20_000,
        penalty_coeff=0.0,
        input_noise=0.0,
        group_lasso_coeff=0.0,
        rng=np.random.default_rng(0),
    )
    # Means +-.1, deviation 1: the gradient is -.1 / 2, F is E[x^2] / 4 = 1.01 / 4.
    weights = discriminator.input_weights.detach()
    np.testing.assert_allclose(weights, np.full((1, 6), 0.2 / 1.06), atol=0.05)


# --- training ------------------------------------------------------------------------------------

pytestmark = pytest.mark.usefixtures("ray_session")


def test_learns_the_echo_game_from_scratch() -> None:
    config = mack_config().imitation(bc_steps=0, value_only_iterations=0)
    config.kfac(kfac_kl_clip=3e-2)
    results = train(config, 15)
    best_possible = 0.6 * HORIZON
    assert results[0]["score"] < 0.6 * best_possible
    assert results[-1]["score"] > 0.9 * best_possible


@pytest.mark.parametrize("kind", ["masked", "multidiscrete", "box"])
def test_every_action_space_trains(kind: str) -> None:
    config = mack_config(kind=kind).imitation(value_only_iterations=0)
    learned = train(config, 2)[-1]["learners"]["agent_1"]
    for name in ("policy_loss", "vf_loss", "discriminator_loss", "kl", "kl_to_bc"):
        assert np.isfinite(learned[name]), name
    assert learned["kl"] > 0


def moved_from_the_clone(anchor: float) -> float:
    config = mack_config().imitation(
        bc_anchor=anchor, reward_source="zero", value_only_iterations=0
    )
    # Without reward, entropy alone pulls the policy away.
    config.training(entropy_coeff=0.5)
    return float(train(config, 6)[-1]["learners"]["agent_1"]["kl_to_bc"])


def test_the_anchor_holds_the_policy() -> None:
    # The KL costs 10 nats a nat, entropy pays half of one.
    assert moved_from_the_clone(10.0) < 0.2 * moved_from_the_clone(0.001)


def test_only_values_learn_at_first() -> None:
    algorithm = mack_config().imitation(value_only_iterations=1).build_algo()
    algorithm.clone_behaviour()
    before = weights(algorithm, 0)["agent_1"]
    algorithm.train()
    first = weights(algorithm, 0)["agent_1"]
    algorithm.train()
    second = weights(algorithm, 0)["agent_1"]
    algorithm.stop()
    for name in (n for n in before if not n.endswith("_const")):
        is_value = name.startswith(("vf", "encoder.critic_encoder"))
        assert np.array_equal(before[name], first[name]) == (not is_value), name
        assert not np.array_equal(first[name], second[name]), name


def test_learning_rates_follow_their_schedule() -> None:
    config = mack_config().training(lr=[[0, 0.4], [4 * 32 * HORIZON, 0.0]])
    results = train(config, 2)
    for name in ("policy", "value"):
        rates = [r["learners"]["agent_1"][f"{name}_learning_rate"] for r in results]
        # 256 rounds an iteration, 1,024 rounds to 0: a quarter of .4 each.
        assert rates == pytest.approx([0.3, 0.2])


def test_experts_need_no_demonstrations() -> None:
    config = mack_config().imitation(reward_source="environment", demonstrations=None)
    config.imitation(value_only_iterations=0).kfac(kfac_kl_clip=3e-2)
    assert train(config, 15)[-1]["score"] > 0.9 * 0.6 * HORIZON


def test_restoring_continues_with_equal_numbers(tmp_path: Path) -> None:
    config = mack_config().env_runners(batch_mode="complete_episodes")
    config.training(lr=[[0, 0.3], [2000, 1e-2]]).imitation(critic="joint")
    algorithm = config.build_algo()
    for _ in range(2):
        algorithm.train()
    algorithm.save_to_path(str(tmp_path / "checkpoint"))

    def numbers(algorithm: AMAGAIL) -> list[dict[str, float]]:
        result = algorithm.train()
        losses = [float(result["learners"][agent]["vf_loss"]) for agent in AGENTS]
        return [learner_numbers(result, agent) for agent in AGENTS] + [dict(enumerate(losses))]

    expected = [numbers(algorithm) for _ in range(2)]
    algorithm.stop()
    restored = AMAGAIL.from_checkpoint(str(tmp_path / "checkpoint"))
    found = [numbers(restored) for _ in range(2)]
    restored.stop()
    assert found == expected


def test_replicas_on_two_learners_stay_equal_and_share_their_statistics() -> None:
    config = mack_config().learners(num_learners=2, num_cpus_per_learner=1)
    algorithm = config.imitation(value_only_iterations=0, critic="joint").build_algo()
    episodes = algorithm.env_runner.sample(num_episodes=6)
    before = weights(algorithm, 0)
    for _ in range(2):
        algorithm.learner_group.update(training_data=EpisodeShards(episodes=episodes))
    first, second = weights(algorithm, 0), weights(algorithm, 1)
    for module_id in ("agent_1", "agent_2", discriminator_id("agent_1")):
        assert changed(before[module_id], first[module_id]), module_id
        assert not changed(first[module_id], second[module_id]), module_id
    sums = algorithm.learner_group.foreach_learner(
        lambda learner: [
            learner.get_optimizer("agent_1", name).state_dict()["kfac"]["sums"].numpy()
            for name in ("policy", "value")
        ]
    )
    ours, theirs = [result.get() for result in sums]
    algorithm.stop()
    for mine, yours in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, yours)


def test_all_three_networks_have_kfac() -> None:
    algorithm = mack_config().build_algo()
    learner = algorithm.learner_group._learner
    found = [learner.get_optimizer("agent_1", name) for name in ("policy", "value")]
    found.append(learner.get_optimizer(discriminator_id("agent_1")))
    algorithm.stop()
    assert [type(optimizer) for optimizer in found] == [KFAC] * 3
    assert [o.param_groups[0]["kl_clip"] for o in found] == [3e-3, 3e-3, 1e-3]


def test_the_cloning_term_alone_teaches_the_experts_actions() -> None:
    config = mack_config().imitation(bc_steps=0, reward_source="zero", value_only_iterations=0)
    config.imitation(bc_loss_coeff=1.0).kfac(kfac_kl_clip=3e-2)
    assert train(config, 15)[-1]["score"] > 0.9 * 0.6 * HORIZON
