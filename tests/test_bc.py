"""Multi-agent behaviour cloning: by itself, without an environment, and beside one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule

from rllib_amagail import AMAGAIL, Demonstrations, MultiAgentBC, MultiAgentBCConfig
from rllib_amagail.algorithm.policies import policies_of
from tests.test_algorithm import small_config
from tests.toys import HORIZON, echo_demonstrations, register_echo

pytestmark = pytest.mark.usefixtures("ray_session")

Weights = dict[str, dict[str, np.ndarray]]


def bc_config(demonstrations: Demonstrations | None = None, **imitation: Any) -> MultiAgentBCConfig:
    """Settings that fit the echo game's experts in an iteration of 100 steps."""
    return (
        MultiAgentBCConfig()
        .imitation(
            demonstrations=demonstrations or echo_demonstrations(), bc_batch_size=64, **imitation
        )
        .training(lr=1e-2)
        .rl_module(model_config={"fcnet_hiddens": [32], "fcnet_activation": "tanh"})
        .debugging(seed=3, log_level="ERROR")
    )


def train(config: Any, iterations: int = 1) -> tuple[list[dict[str, Any]], Weights]:
    algorithm = config.build_algo()
    try:
        return [algorithm.train() for _ in range(iterations)], weights(algorithm)
    finally:
        algorithm.stop()


def weights(algorithm: AMAGAIL) -> Weights:
    return algorithm.learner_group.get_state()["learner"]["rl_module"]


def assert_equal(found: Weights, expected: Weights) -> None:
    assert found.keys() == expected.keys()
    for module_id, module in expected.items():
        for name, array in module.items():
            np.testing.assert_array_equal(found[module_id][name], array, f"{module_id} {name}")


def every_second_round(episodes: int = 4, first_seen: int = 0) -> Demonstrations:
    """One agent sees the episode's number and, in every second round, plays action 1 of 3."""
    acts = np.tile([[True], [False]], (episodes, 3, 1))
    numbers = first_seen + np.arange(episodes, dtype=np.float32)
    return Demonstrations.from_rounds(
        ("a",),
        {"a": gym.spaces.Box(-99, 99, (1,))},
        {"a": gym.spaces.Discrete(3)},
        observations={"a": np.repeat(numbers[:, None, None], 6, axis=1)},
        participation=acts,
        actions={"a": np.ones((episodes, 6), np.int64)},
    )


# --- without an environment ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["discrete", "masked", "multidiscrete", "box"])
def test_it_learns_from_demonstrations_alone(kind: str) -> None:
    (*_, result), _ = train(bc_config(echo_demonstrations(kind=kind)), 3)
    assert sorted(result["learners"]) == ["__all_modules__", "agent_1", "agent_2"]
    assert "score" not in result
    fits = [result["learners"][agent] for agent in ("agent_1", "agent_2")]
    mean = np.mean([fit["negative_log_likelihood"] for fit in fits])
    assert result["log_likelihood"] == pytest.approx(-mean)
    if kind == "box":  # a density: the unit Gaussian of the start has at least ln(2 pi) = 1.8
        assert mean < 1.0
        assert "accuracy" not in fits[0]
    else:
        assert [fit["accuracy"] for fit in fits] == [1.0, 1.0]
        assert mean < 0.05


def test_phi_filtered_and_phi_as_an_action_are_different_problems() -> None:
    demonstrations = every_second_round()
    (*_, result), filtered = train(bc_config(demonstrations), 2)
    assert result["learners"]["a"]["negative_log_likelihood"] == pytest.approx(0, abs=0.01)
    assert result["learners"]["a"]["accuracy"] == 1
    (*_, result), chosen = train(bc_config(demonstrations, phi="chosen"), 4)
    # Half of the rows are phi, whatever was seen: nobody can tell better than by a coin.
    assert result["learners"]["a"]["negative_log_likelihood"] == pytest.approx(
        math.log(2), abs=0.02
    )
    assert result["learners"]["a"]["accuracy"] == 0.5
    sizes = [len(module["a"]["pi.net.mlp.0.bias"]) for module in (filtered, chosen)]
    assert sizes == [3, 3 + 1]


def test_a_mask_gets_an_entry_for_phi() -> None:
    config = bc_config(echo_demonstrations(kind="masked"), phi="executed")
    (result,), _ = train(config)
    assert np.isfinite(result["log_likelihood"])


def test_nobody_can_play_without_an_environment() -> None:
    config = bc_config().evaluation(evaluation_interval=1)
    with pytest.raises(RuntimeError, match="without an environment; name one to play"):
        train(config)


