"""One discriminator for all agents, or for two sides: its rows and rewards, checked by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from rllib_amagail import (
    AMAGAIL,
    AMAGAILConfig,
    DemonstrationsError,
    LearnedFileError,
    LearnedReward,
)
from rllib_amagail.algorithm.export import export_learned
from rllib_amagail.judge import JOINT
from rllib_amagail.learner.discriminator import INPUTS
from rllib_amagail.learner.joint_rows import JointRows, JointStructure
from rllib_amagail.learner.joint_view import JointView
from rllib_amagail.learner.row_sorter import RowSorter
from rllib_amagail.learner.scarce_rows import share_rows
from rllib_amagail.learner.turns import TurnBatch
from rllib_amagail.past_turns import History
from rllib_amagail.recorded_episodes import RecordedGame
from rllib_amagail.recording import episodes_to_demonstrations
from tests.test_algorithm import learner_numbers, small_config, train
from tests.test_joint_critic import turns_of
from tests.toys import CHOICES, echo_demonstrations

SEEN = gym.spaces.Box(0.0, np.inf, (1,), np.float32)
SPACES = {"a": (SEEN, gym.spaces.Discrete(2)), "b": (SEEN, gym.spaces.Discrete(2))}
MODULES = {"a": "a", "b": "b"}
CENTRALISED = JointStructure(JointView.from_spaces(MODULES, SPACES), {"a": 0, "b": 0}, "filtered")
ZERO_SUM = replace(CENTRALISED, sides={"a": 0, "b": 1})
# a acts in rounds 0 and 2, b in 1 and 2; who sees round t sees t + 1; the game ends after round 2.
A_AND_B = {
    "a": turns_of([("a", "g", [0, 2], 3)], actions=[0, 1]),
    "b": turns_of([("b", "g", [1, 2], 3)], actions=[1, 0]),
}


def two_agents(structure: str = "centralised", **settings: Any) -> AMAGAILConfig:
    config = small_config().env_runners(batch_mode="complete_episodes")
    form = {} if structure == "centralised" else {"reward_form": "airl"}
    return config.imitation(**{"discriminator_structure": structure, **form, **settings})


# --- rows -----------------------------------------------------------------------------------------


def test_a_joint_row_is_what_all_agents_know_in_a_round() -> None:
    rows = JointRows.of_turns(CENTRALISED, A_AND_B)
    # Of a, then of b: participates, what it last saw, action 0, action 1.
    assert rows.inputs.tolist() == [
        [1, 1, 1, 0, 0, 0, 0, 0],  # b has seen nothing yet
        [0, 1, 0, 0, 1, 2, 0, 1],  # a does phi
        [1, 3, 0, 1, 1, 3, 1, 0],
    ]
    assert CENTRALISED.columns == {"a": (0, 4), "b": (4, 8)}


def test_with_two_sides_a_round_of_both_is_two_rows() -> None:
    rows = JointRows.of_turns(ZERO_SUM, A_AND_B)
    assert rows.sides.tolist() == [0, 1, 0, 1]
    assert rows.inputs[2:].tolist() == [
        [1, 3, 0, 1, 0, 3, 0, 0],  # a's: b has seen the round, but what it does is masked
        [0, 3, 0, 0, 1, 3, 1, 0],  # b's
    ]


def test_from_observation_alone_actions_are_no_inputs() -> None:
    view = JointView.from_spaces(MODULES, SPACES, "state")
    rows = JointRows.of_turns(replace(CENTRALISED, view=view), A_AND_B)
    assert rows.inputs.tolist() == [[1, 1, 0, 0], [0, 1, 1, 2], [1, 3, 1, 3]]


def test_games_do_not_mix_and_come_in_the_order_of_the_batch() -> None:
    turns = {
        "a": turns_of([("a", "second", [0], 2), ("a", "first", [0, 1], 2)]),
        "b": turns_of([("b", "first", [1], 2), ("b", "second", [1], 2)]),
    }
    rows = JointRows.of_turns(CENTRALISED, turns)
    last_seen_of_a, last_seen_of_b = rows.inputs[:, 1], rows.inputs[:, 5]
    assert last_seen_of_a.tolist() == [1, 1, 1, 2]  # rounds 0 and 1 of either game
    assert last_seen_of_b.tolist() == [0, 2, 0, 2]
    earned = rows.credit(CENTRALISED, turns, np.array([1.0, 2, 4, 8]), {"a": 0.5, "b": 0.5})
    assert earned["a"].tolist() == [1 + 2 / 2, 4, 8]
    assert earned["b"].tolist() == [8, 2]


def test_no_turns_are_no_rows() -> None:
    rows = JointRows.of_turns(CENTRALISED, {})
    assert rows.inputs.shape == (0, 8)
    assert rows.credit(CENTRALISED, {}, np.zeros(0), {}) == {}


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("kind", ["masked", pytest.param("box", marks=pytest.mark.slow)])
def test_an_episode_gives_the_same_rows_from_a_recording_and_a_rollout(kind: str) -> None:
    config = two_agents(demonstrations=echo_demonstrations(kind=kind))
    algorithm = config.environment(env_config={"kind": kind}).build_algo()
    env = algorithm.env_runner.env.envs[0].unwrapped
    episodes = algorithm.env_runner.sample(num_episodes=5)
    algorithm.env_runner.get_metrics()
    learner = algorithm.learner_group._learner
    turns = learner._collect_turns(episodes)
    recorded = episodes_to_demonstrations(RecordedGame.of(env, algorithm.config, {}), episodes)
    spaces = {m: (learner.module[m].observation_space, env.action_spaces[m]) for m in turns}
    for judged in ("state_action", "state"):
        view = JointView.from_spaces({m: m for m in turns}, spaces, judged)
        for sides in ({"agent_1": 0, "agent_2": 0}, {"agent_1": 0, "agent_2": 1}):
            structure = JointStructure(view, sides, "filtered")
            actions = dict(env.action_spaces)
            expert = JointRows.of_demonstrations(structure, recorded, actions)
            played = JointRows.of_turns(structure, turns)
            np.testing.assert_array_equal(expert.inputs, played.inputs)
            assert len(played) > 5
    algorithm.stop()


def echo_structure(phi: str = "filtered") -> JointStructure:
    seen = gym.spaces.Box(0.0, 1.0, (CHOICES,), np.float32)
    choices = CHOICES + (phi != "filtered")
    spaces = {f"agent_{i}": (seen, gym.spaces.Discrete(choices)) for i in (1, 2)}
    view = JointView.from_spaces({agent: agent for agent in spaces}, spaces)
    return JointStructure(view, dict.fromkeys(spaces, 0), phi)  # type: ignore[arg-type]


def test_expert_rows_of_parts_join_to_those_of_the_whole() -> None:
    whole, structure = echo_demonstrations(episodes=6), echo_structure()
    spaces = {
        agent: (whole.observation_spaces[agent], whole.action_spaces[agent])
        for agent in whole.agents
    }
    sorter = RowSorter(
        {agent: (agent,) for agent in whole.agents},
        spaces,
        "filtered",
        "state_action",
        dict.fromkeys(whole.agents),
        History(),
        structure,
    )
    parts = [sorter.sort_part(whole.select(chosen)) for chosen in ([0, 1, 2, 3], [4, 5])]
    joined, at_once = sorter.join(parts, 6)[JOINT], sorter.sort(whole)[JOINT]
    np.testing.assert_array_equal(joined.inputs, at_once.inputs)
    rounds = whole.records["agent_1"].participates | whole.records["agent_2"].participates
    assert len(joined) == rounds.sum()


def test_phi_as_an_action_is_seen_as_one() -> None:
    whole, structure = echo_demonstrations(episodes=3), echo_structure("chosen")
    choices = gym.spaces.Discrete(CHOICES + 1)
    rows = JointRows.of_demonstrations(structure, whole, dict.fromkeys(whole.agents, choices))
    record = whole.records["agent_1"]
    assert len(rows) == len(record)  # every round is a row
    np.testing.assert_array_equal(rows.inputs[:, 0], record.participates)
    phi = rows.inputs[:, 1 + CHOICES + CHOICES]
    np.testing.assert_array_equal(phi, ~record.participates)


def test_single_turns_are_no_joint_rows() -> None:
    kept = echo_demonstrations().subsample(2, np.random.default_rng(0))
    with pytest.raises(DemonstrationsError, match=r"one turn in 2 was kept.*'decentralised'"):
        two_agents(demonstrations=kept).validate()


# --- rewards --------------------------------------------------------------------------------------


def test_all_are_credited_alike_whoever_acted() -> None:
    rows = JointRows.of_turns(CENTRALISED, A_AND_B)
    earned = rows.credit(CENTRALISED, A_AND_B, np.array([1.0, 10, 100]), {"a": 0.5, "b": 0.5})
    assert earned["a"].tolist() == [1 + 10 / 2, 100]
    assert earned["b"].tolist() == [10, 100]  # round 0 was before b's first turn


def test_what_one_side_gets_the_other_loses() -> None:
    rows = JointRows.of_turns(ZERO_SUM, A_AND_B)
    rewards = np.array([1.0, 10, 100, 1000])  # of a in round 0, b in 1, both in 2
    earned = rows.credit(ZERO_SUM, A_AND_B, rewards, {"a": 0.5, "b": 0.5})
    assert earned["a"].tolist() == [1 - 10 / 2, 100 - 1000]
    assert earned["b"].tolist() == [10, 1000 - 100]


def test_who_has_ended_earns_nothing_more() -> None:
    turns = {**A_AND_B, "a": turns_of([("a", "g", [0], 1)], actions=[0])}  # a ends after round 0
    rows = JointRows.of_turns(CENTRALISED, turns)
    earned = rows.credit(CENTRALISED, turns, np.array([1.0, 10, 100]), {"a": 0.5, "b": 0.5})
    assert earned["a"].tolist() == [1]
    assert earned["b"].tolist() == [10, 100]


def test_agents_of_one_policy_are_credited_each_for_itself() -> None:
    spaces = {"shared": SPACES["a"]}
    view = JointView.from_spaces({"a": "shared", "b": "shared"}, spaces)
    structure = JointStructure(view, {"a": 0, "b": 1}, "filtered")
    turns = {"shared": turns_of([("b", "g", [1, 2], 3), ("a", "g", [0, 2], 3)])}
    rows = JointRows.of_turns(structure, turns)
    earned = rows.credit(structure, turns, np.array([1.0, 10, 100, 1000]), {"shared": 0.5})
    assert earned["shared"].tolist() == [10, 1000 - 100, 1 - 10 / 2, 100 - 1000]


@given(
    st.lists(st.booleans(), min_size=2, max_size=8),
    st.lists(st.booleans(), min_size=2, max_size=8),
    st.floats(0.1, 1.0),
)
def test_an_agents_return_is_that_of_rewards_paid_in_every_round(
    a_acts: list[bool], b_acts: list[bool], gamma: float
) -> None:
    length = max(len(a_acts), len(b_acts))
    rounds = {n: np.flatnonzero(acts).tolist() for n, acts in (("a", a_acts), ("b", b_acts))}
    assume(rounds["a"] and rounds["b"])
    turns = {n: turns_of([(n, "g", own, length)]) for n, own in rounds.items()}
    rows = JointRows.of_turns(ZERO_SUM, turns)
    rewards = np.arange(1.0, len(rows) + 1)
    earned = rows.credit(ZERO_SUM, turns, rewards, {"a": gamma, "b": gamma})
    for side, agent in enumerate("ab"):
        paid = rows.keys >= rounds[agent][0]
        signed = np.where(rows.sides == side, rewards, -rewards)[paid]
        expected = np.sum(gamma ** rows.keys[paid] * signed)
        found = np.sum(gamma ** np.array(rounds[agent]) * earned[agent])
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)


# --- training -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("structure", ["centralised", "zero_sum"])
def test_the_learner_learns_from_the_credited_rewards(
    structure: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Training, the numbers it reports, and the reward that is exported, on one short run."""
    seen: dict[str, TurnBatch] = {}
    algorithm = two_agents(structure, bc_steps=0, normalise_rewards=False).build_algo()
    learner = algorithm.learner_group._learner
    collect = learner._collect_turns
    monkeypatch.setattr(
        learner, "_collect_turns", lambda episodes: seen.update(collect(episodes)) or seen
    )
    result = algorithm.train()["learners"]
    assert set(result) == {"agent_1", "agent_2", JOINT, "__all_modules__"}
    assert 0 <= result[JOINT]["accuracy_policy_rows"] <= 1
    # The discriminator is improved before it judges and stays as it is after that.
    structured = learner._structure
    rows = JointRows.of_turns(structured, seen)
    module = learner.module[JOINT].unwrapped()
    with torch.no_grad():
        (logits,) = module.forward_inference({INPUTS: torch.from_numpy(rows.inputs)}).values()
    rewards = logits.numpy() if structure == "zero_sum" else np.logaddexp(0, logits.numpy())
    earned = rows.credit(structured, seen, rewards, dict.fromkeys(seen, 0.0))
    for agent, batch in seen.items():
        assert result[agent]["reward_mean"] == pytest.approx(earned[agent].mean(), abs=1e-5)
        assert len(batch) == len(earned[agent])
    export_learned(algorithm, tmp_path)
    algorithm.stop()
    exported = LearnedReward.load_joint(tmp_path)
    np.testing.assert_allclose(exported.reward(JOINT, rows.inputs), rewards, rtol=1e-4, atol=1e-5)
    described = exported.provenance[JOINT]["joint_rows"]
    assert described["columns"] == {"agent_1": [0, 7], "agent_2": [7, 14]}
    with pytest.raises(LearnedFileError, match="load_joint"):
        LearnedReward.load(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("structure", ["centralised", "zero_sum"])
@pytest.mark.parametrize("phi", ["filtered", "chosen", "executed"])
def test_every_structure_learns_the_echo_game(structure: str, phi: str) -> None:
    config = two_agents(structure, bc_steps=0, value_only_iterations=0, phi=phi).training(lr=1e-2)
    scores = [result["score"] for result in train(config, 25)]
    # 8 rounds in which 0.6 of the agents act; a random answer is right in a third of them.
    assert scores[-1] > 0.75 * 0.6 * 8 > scores[0]


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_when_everybody_acts_phi_makes_no_difference() -> None:
    found = []
    for phi in ("filtered", "chosen", "executed"):
        config = two_agents(phi=phi, demonstrations=echo_demonstrations(participation=1.0))
        config.environment(env_config={"participation": 1.0})
        found.append(learner_numbers(train(config, 1)[0]))
    assert found[0] == found[1] == found[2]


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_mack_moves_a_joint_discriminator() -> None:
    algorithm = two_agents("zero_sum", generator="mack", discriminator_hiddens=(8,)).build_algo()
    module = algorithm.learner_group._learner.module[JOINT].unwrapped()
    before = module.input_weights.detach().clone()
    result = algorithm.train()["learners"][JOINT]
    assert np.isfinite(result["discriminator_loss"])
    assert not torch.equal(module.input_weights, before)
    algorithm.stop()


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_replicas_of_a_joint_discriminator_stay_equal() -> None:
    config = two_agents("zero_sum", value_only_iterations=0)
    algorithm = config.learners(num_learners=2, num_cpus_per_learner=1).build_algo()
    for _ in range(2):
        algorithm.train()
    states = algorithm.learner_group.foreach_learner(
        lambda learner: learner.get_state(components="rl_module")["rl_module"]
    )
    first, second = (result.get() for result in states)
    assert JOINT in first
    for module_id, weights in first.items():
        for name, array in weights.items():
            np.testing.assert_array_equal(array, second[module_id][name], err_msg=module_id)
    algorithm.stop()


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_a_restored_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    whole = two_agents("zero_sum").build_algo()
    whole.train()
    checkpoint = whole.save_to_path(str(tmp_path / "checkpoint"))
    expected = learner_numbers(whole.train())
    whole.stop()
    restored = AMAGAIL.from_checkpoint(checkpoint)
    assert learner_numbers(restored.train()) == expected
    restored.stop()


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_joint_rows_are_streamed(tmp_path: Path) -> None:
    folder = tmp_path / "recording"
    folder.mkdir()
    whole = echo_demonstrations(episodes=12)
    for part in range(6):
        path = folder / f"part-{part:05}.parquet"
        whole.select(range(part * 2, part * 2 + 2)).save(path)
    config = two_agents(demonstrations=str(folder), discriminator_batch_size=40)
    config.streaming(demonstrations_memory=14_000)
    algorithm = config.build_algo()
    source = algorithm.learner_group._learner._own_rows
    windows = set()
    for _ in range(3):
        algorithm.train()
        windows.add(source.rows[JOINT].inputs.tobytes())
    assert len(windows) > 1
    algorithm.stop()


def test_a_learner_without_rows_takes_those_of_all() -> None:
    own, others = np.zeros((0, 2), np.float32), np.ones((3, 2), np.float32)

    def gather(item: Any) -> list[Any]:
        return [item, len(others) if isinstance(item, int) else others]

    np.testing.assert_array_equal(share_rows(own, gather), others)
    some = np.full((1, 2), 5, np.float32)
    assert share_rows(some, gather) is some


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"discriminator_inputs": "state_pair"}, "discriminator_inputs is 'state_pair'; expected"),
        ({"reward_shaping": True, "reward_form": "airl"}, "reward_shaping is True; expected"),
        ({"structure": "zero_sum", "reward_form": "gail"}, "reward_form is 'gail'; expected"),
        ({"structure": "both"}, "expected one of decentralised, centralised, zero_sum"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        two_agents(**settings).validate()


def test_chunks_of_episodes_are_refused() -> None:
    config = two_agents().env_runners(batch_mode="truncate_episodes")
    with pytest.raises(ValueError, match="batch_mode is 'truncate_episodes'; expected batch_mode"):
        config.validate()


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        (None, "expected two agents, or"),
        ([["agent_1"], ["agent_2"], ["agent_3"]], "expected two lists"),
        ([["agent_1", "agent_2", "agent_3"], []], "expected two lists"),
        ([["agent_1", "agent_2"], ["agent_2", "agent_3"]], "expected two lists"),
        ([["agent_1"], ["agent_3"]], "expected two lists"),
    ],
)
def test_there_are_two_sides_of_all_agents(sides: Any, expected: str) -> None:
    config = small_config(num_agents=3).env_runners(batch_mode="complete_episodes")
    config.imitation(discriminator_structure="zero_sum", reward_form="airl").roles(sides=sides)
    with pytest.raises(ValueError, match=f"agent_1, agent_2, agent_3; {expected}"):
        config.validate()


