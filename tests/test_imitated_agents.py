"""Recordings of some agents: who is imitated, who is rewarded, and who is left as he was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rllib_amagail import (
    AMAGAILConfig,
    DemonstrationsError,
    LearnedPolicy,
    LearnedReward,
    MultiAgentBCConfig,
)
from rllib_amagail.algorithm.export import export_learned
from rllib_amagail.demonstrations.imitated import imitated
from rllib_amagail.judge import JOINT
from rllib_amagail.learner.joint_rows import JointRows, JointStructure
from rllib_amagail.learner.joint_view import JointView
from tests.test_algorithm import (
    assert_learners_stay_equal,
    learner_numbers,
    small_config,
    train,
)
from tests.test_joint_critic import turns_of
from tests.toys import HORIZON, echo_demonstrations

ALONE = ["agent_1"]
SEEN = gym.spaces.Box(0.0, np.inf, (1,), np.float32)
SPACES = {"a": (SEEN, gym.spaces.Discrete(2)), "b": (SEEN, gym.spaces.Discrete(2))}


def one_side(**settings: Any) -> AMAGAILConfig:
    """Zero-sum on the echo game, with agent_1's experts."""
    config = small_config().env_runners(batch_mode="complete_episodes").roles(imitated_agents=ALONE)
    return config.imitation(
        **{
            "discriminator_structure": "zero_sum",
            "reward_form": "airl",
            "bc_steps": 0,
            "value_only_iterations": 0,
            "normalise_rewards": False,
            **settings,
        }
    )


def only_agent_1_learns(config: AMAGAILConfig) -> AMAGAILConfig:
    config.multi_agent(
        policies={"agent_1", "agent_2"},
        policy_mapping_fn=lambda agent, episode, **kw: agent,
        policies_to_train=ALONE,
    )
    return config


# --- rows -----------------------------------------------------------------------------------------


def test_the_rows_of_some_agents_are_kept() -> None:
    whole = echo_demonstrations(episodes=5)
    kept = imitated(whole, ALONE)
    assert kept.agents == ("agent_1",)
    assert kept.num_episodes == 5
    np.testing.assert_array_equal(
        kept.records["agent_1"].observation, whole.records["agent_1"].observation
    )
    assert imitated(whole, None) is whole
    assert imitated(whole, ["agent_2", "agent_1"]) is whole