def test_an_evaluation_may_have_an_environment_of_its_own() -> None:
    register_echo()
    config = bc_config().evaluation(
        evaluation_interval=1,
        evaluation_duration=4,
        evaluation_config={"env": "echo", "env_config": {"participation": 1.0}, "explore": False},
    )
    (result,), _ = train(config)
    assert result["evaluation"]["env_runners"]["episode_return_mean"] == 2 * HORIZON


def test_policies_can_be_taken_out_without_an_environment() -> None:
    algorithm = bc_config().build_algo()
    algorithm.train()
    rng = np.random.default_rng(0)
    played = policies_of(algorithm)["agent_2"](np.eye(3, dtype=np.float32), rng)
    algorithm.stop()
    assert played.tolist() == [0, 1, 2]


# --- with an environment -------------------------------------------------------------------------


def test_an_environment_adds_the_score_and_changes_nothing_else() -> None:
    register_echo()
    (alone,), expected = train(bc_config())
    beside = bc_config().environment("echo", env_config={"participation": 1.0})
    beside.env_runners(num_envs_per_env_runner=4).training(train_batch_size_per_learner=4 * HORIZON)
    (result,), found = train(beside)
    assert result["score"] > 0.9 * HORIZON
    assert result["num_env_steps_sampled_lifetime"] == 4 * HORIZON
    assert result["log_likelihood"] == alone["log_likelihood"]
    assert_equal(found, expected)


def test_it_takes_the_steps_of_amagails_start() -> None:
    register_echo()
    config = small_config().imitation(reward_source="zero", bc_steps=40, bc_lr=1e-2)
    amagail = config.build_algo()
    amagail.clone_behaviour()
    expected = weights(amagail)
    amagail.stop()
    beside = bc_config(bc_steps=20).environment("echo")
    beside.training(train_batch_size_per_learner=HORIZON)
    assert_equal(train(beside, 2)[1], expected)  # 2 x 20 steps


def test_amagail_can_start_from_its_checkpoint(tmp_path: Path) -> None:
    cloned = bc_config().build_algo()
    cloned.train()
    path = cloned.save_to_path(str(tmp_path / "cloned"))
    amagail = small_config().build_algo()
    modules = "learner_group/learner/rl_module"
    amagail.restore_from_path(f"{path}/{modules}", component=modules)
    found = weights(amagail)
    assert_equal({agent: found[agent] for agent in ("agent_1", "agent_2")}, weights(cloned))
    cloned.stop()
    amagail.stop()


# --- settings ------------------------------------------------------------------------------------


def test_episodes_can_be_held_out() -> None:
    config = bc_config(every_second_round(10), validation_share=0.3)

    def seen(demonstrations: Demonstrations | None) -> set[float]:
        assert demonstrations is not None
        return set(demonstrations.records["a"].observation[:, 0].tolist())

    cloned = seen(config.load_demonstrations())
    held_out = seen(config.load_validation_demonstrations())
    assert (len(cloned), len(held_out)) == (7, 3)
    assert cloned | held_out == set(range(10))
    (result,), _ = train(config)
    fit = result["learners"]["a"]
    assert fit["validation_accuracy"] == 1
    assert result["log_likelihood"] == -fit["validation_negative_log_likelihood"]


def test_a_schedule_counts_gradient_steps() -> None:
    config = bc_config(bc_steps=5).training(lr=[[0, 0.1], [10, 0.2]])
    results, _ = train(config, 3)
    rates = [r["learners"]["agent_1"]["default_optimizer_learning_rate"] for r in results]
    assert rates == pytest.approx([0.15, 0.2, 0.2])  # after 5, 10 and 15 steps
    rows = [r["learners"]["agent_1"]["num_module_steps_trained_lifetime"] for r in results]
    assert rows == [5 * 64, 10 * 64, 15 * 64]


def test_weight_decay_pulls_to_zero() -> None:
    _, before = train(bc_config(bc_steps=1).training(lr=0.0))
    # 1 - lr * weight_decay = 0: what stays is Adam's first step, which is lr long.
    _, after = train(bc_config(bc_steps=1, weight_decay=100.0))
    for name, array in after["agent_1"].items():
        if name.startswith("vf") or "critic" in name or "const" in name:
            np.testing.assert_array_equal(array, before["agent_1"][name])
        else:
            assert np.abs(array).max() <= 0.01 + 1e-6, name