def test_a_side_of_several_is_one_side() -> None:
    spaces = {**SPACES, "c": SPACES["a"]}
    view = JointView.from_spaces({agent: agent for agent in spaces}, spaces)
    structure = JointStructure(view, {"a": 0, "b": 1, "c": 0}, "filtered")
    # a and c act in round 0, b in rounds 0 and 1.
    turns = {
        "a": turns_of([("a", "g", [0], 2)], actions=[1]),
        "b": turns_of([("b", "g", [0, 1], 2)], actions=[0, 1]),
        "c": turns_of([("c", "g", [0], 2)], actions=[0]),
    }
    rows = JointRows.of_turns(structure, turns)
    assert rows.inputs.tolist() == [
        [1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 1, 0],  # a and c; b is masked
        [0, 1, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0],
        [0, 1, 0, 0, 1, 2, 0, 1, 0, 1, 0, 0],
    ]
    earned = rows.credit(structure, turns, np.array([1.0, 10, 100]), dict.fromkeys("abc", 0.5))
    assert earned["a"].tolist() == earned["c"].tolist() == [1 - 10 - 100 / 2]
    assert earned["b"].tolist() == [10 - 1, 100]


def test_a_policy_cannot_have_the_discriminators_name() -> None:
    config = two_agents().multi_agent(
        policies={JOINT}, policy_mapping_fn=lambda *arguments, **options: JOINT
    )
    with pytest.raises(ValueError, match="found a policy 'discriminator'; expected another name"):
        config.validate()