def test_episodes_without_a_row_of_them_are_left_out() -> None:
    whole = echo_demonstrations(episodes=4).subsample(1, np.random.default_rng(0))
    record = whole.records["agent_1"]
    without = type(record)("agent_1", **record.columns(np.isin(record.episode, [1, 3])))
    sparse = type(whole)(
        whole.agents,
        {**whole.records, "agent_1": without},
        whole.observation_spaces,
        whole.action_spaces,
    )
    kept = imitated(sparse, ALONE)
    assert kept.num_episodes == 2
    assert kept.records["agent_1"].episode.tolist() == (without.episode // 2).tolist()


def test_who_was_not_recorded_cannot_be_imitated() -> None:
    recorded = imitated(echo_demonstrations(episodes=2), ALONE)
    with pytest.raises(DemonstrationsError, match=r"\['agent_1'\], expected of \['agent_2'\], too"):
        imitated(recorded, ["agent_1", "agent_2"])


def test_joint_rows_are_of_imitated_agents_and_credited_to_all() -> None:
    view = JointView.from_spaces({"a": "a"}, SPACES)
    structure = JointStructure(view, {"a": 0, "b": 1}, "filtered")
    # a acts in rounds 0 and 2, b in 1 and 2; who sees round t sees t + 1.
    turns = {
        "a": turns_of([("a", "g", [0, 2], 3)], actions=[0, 1]),
        "b": turns_of([("b", "g", [1, 2], 3)], actions=[1, 0]),
    }
    rows = JointRows.of_turns(structure, turns)
    # Participates, what it last saw, action 0, action 1; b is not in them, nor its round 1.
    assert rows.inputs.tolist() == [[1, 1, 1, 0], [1, 3, 0, 1]]
    earned = rows.credit(structure, turns, np.array([1.0, 10.0]), {"a": 0.5, "b": 0.5})
    assert earned["a"].tolist() == [1, 10]
    assert earned["b"].tolist() == [0, -10]  # round 0 came before its first turn


# --- training -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ray_session")
def test_the_other_side_pays_what_the_imitated_one_earns(tmp_path: Path) -> None:
    config = one_side().environment(env_config={"participation": 1.0})
    algorithm = config.imitation(demonstrations=echo_demonstrations(participation=1.0)).build_algo()
    learned = algorithm.train()["learners"]
    assert learned["agent_2"]["reward_mean"] == pytest.approx(-learned["agent_1"]["reward_mean"])
    assert learned["agent_1"]["reward_std"] > 0
    export_learned(algorithm, tmp_path)
    algorithm.stop()
    joint = LearnedReward.load_joint(tmp_path).provenance[JOINT]["joint_rows"]
    assert joint["columns"] == {"agent_1": [0, 7]}
    assert joint["sides"] == {"agent_1": 0, "agent_2": 1}
    assert LearnedPolicy.load(tmp_path).network("agent_2") is not None


@pytest.mark.usefixtures("ray_session")
def test_a_recording_of_one_side_is_as_good_as_one_of_both(tmp_path: Path) -> None:
    both, alone = echo_demonstrations(), tmp_path / "alone.parquet"
    imitated(both, ALONE).save(alone)
    results = [train(one_side(demonstrations=each), 1)[0] for each in (both, alone)]
    for module in ("agent_1", "agent_2"):
        first, second = (learner_numbers(result, module) for result in results)
        assert first == second


@pytest.mark.usefixtures("ray_session")
def test_a_batch_without_the_imitated_agent_teaches_nothing() -> None:
    algorithm = one_side().build_algo()
    episodes = algorithm.env_runner.sample(num_episodes=2)
    algorithm.env_runner.get_metrics()
    learner = algorithm.learner_group._learner
    turns = learner._collect_turns(episodes)
    judged = learner._judge_jointly({"agent_2": turns["agent_2"]})
    assert judged["agent_2"].learned_rewards.tolist() == [0.0] * len(turns["agent_2"])
    algorithm.stop()


@pytest.mark.usefixtures("ray_session")
def test_only_imitated_agents_are_cloned() -> None:
    algorithm = one_side(bc_steps=5, bc_loss_coeff=0.1, bc_anchor=0.5).build_algo()
    assert set(algorithm.clone_behaviour()) == {"agent_1"}
    algorithm.train()
    agents = algorithm.learner_group._learner._agents
    assert agents["agent_1"].anchor is not None
    assert agents["agent_2"].anchor is None
    algorithm.stop()


@pytest.mark.usefixtures("ray_session")
def test_decentralised_the_others_stay_as_they_are() -> None:
    config = only_agent_1_learns(one_side(discriminator_structure="decentralised"))
    algorithm = config.build_algo()
    before = algorithm.learner_group.get_state()["learner"]["rl_module"]
    assert set(before) == {"agent_1", "agent_1_discriminator", "agent_2"}
    algorithm.train()
    after = algorithm.learner_group.get_state()["learner"]["rl_module"]
    algorithm.stop()
    moved = {m for m in before for k in before[m] if not np.array_equal(before[m][k], after[m][k])}
    assert moved == {"agent_1", "agent_1_discriminator"}


@pytest.mark.usefixtures("ray_session")
def test_recordings_of_some_agents_are_cloned() -> None:
    config = only_agent_1_learns(MultiAgentBCConfig().environment("echo"))
    config.training(train_batch_size_per_learner=4 * HORIZON)
    recorded = imitated(echo_demonstrations(), ALONE)
    config.imitation(demonstrations=recorded, bc_steps=2).roles(imitated_agents=ALONE)
    result = train(config, 1)[0]["learners"]
    assert "negative_log_likelihood" in result["agent_1"]
    assert "negative_log_likelihood" not in result.get("agent_2", {})


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_two_learners_stay_equal() -> None:
    config = one_side().learners(num_learners=2, num_cpus_per_learner=1)
    assert_learners_stay_equal(config.training(train_batch_size_per_learner=16 * HORIZON))


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_parts_of_one_side_are_streamed(tmp_path: Path) -> None:
    whole = imitated(echo_demonstrations(episodes=12), ALONE)
    for part in range(6):
        whole.select([2 * part, 2 * part + 1]).save(tmp_path / f"part-{part:05}.parquet")
    config = one_side(demonstrations=tmp_path).streaming(demonstrations_memory=5000)
    assert np.isfinite(train(config, 2)[-1]["learners"]["agent_2"]["reward_mean"])


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("found", ["agent_1", [], ["agent_3"]])
def test_imitated_agents_are_some_of_the_games(found: Any) -> None:
    with pytest.raises(ValueError, match="list of some of the agents agent_1, agent_2"):
        one_side().roles(imitated_agents=found).validate()


def test_a_policy_with_nothing_to_learn_from_is_refused() -> None:
    config = one_side(discriminator_structure="decentralised")
    with pytest.raises(ValueError, match=r"so policies agent_2 have nobody to learn from"):
        config.validate()
    only_agent_1_learns(config).validate()


@pytest.mark.usefixtures("ray_session")
def test_all_of_a_side_earn_alike() -> None:
    config = one_side(demonstrations=echo_demonstrations(num_agents=3, participation=1.0))
    config.environment(env_config={"num_agents": 3, "participation": 1.0})
    config.roles(
        imitated_agents=["agent_1", "agent_3"], sides=[["agent_3", "agent_1"], ["agent_2"]]
    )
    learned = train(config, 1)[0]["learners"]
    earned = {f"agent_{i}": learned[f"agent_{i}"]["reward_mean"] for i in (1, 2, 3)}
    assert earned["agent_1"] == earned["agent_3"] == pytest.approx(-earned["agent_2"])
    assert earned["agent_2"] != 0