def test_only_the_named_policies_learn() -> None:
    agents = {"agent_1", "agent_2"}
    config = bc_config().multi_agent(
        policies=agents,
        policy_mapping_fn=lambda agent, episode, **kw: agent,
        policies_to_train=["agent_1"],
    )
    (result,), after = train(config)
    _, before = train(bc_config(bc_steps=1).training(lr=0.0))
    assert "accuracy" not in result["learners"].get("agent_2", {})
    assert_equal({"agent_2": after["agent_2"]}, {"agent_2": before["agent_2"]})
    assert not np.array_equal(
        after["agent_1"]["pi.net.mlp.0.bias"], before["agent_1"]["pi.net.mlp.0.bias"]
    )


def test_agents_may_share_a_policy() -> None:
    config = bc_config().multi_agent(
        policies={"shared"}, policy_mapping_fn=lambda agent, episode, **kw: "shared"
    )
    (result,), _ = train(config)
    assert result["learners"]["shared"]["accuracy"] == 1


class LinearPolicy(TorchRLModule):
    """Logits linear in the observation, without a value function."""

    def setup(self) -> None:
        self._logits = torch.nn.Linear(self.observation_space.shape[0], self.action_space.n)

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {Columns.ACTION_DIST_INPUTS: self._logits(batch[Columns.OBS])}


def test_any_module_of_the_users_can_be_cloned() -> None:
    config = bc_config().rl_module(rl_module_spec=RLModuleSpec(module_class=LinearPolicy))
    results, found = train(config, 2)
    assert results[-1]["learners"]["agent_1"]["accuracy"] == 1
    assert set(found["agent_1"]) == {"_logits.weight", "_logits.bias"}


def test_restoring_continues_with_equal_numbers(tmp_path: Path) -> None:
    algorithm = bc_config(bc_steps=10).training(lr=[[0, 1e-2], [40, 1e-3]]).build_algo()
    algorithm.train()
    algorithm.save_to_path(str(tmp_path / "checkpoint"))
    expected = [algorithm.train()["log_likelihood"] for _ in range(2)]
    final = weights(algorithm)
    algorithm.stop()
    restored = MultiAgentBC.from_checkpoint(str(tmp_path / "checkpoint"))
    assert [restored.train()["log_likelihood"] for _ in range(2)] == expected
    assert_equal(weights(restored), final)
    restored.stop()


@pytest.mark.slow
def test_two_learners_do_what_one_does() -> None:
    _, expected = train(bc_config(bc_steps=10))
    config = bc_config(bc_steps=10).learners(num_learners=2, num_cpus_per_learner=1)
    algorithm = config.build_algo()
    algorithm.train()
    states = algorithm.learner_group.foreach_learner(
        lambda learner: learner.get_state(components="rl_module")["rl_module"]
    )
    for state in states:
        assert_equal(state.get(), expected)
    algorithm.stop()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"reward_source": "environment"}, "reward_source is 'environment'; expected 'zero'"),
        ({"generator": "mack"}, "generator is 'mack'; expected 'ppo'"),
        ({"critic": "joint"}, "critic is 'joint'; expected 'own'"),
        ({"bc_anchor": 1.0}, "bc_anchor is 1.0; expected 0.0: it has no effect"),
        ({"bc_loss_coeff": 0.1}, "bc_loss_coeff is 0.1; expected 0.0"),
        ({"value_only_iterations": 2}, "value_only_iterations is 2"),
        ({"normalise_rewards": False}, "normalise_rewards is False"),
        ({"discriminator_steps": 9}, "discriminator_steps is 9"),
        ({"bc_lr": 0.5}, "set lr, the step size of MultiAgentBC"),
        ({"bc_steps": 0}, "expected >= 1 gradient steps"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0; expected >= 0"),
        ({"validation_share": 1.0}, "expected 0 <= share < 1"),
        ({"validation_share": 0.9, "num_demonstrations": 1}, "leaves none to clone"),
        ({"demonstrations": None}, "neither an environment nor demonstrations"),
    ],
)
def test_settings_that_cannot_work_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bc_config().imitation(**setting).validate()


def test_settings_of_kfac_are_refused() -> None:
    with pytest.raises(ValueError, match=r"kfac_damping is 1\.0; expected 0\.01"):
        bc_config().kfac(kfac_damping=1.0).validate()


def test_phi_extends_only_discrete_actions() -> None:
    with pytest.raises(ValueError, match=r"'agent_1' has action space Box.*expected Discrete"):
        bc_config(echo_demonstrations(kind="box"), phi="chosen").validate()
