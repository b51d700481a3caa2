"""Imitation from observation alone: demonstrations without actions, and pairs (s, s')."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray import tune

from rllib_amagail import DemonstrationsError, IndependentStochastic, TurnBasedEnv
from rllib_amagail.demonstrations import AgentRecord, Demonstrations, concatenate
from rllib_amagail.learner.expert_rows import ExpertRows
from rllib_amagail.learner.judged_rows import comparable_rows, encode_turns
from rllib_amagail.learner.phi_filter import filter_phi
from rllib_amagail.learner.turns import EpisodesToTurns, TurnBatch
from rllib_amagail.row_encoder import RowEncoder
from tests.demonstration_samples import SPACES, assert_same, example
from tests.demonstration_samples import play as play_demonstrations
from tests.test_algorithm import small_config, train
from tests.test_turns import MODULES, SPACE, play
from tests.toys import CHOICES, HORIZON, EchoGame, echo_demonstrations

CHOOSE = gym.spaces.Discrete(100)


def demonstrations_of(participation: np.ndarray, *, dense: bool = True) -> Demonstrations:
    """The episode of `tests.test_turns.play` as a recording of agents a and b."""
    rounds = len(participation)
    observations = {
        agent: np.array([[[t, i] for t in range(rounds)]], np.float32)
        for i, agent in enumerate("ab")
    }
    recorded = Demonstrations.from_rounds(
        ("a", "b"),
        dict.fromkeys("ab", SPACE),
        dict.fromkeys("ab", CHOOSE),
        observations=observations,
        participation=participation[None],
        actions=np.zeros((1, rounds, 2), np.int64),
    )
    if dense:
        return recorded
    return replace(recorded, records={a: recorded.records[a].turns() for a in "ab"})


# --- what the discriminator sees ------------------------------------------------------------------


def test_states_alone_are_the_features() -> None:
    encoder = RowEncoder(SPACE, CHOOSE, "state")
    assert encoder.encode(np.array([[3.0, 4.0]])).tolist() == [[3, 4]]


def test_pairs_are_features_and_their_change() -> None:
    encoder = RowEncoder(SPACE, CHOOSE, "state_pair")
    seen, seen_next = np.array([[3.0, 4.0]]), np.array([[5.0, 3.0]])
    assert encoder.encode(seen, None, seen_next).tolist() == [[3, 4, 2, -1]]


def test_the_action_mask_is_no_part_of_a_pair() -> None:
    masked = gym.spaces.Dict({"action_mask": gym.spaces.MultiBinary(2), "seen": SPACE})
    encoder = RowEncoder(masked, gym.spaces.Discrete(2), "state_pair")
    flat = np.array([[3, 4, 1, 0]], np.float32)
    assert encoder.encode(flat, None, np.zeros_like(flat)).tolist() == [[3, 4, -3, -4]]


def turn_batch(participation: np.ndarray, *, dense: bool, agent: str = "a") -> TurnBatch:
    episode = play(participation, dense=dense, terminated=False)
    turns = EpisodesToTurns()(rl_module=MODULES, batch={}, episodes=[episode])[agent]
    return filter_phi(turns)


def test_the_next_observation_is_that_of_the_next_turn_or_the_last_of_all() -> None:
    acts = np.array([[1, 1], [0, 1], [1, 0], [0, 1]], bool)
    turns = turn_batch(acts, dense=True)
    assert turns.observations[:, 0].tolist() == [0, 2]
    assert turns.next_observations[:, 0].tolist() == [2, 4]
    assert turns.has_next_turn.tolist() == [True, False]


def test_agent_episodes_do_not_flow_into_each_other() -> None:
    acts = np.ones((2, 2), bool)
    episodes = [play(acts, dense=True, terminated=False) for _ in range(2)]
    turns = EpisodesToTurns()(rl_module=MODULES, batch={}, episodes=episodes)["a"]
    assert turns.next_observations[:, 0].tolist() == [1, 2, 1, 2]
    assert turns.has_next_turn.tolist() == [True, False, True, False]


def test_expert_pairs_join_the_turns_of_an_episode() -> None:
    acts = np.array([[1, 1], [0, 1], [1, 1], [1, 1], [0, 1]], bool)
    rows = ExpertRows.collect(
        demonstrations_of(acts), ["a"], SPACE, CHOOSE, "filtered", "state_pair"
    )
    assert len(rows) == 3  # to clone: turns in rounds 0, 2 and 3
    assert rows.inputs.tolist() == [[0, 0, 2, 0], [2, 0, 1, 0]]


def test_pairs_do_not_cross_episodes() -> None:
    acts = np.ones((2, 2), bool)
    twice = concatenate([demonstrations_of(acts)] * 2)
    rows = ExpertRows.collect(twice, ["a", "b"], SPACE, CHOOSE, "filtered", "state_pair")
    assert rows.inputs.tolist() == [[0, 0, 1, 0]] * 2 + [[0, 1, 1, 0]] * 2


@settings(deadline=None, max_examples=40)  # machines may be busy
@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=8),
    st.sampled_from(["state", "state_pair"]),
)
def test_dense_sparse_recorded_and_played_rows_are_the_same(acts: list, judged: Any) -> None:
    participation = np.array([(True, True), (True, False), *acts], bool)
    found = [
        ExpertRows.collect(
            demonstrations_of(participation, dense=dense), ["a"], SPACE, CHOOSE, "filtered", judged
        ).inputs
        for dense in (True, False)
    ]
    encoder = RowEncoder(SPACE, CHOOSE, judged)
    for dense in (True, False):
        turns = turn_batch(participation, dense=dense)
        found.append(encode_turns(encoder, turns, "filtered")[comparable_rows(encoder, turns)])
    for rows in found[1:]:
        np.testing.assert_array_equal(rows, found[0])


def test_single_turns_are_learned_from_where_there_is_nothing_else() -> None:
    turns = turn_batch(np.ones((1, 2), bool), dense=True)
    encoder = RowEncoder(SPACE, CHOOSE, "state_pair")
    assert comparable_rows(encoder, turns).tolist() == [True]


def test_single_expert_turns_have_no_pairs() -> None:
    single = demonstrations_of(np.ones((1, 2), bool))
    with pytest.raises(DemonstrationsError, match="no two turns in one episode"):
        ExpertRows.collect(single, ["a"], SPACE, CHOOSE, "filtered", "state_pair")


@pytest.mark.parametrize("judged", ["state_action", "state_pair"])
def test_experts_who_never_act_are_named(judged: Any) -> None:
    idle = demonstrations_of(np.array([[0, 1], [0, 1]], bool))
    with pytest.raises(DemonstrationsError, match=r"\['a'\] have no turn .*expected one or more"):
        ExpertRows.collect(idle, ["a"], SPACE, CHOOSE, "filtered", judged)


# --- demonstrations without actions, and subsampled ones ------------------------------------------


@pytest.mark.parametrize("spaces", SPACES, ids=lambda pair: str(pair[1]))
def test_demonstrations_without_actions_survive_a_file(tmp_path: Path, spaces: tuple) -> None:
    whole = play_demonstrations([spaces], [3, 2], share=0.6, seed=1)
    silent = whole.without_actions()
    silent.save(tmp_path / "z.parquet")
    loaded = Demonstrations.load(tmp_path / "z.parquet")
    assert_same(loaded, silent)
    assert whole.has_actions
    assert not loaded.has_actions
    assert loaded.records["0"].num_turns == whole.records["0"].num_turns
    assert pq.read_table(tmp_path / "z.parquet")["action"].null_count == len(whole.records["0"])


def test_files_have_the_oldest_version_that_can_say_it(tmp_path: Path) -> None:
    def version(demonstrations: Demonstrations) -> bytes:
        demonstrations.save(tmp_path / "z.parquet")
        return pq.read_metadata(tmp_path / "z.parquet").metadata[b"rllib_amagail.demonstrations"]

    assert b'"schema_version":1' in version(example())
    assert b'"schema_version":2' in version(example().without_actions())
    assert b'"schema_version":2' in version(example().subsample(2, np.random.default_rng(0)))


def test_actions_are_of_all_agents_or_of_none() -> None:
    whole = example()
    records = {**whole.records, "b": replace(whole.records["b"], action=None)}
    with pytest.raises(DemonstrationsError, match=r"found actions of \['a'\] only"):
        replace(whole, records=records)


def test_parts_with_and_without_actions_do_not_join() -> None:
    with pytest.raises(DemonstrationsError, match="found has_actions False, expected True"):
        concatenate([example(), example().without_actions()])


@settings(deadline=None)  # machines may be busy
@given(st.integers(1, 9), st.integers(0, 2**31))
def test_subsampling_keeps_one_in_every_turns(every: int, seed: int) -> None:
    whole = play_demonstrations(SPACES[:2], [12, 5], share=0.7, seed=3)
    kept = whole.subsample(every, np.random.default_rng(seed))
    assert kept.turns_kept_every == every
    for agent, record in kept.records.items():
        for episode in range(2):
            turns = whole.records[agent].turns()
            rounds = turns.round[turns.episode == episode].tolist()
            found = record.round[record.episode == episode].tolist()
            first = rounds.index(found[0])
            assert first < every
            assert found == rounds[first::every]


def test_offsets_differ_between_agents_and_episodes() -> None:
    whole = play_demonstrations(SPACES[:2], [20] * 6, share=1.0, seed=3)
    kept = whole.subsample(20, np.random.default_rng(0))
    rounds = np.array([kept.records[agent].round for agent in kept.agents])
    assert rounds.shape == (2, 6)  # one turn per agent and episode
    assert len(np.unique(rounds)) > 6


def test_subsampling_is_remembered(tmp_path: Path) -> None:
    kept = example().subsample(2, np.random.default_rng(0))
    kept.save(tmp_path / "z.parquet")
    assert Demonstrations.load(tmp_path / "z.parquet").head(1).turns_kept_every == 2
    assert kept.subsample(3, np.random.default_rng(0)).turns_kept_every == 6
    with pytest.raises(DemonstrationsError, match="found every 0, expected 1 or more"):
        example().subsample(0, np.random.default_rng(0))


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({}, "no actions to clone, but bc_steps is 20; set bc_steps=0"),
        ({"bc_steps": 0, "bc_loss_coeff": 0.1}, "bc_loss_coeff is 0.1; set bc_loss_coeff=0"),
        ({"bc_steps": 0}, "discriminator_inputs is 'state_action'; set 'state' or"),
    ],
)
def test_actions_that_are_missing_are_not_asked_for(setting: dict, message: str) -> None:
    silent = echo_demonstrations().without_actions()
    with pytest.raises(DemonstrationsError, match=message):
        small_config().imitation(demonstrations=silent, **setting).validate()


def test_subsampled_demonstrations_have_no_pairs() -> None:
    kept = echo_demonstrations().subsample(3, np.random.default_rng(0))
    config = small_config().imitation(demonstrations=kept, discriminator_inputs="state_pair")
    with pytest.raises(DemonstrationsError, match="one turn in 3 was kept"):
        config.validate()


class MirrorGame(EchoGame):
    """Each agent is shown its own last choice, at first nothing; choice 0 earns 1."""

    def step(self, actions: dict[str, Any]) -> tuple[dict, dict, dict, dict, dict]:
        self._targets = dict.fromkeys(self.possible_agents, CHOICES) | actions
        observations, _, *rest = super().step({})
        return observations, {agent: float(a == 0) for agent, a in actions.items()}, *rest

    def _observe(self) -> dict[str, Any]:
        shown = np.vstack([np.eye(CHOICES, dtype=np.float32), np.zeros((1, CHOICES), np.float32)])
        if self._round == 0:
            self._targets = dict.fromkeys(self.possible_agents, CHOICES)
        return {agent: shown[target] for agent, target in self._targets.items()}


def mirror_demonstrations() -> Demonstrations:
    """20 silent episodes of synchronous players who always choose 0."""
    seen = np.zeros((20, HORIZON, CHOICES), np.float32)
    seen[:, 1:, 0] = 1.0
    env = MirrorGame()
    return Demonstrations.from_rounds(
        env.possible_agents,
        env.observation_spaces,
        env.action_spaces,
        observations=dict.fromkeys(env.possible_agents, seen),
        participation=np.ones((20, HORIZON, 2), bool),
        actions=np.zeros((20, HORIZON, 2), np.int64),
    ).without_actions()


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("judged", ["state", "state_pair"])
def test_learns_from_observation_alone(judged: Any) -> None:
    always = IndependentStochastic(np.ones(2))
    tune.register_env("mirror", lambda env_config: TurnBasedEnv(MirrorGame(), always))
    config = (
        small_config()
        .environment("mirror", env_config={})
        .training(lr=1e-2, gamma=0.9)
        .imitation(
            demonstrations=mirror_demonstrations(),
            discriminator_inputs=judged,
            bc_steps=0,
            value_only_iterations=0,
        )
    )
    results = train(config, 10)
    assert results[0]["score"] < 0.6 * HORIZON
    assert results[-1]["score"] > 0.85 * HORIZON


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("phi", ["chosen", "executed"])
def test_silent_phi_rows_are_judged_too(phi: Any) -> None:
    silent = echo_demonstrations().without_actions()
    config = small_config().imitation(
        demonstrations=silent, phi=phi, discriminator_inputs="state_pair", bc_steps=0
    )
    learned = train(config, 1)[0]["learners"]["agent_1"]
    assert np.isfinite(learned["discriminator_loss"])
    assert learned["phi_share"] == pytest.approx(0.4, abs=0.1)


def test_records_without_actions_have_turns() -> None:
    record = AgentRecord(
        "a",
        episode=np.zeros(2, np.int64),
        round=np.arange(2),
        participates=np.array([True, False]),
        observation=np.zeros((2, 1), np.float32),
        action=None,
    )
    assert len(record.turns()) == 1
    assert record.turns().action is None
