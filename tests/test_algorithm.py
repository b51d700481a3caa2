"""AMAGAIL as a whole, on a game that is solved in seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rllib_amagail import AMAGAIL, AMAGAILConfig
from rllib_amagail.algorithm.export import export_learned
from rllib_amagail.learned_policy import load_policy
from tests.toys import HORIZON, echo_demonstrations, register_echo

pytestmark = pytest.mark.usefixtures("ray_session")


def small_config(**env_config: Any) -> AMAGAILConfig:
    """Settings for the echo game: tiny nets, 32 episodes an iteration."""
    register_echo()
    game = {k: env_config[k] for k in ("num_agents", "kind", "participation") if k in env_config}
    return (
        AMAGAILConfig()
        .environment("echo", env_config=env_config)
        .env_runners(num_envs_per_env_runner=16)
        .training(train_batch_size_per_learner=32 * HORIZON, minibatch_size=64, gamma=0.0)
        .rl_module(model_config={"fcnet_hiddens": [32], "fcnet_activation": "tanh"})
        .imitation(
            demonstrations=echo_demonstrations(**game),
            discriminator_hiddens=(32,),
            discriminator_batch_size=128,
            discriminator_lr=1e-2,
            bc_steps=20,
            bc_batch_size=64,
            value_only_iterations=1,
        )
        .debugging(seed=3, log_level="ERROR")
    )


def train(config: AMAGAILConfig, iterations: int) -> list[dict[str, Any]]:
    algorithm = config.build_algo()
    try:
        return [algorithm.train() for _ in range(iterations)]
    finally:
        algorithm.stop()


def learner_numbers(result: dict[str, Any], module_id: str = "agent_1") -> dict[str, float]:
    """The numbers of one module's update, without times and counters."""
    names = ("reward_mean", "reward_std", "total_loss", "kl", "entropy", "discriminator_loss")
    learned = result["learners"][module_id]
    return {name: float(learned[name]) for name in names if name in learned}


def test_learns_the_echo_game_from_scratch() -> None:
    config = small_config().training(lr=1e-2).imitation(bc_steps=0, value_only_iterations=0)
    results = train(config, 15)
    best_possible = 0.6 * HORIZON
    assert results[0]["score"] < 0.6 * best_possible
    assert results[-1]["score"] > 0.9 * best_possible


def test_behaviour_cloning_alone_learns_the_echo_game() -> None:
    config = small_config().imitation(bc_steps=300, bc_lr=1e-2)
    algorithm = config.build_algo()
    losses = algorithm.clone_behaviour()
    assert sorted(losses) == ["agent_1", "agent_2"]
    assert max(losses.values()) < 0.1  # nats; ln 3 = 1.1 before
    algorithm.stop()


def test_cloning_by_hand_is_not_repeated_by_training() -> None:
    by_hand, by_itself = small_config().build_algo(), small_config().build_algo()
    assert by_hand.clone_behaviour()
    assert by_hand.clone_behaviour() == {}
    numbers = [learner_numbers(algorithm.train()) for algorithm in (by_hand, by_itself)]
    assert numbers[0] == numbers[1]
    by_hand.stop()
    by_itself.stop()


def test_evaluation_runs_beside_training() -> None:
    config = small_config().evaluation(
        evaluation_interval=1, evaluation_duration=6, evaluation_num_env_runners=0
    )
    evaluated = train(config, 1)[0]["evaluation"]["env_runners"]
    assert evaluated["num_episodes"] >= 6
    assert 0 <= evaluated["episode_return_mean"] <= 2 * HORIZON


def test_results_show_true_rewards_and_diagnostics() -> None:
    result = train(small_config(), 1)[0]
    returns = result["env_runners"]["agent_episode_returns_mean"]
    assert result["score"] == pytest.approx(np.mean(list(returns.values())))
    learned = result["learners"]["agent_1"]
    for name in (
        "discriminator_loss",
        "accuracy_expert_rows",
        "accuracy_policy_rows",
        "logits_expert_rows",
        "logits_policy_rows",
        "reward_mean",
        "reward_std",
        "env_reward_mean",
        "phi_share",
        "kl",
        "kl_to_bc",
    ):
        assert np.isfinite(learned[name]), name
    assert learned["phi_share"] == pytest.approx(0.4, abs=0.1)


def test_the_score_is_there_before_any_episode_has_ended() -> None:
    config = small_config().training(train_batch_size_per_learner=16 * (HORIZON // 2))
    scores = [result["score"] for result in train(config, 6)]
    assert np.isnan(scores[0])
    known = np.isfinite(scores)
    assert known[-1]
    assert sorted(known) == list(known)  # once known, it stays


def test_discriminators_stay_on_the_learners() -> None:
    algorithm = small_config().build_algo()
    learner_modules = set(algorithm.learner_group._learner.module.keys())
    assert learner_modules == {f"agent_{i}{d}" for i in (1, 2) for d in ("", "_discriminator")}
    assert set(algorithm.env_runner.module.keys()) == {"agent_1", "agent_2"}
    sent = algorithm.learner_group.get_state(inference_only=True)["learner"]["rl_module"]
    assert not sent.get("agent_1_discriminator")
    assert not any(name.startswith("vf") for name in sent["agent_1"])
    algorithm.stop()


def test_synchronous_amagail_is_magail(recwarn: pytest.WarningsRecorder) -> None:
    """Corollary 2.1: with Y = 1 the filter and phi as an action give the same numbers."""
    filtered = train(small_config(participation=1.0), 3)
    for phi in ("chosen", "executed"):
        magail = train(small_config(participation=1.0).imitation(phi=phi), 3)
        for ours, theirs in zip(filtered, magail, strict=True):
            assert learner_numbers(ours) == learner_numbers(theirs)
            assert ours["score"] == theirs["score"]


def test_asynchronous_amagail_is_not_magail() -> None:
    ours = train(small_config(), 1)[0]
    theirs = train(small_config().imitation(phi="chosen"), 1)[0]
    assert learner_numbers(ours) != learner_numbers(theirs)


def test_one_agent_is_gail() -> None:
    config = small_config(num_agents=1, participation=1.0)
    config.training(lr=1e-2).imitation(bc_steps=0, value_only_iterations=0)
    results = train(config, 12)
    assert set(results[-1]["learners"]) == {"__all_modules__", "agent_1", "agent_1_discriminator"}
    assert results[-1]["score"] > 0.85 * HORIZON


@pytest.mark.parametrize("kind", ["masked", "multidiscrete", "box"])
def test_every_kind_of_space_trains(kind: str) -> None:
    config = small_config(kind=kind).training(lr=1e-2).imitation(bc_steps=200, bc_lr=1e-2)
    results = train(config, 2)
    # Two of three answers are left to a masked player who knows nothing.
    chance = {"masked": 1 / 2, "multidiscrete": 1 / 6, "box": 1 / 5}[kind]
    assert results[-1]["score"] > 1.3 * chance * 0.6 * HORIZON


@pytest.mark.parametrize("phi", ["chosen", "executed"])
def test_phi_as_an_action_trains_with_masks(phi: str) -> None:
    result = train(small_config(kind="masked").imitation(phi=phi), 1)[0]
    assert np.isfinite(list(learner_numbers(result).values())).all()


def test_one_policy_for_all_agents() -> None:
    config = small_config().multi_agent(
        policies={"shared"}, policy_mapping_fn=lambda agent, episode, **kw: "shared"
    )
    result = train(config, 1)[0]
    assert set(result["learners"]) == {"__all_modules__", "shared", "shared_discriminator"}
    turns = result["learners"]["shared"]["num_module_steps_trained"]
    assert turns == result["learners"]["__all_modules__"]["num_module_steps_trained"]


def test_true_reward_needs_no_demonstrations() -> None:
    config = small_config().imitation(demonstrations=None, reward_source="environment")
    config.training(lr=1e-2).imitation(value_only_iterations=0)
    results = train(config, 10)
    assert "agent_1_discriminator" not in results[-1]["learners"]
    assert results[-1]["score"] > 0.85 * 0.6 * HORIZON


def test_zero_reward_leaves_the_anchor_alone() -> None:
    config = small_config().imitation(reward_source="zero", bc_steps=300, bc_lr=1e-2)
    results = train(config, 3)
    assert results[-1]["score"] > 0.9 * 0.6 * HORIZON


def test_the_anchor_holds_the_policy_near_the_cloned_one() -> None:
    def divergence(anchor: float) -> float:
        config = small_config().training(lr=1e-2)
        config.imitation(bc_anchor=anchor, value_only_iterations=0)
        return float(train(config, 4)[-1]["learners"]["agent_1"].get("kl_to_bc", np.nan))

    loose, tight = divergence(1e-6), divergence(10.0)
    assert tight < 0.3 * loose


def test_only_the_named_policies_learn() -> None:
    config = small_config()
    config.multi_agent(
        policies={"agent_1", "agent_2"},
        policy_mapping_fn=lambda agent, episode, **kw: agent,
        policies_to_train=["agent_1"],
    )
    algorithm = config.build_algo()
    before = algorithm.learner_group.get_state()["learner"]["rl_module"]
    algorithm.train()
    after = algorithm.learner_group.get_state()["learner"]["rl_module"]

    def changed(module_id: str) -> bool:
        return any(
            not np.array_equal(before[module_id][k], after[module_id][k]) for k in before[module_id]
        )

    assert changed("agent_1")
    assert changed("agent_1_discriminator")
    assert not changed("agent_2")
    assert not changed("agent_2_discriminator")
    algorithm.stop()


def assert_learners_stay_equal(config: AMAGAILConfig) -> None:
    """Two learners have the same weights after two iterations."""
    algorithm: AMAGAIL = config.build_algo()
    for _ in range(2):
        algorithm.train()
    states = [
        result.get()
        for result in algorithm.learner_group.foreach_learner(
            lambda learner: learner.get_state(components="rl_module")["rl_module"]
        )
    ]
    algorithm.stop()
    first, second = states
    for module_id, weights in first.items():
        for name, array in weights.items():
            np.testing.assert_array_equal(array, second[module_id][name], err_msg=name)


@pytest.mark.parametrize("seed", [3, pytest.param(None, marks=pytest.mark.slow)])
def test_two_learners_stay_equal(seed: int | None) -> None:
    config = small_config().learners(num_learners=2, num_cpus_per_learner=1).debugging(seed=seed)
    config.training(train_batch_size_per_learner=16 * HORIZON)
    assert_learners_stay_equal(config)


@pytest.mark.parametrize("critic", ["own", "joint"])
def test_what_was_exported_plays_like_the_policy(critic: str, tmp_path: Path) -> None:
    config = small_config().imitation(critic=critic, bc_steps=300, bc_lr=1e-2)
    algorithm = config.rl_module(model_config={"fcnet_hiddens": [8]}).build_algo()
    algorithm.clone_behaviour()
    (path, *_) = export_learned(algorithm, tmp_path)
    algorithm.stop()
    assert load_policy(path)(np.eye(3), np.random.default_rng(0)).tolist() == [0, 1, 2]
    assert "others_size" not in json.loads(path.read_text())["model"]


@pytest.mark.parametrize("generator", ["ppo", "mack"])
@pytest.mark.parametrize(
    ("layer", "message"),
    [("vf", "value targets of module 'agent_2'"), ("anchor", "loss of module 'agent_2'")],
)
def test_what_is_not_finite_names_the_policy(generator: str, layer: str, message: str) -> None:
    config = small_config().imitation(generator=generator, value_only_iterations=0)
    algorithm = config.build_algo()
    algorithm.clone_behaviour()
    learner = algorithm.learner_group._learner
    module = learner.module["agent_2"].unwrapped()
    if layer == "anchor":  # spoils the loss alone
        module = learner._agents["agent_2"].anchor
    weight = (module.vf if layer == "vf" else module.pi).net.mlp[0].weight
    weight.data.fill_(np.nan)
    with pytest.raises(FloatingPointError, match=rf"{message}.*rewards have mean 0\.\d+"):
        algorithm.train()
    algorithm.stop()
