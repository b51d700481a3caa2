"""Demonstrations: what they refuse, what they compute, and that they cannot be changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary
from hypothesis import given
from hypothesis import strategies as st

from rllib_amagail.demonstrations import (
    AgentRecord,
    Demonstrations,
    DemonstrationsError,
    concatenate,
)
from tests.demonstration_samples import SPACES, assert_same, assert_same_rows, example, play


def record(**changes: Any) -> AgentRecord:
    """Agent a: a turn, a phi row, a turn in the next episode."""
    arrays = {
        "episode": np.array([0, 0, 1]),
        "round": np.array([0, 1, 4]),
        "participates": np.array([True, False, True]),
        "observation": np.array([[1.0], [2.0], [3.0]]),
        "action": np.array([1, 0, 2]),
        "reward": np.array([0.5, 0.0, 1.0]),
        "action_mask": np.array([[True, True, False], [False] * 3, [False, False, True]]),
    }
    return AgentRecord("a", **{**arrays, **changes})


def test_turns_are_the_rows_that_are_not_phi() -> None:
    turns = record().turns()
    assert turns.episode.tolist() == [0, 1]
    assert turns.round.tolist() == [0, 4]
    assert turns.participates.all()
    assert turns.observation.tolist() == [[1.0], [3.0]]
    assert turns.action.tolist() == [1, 2]
    assert turns.reward.tolist() == [0.5, 1.0]
    assert turns.action_mask.tolist() == [[True, True, False], [False, False, True]]
    assert (record().num_turns, len(record())) == (2, 3)
    assert record().phi_share == pytest.approx(1 / 3)


def test_the_record_of_no_rows_has_no_phi() -> None:
    empty = AgentRecord("a", **record().columns(slice(0, 0)))
    assert (len(empty), empty.num_turns, empty.phi_share) == (0, 0, 0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"episode": [0, 1, 0]},
            r"row 2 \(episode 0, round 4\): found it after episode 1, round 1",
        ),
        ({"round": [1, 1, 4]}, r"row 1 \(episode 0, round 1\): found it after episode 0, round 1"),
        ({"round": [2, 1, 4]}, "expected rows sorted"),
        ({"round": [-1, 1, 4]}, "row 0 .*: found round -1, expected 0 or more"),
        ({"episode": [-1, 0, 1]}, "found episode -1"),
        ({"observation": [[1], [np.nan], [3]]}, "row 1 .*: found observation nan in column 0"),
        ({"observation": [[1], [2], [1e39]]}, "row 2 .*: found observation inf"),
        ({"reward": [0, np.inf, 0]}, "row 1 .*: found reward inf"),
        ({"action": [1, 2, 2]}, "row 1 .*: found action 2 of a non-participant"),
        ({"action": [1, 0]}, r"found action int64 of shape \(2,\), expected int64 of .* 3 rows"),
        ({"action": [[1.0], [0.0]]}, r"expected float32 of 2 dimensions and 3 rows"),
        ({"observation": [1.0, 2.0, 3.0]}, "found observation .* expected float32 of 2 dimensions"),
        ({"episode": [0.0, 0.0, 1.0]}, "found episode float64"),
        ({"participates": [1, 0, 1]}, "found participates int64"),
        ({"action_mask": np.ones((3, 3))}, "found action_mask float64"),
        ({"reward": [[0], [0], [0]]}, "found reward int64"),
        ({"observation": np.array([[None]] * 3)}, "found observation object"),
    ],
)
def test_broken_rows_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DemonstrationsError, match=f"agent 'a'.*{message}"):
        record(**changes)


def test_a_record_cannot_change() -> None:
    observation = np.array([[1.0], [2.0], [3.0]], np.float32)
    unchanging = record(observation=observation)
    observation[0] = 9.0
    assert unchanging.observation[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        unchanging.action[0] = 1


def test_from_rounds_records_phi_where_nobody_acts() -> None:
    a, b = example().records.values()
    assert a.episode.tolist() == b.episode.tolist() == [0, 0, 0, 1, 1]
    assert a.round.tolist() == b.round.tolist() == [0, 1, 2, 0, 1]
    assert a.participates.tolist() == [True, False, True, True, False]
    assert b.participates.tolist() == [False, True, True, False, True]
    assert a.action.tolist() == [1, 0, 2, 3, 0]
    assert b.action.tolist() == [0, 1, 2, 0, 3]
    assert b.observation.ravel().tolist() == [5, 6, 7, 8, 9]
    assert b.reward.tolist() == [0, 2, 4, 0, -2]


def test_from_rounds_takes_arrays_and_actions_per_agent() -> None:
    kwargs: dict[str, Any] = {
        "agents": ["a"],
        "observation_spaces": {"a": Box(-1, 1, (2,))},
        "action_spaces": {"a": Box(-1, 1, (1,))},
        "observations": {"a": np.zeros((2, 3, 2))},
        "participation": np.ones((2, 3, 1), bool),
        "actions": {"a": np.full((2, 3, 1), 0.5)},
    }
    demonstrations = Demonstrations.from_rounds(**kwargs)
    assert demonstrations.records["a"].action.tolist() == [[0.5]] * 6
    assert demonstrations.records["a"].reward is None
    for changes, message in [
        ({"participation": np.ones((2, 3, 1))}, "found participation float64, expected bool"),
        ({"participation": np.ones((2, 3, 2), bool)}, r"rows of shape \(2,\), expected one entry"),
        ({"participation": []}, "no episodes"),
        ({"observations": {"a": np.zeros((2, 4, 2))}}, r"lengths \[4, 4\], expected 2 .* \[3, 3\]"),
        ({"observations": {"b": np.zeros((2, 3, 2))}}, "expected also 'a'"),
        ({"rewards": np.zeros((3, 3, 1))}, "rewards: found 3 episodes"),
        ({"actions": {"a": np.full((2, 3, 1), np.nan)}}, "row 0 .*: found nan"),
    ]:
        with pytest.raises(DemonstrationsError, match=message):
            Demonstrations.from_rounds(**{**kwargs, **changes})


@given(
    st.lists(st.sampled_from(SPACES), min_size=1, max_size=2),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.integers(0, 99),
)
def test_dense_and_sparse_forms_have_the_same_turns(spaces: list, lengths: list, seed: int) -> None:
    dense = play(spaces, lengths, 0.5, seed)
    for agent, full in dense.records.items():
        kept = np.flatnonzero(full.participates)
        sparse = AgentRecord(agent, **full.columns(kept))
        assert_same_rows(full.turns(), sparse)
        assert_same_rows(sparse.turns(), sparse)
        assert sparse.phi_share == 0


def test_scores_sum_rewards_over_rounds_and_average_over_agents() -> None:
    # a earns 1 + 3 and -1, b earns 2 + 4 and -2.
    np.testing.assert_array_equal(example().scores(), [5.0, -1.5])
    with pytest.raises(DemonstrationsError, match="found no rewards of agent 'a'"):
        example(rewards=False).scores()


def test_an_episode_lasts_until_the_last_round_of_any_agent() -> None:
    assert example().episode_lengths().tolist() == [3, 2]
    rows = {agent: rows.turns() for agent, rows in example().records.items()}
    sparse = replace(example(), records=rows)
    assert sparse.episode_lengths().tolist() == [3, 2]
    without_b = {"a": rows["a"], "b": AgentRecord("b", **rows["b"].columns(slice(0, 2)))}
    assert replace(example(), records=without_b).episode_lengths().tolist() == [3, 1]


def test_select_renumbers_and_may_repeat() -> None:
    chosen = example().select([1, 0, 1])
    assert chosen.records["a"].episode.tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert chosen.records["a"].round.tolist() == [0, 1, 0, 1, 2, 0, 1]
    assert chosen.records["b"].observation.ravel().tolist() == [8, 9, 5, 6, 7, 8, 9]
    np.testing.assert_array_equal(chosen.scores(), [-1.5, 5.0, -1.5])
    assert_same(example().head(2), example())
    assert example().head(1).records["a"].action.tolist() == [1, 0, 2]


@pytest.mark.parametrize("indices", [[2], [-1], [0.0], [True, False], 0])
def test_select_refuses_other_indices(indices: Any) -> None:
    with pytest.raises(DemonstrationsError, match="found episode ind"):
        example().select(indices)


@pytest.mark.parametrize("num_episodes", [-1, 3])
def test_head_needs_enough_episodes(num_episodes: int) -> None:
    with pytest.raises(DemonstrationsError, match="found 2 episodes"):
        example().head(num_episodes)


def test_concatenate_is_the_opposite_of_select() -> None:
    parts = [replace(example().select([i]), provenance={"part": i}) for i in (0, 1)]
    joined = concatenate(parts)
    assert joined.provenance == {"concatenated": [{"part": 0}, {"part": 1}]}
    assert_same(replace(joined, provenance={}), example())
    for other, message in [
        (replace(example(), game="chess"), "found game chess, expected toy"),
        (replace(example(), player_function={"type": "x"}), "found player_function"),
        (example(rewards=False), "with and without rewards"),
        (play(SPACES[:2], [1], 1.0, 0), "do not fit: agents"),
    ]:
        with pytest.raises(DemonstrationsError, match=message):
            concatenate([example(), other])
    with pytest.raises(DemonstrationsError, match="no demonstrations"):
        concatenate([])


def test_training_needs_turns_of_every_agent() -> None:
    example().check_trainable(3)
    with pytest.raises(DemonstrationsError, match=r"\['a', 'b'\]: {'a': 3, 'b': 3}, .* 4"):
        example().check_trainable(4)
    phi = replace(example().records["b"], participates=np.zeros(5, bool), action=np.zeros(5, int))
    never_b = replace(example(), records={**example().records, "b": phi})
    with pytest.raises(DemonstrationsError, match=r"train \['b'\].*at least 1 of every agent"):
        never_b.check_trainable(0)


def test_every_difference_to_an_environment_is_listed() -> None:
    ours = example()
    ours.check_compatible(ours.agents, ours.observation_spaces, ours.action_spaces, "toy")
    with pytest.raises(DemonstrationsError) as caught:
        ours.check_compatible(
            ("b", "a"),
            {**ours.observation_spaces, "a": Box(-9, 9, (2,))},
            {**ours.action_spaces, "b": Discrete(5, start=1)},
            "chess",
        )
    for part in ("('b', 'a')", "(2,)", "start=1", "'chess'"):
        assert part in str(caught.value)
    replace(ours, game=None).check_compatible(*environment(ours), "chess")


def environment(ours: Demonstrations) -> tuple:
    return ours.agents, ours.observation_spaces, ours.action_spaces


def test_a_dict_in_another_key_order_does_not_fit() -> None:
    parts = {"x": Discrete(2), "y": Discrete(3)}
    one, other = (Dict([(key, parts[key]) for key in keys]) for keys in ("xy", "yx"))
    ours = play([(one, Discrete(2))], [1], 1.0, 0)
    with pytest.raises(DemonstrationsError, match="'0': found Dict"):
        ours.check_compatible(("0",), {"0": other}, {"0": Discrete(2)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agents": ("a",)}, "found records of"),
        ({"agents": ("a", "a", "b")}, "expected different non-empty names"),
        ({"agents": ()}, "expected different non-empty names"),
        ({"observation_spaces": {"a": Box(-9, 9, (1,))}}, "found observation_spaces of"),
        ({"game": ""}, "found game ''"),
        ({"provenance": {"seed": float("nan")}}, "not plain JSON"),
        ({"provenance": {"path": object()}}, "not plain JSON"),
        ({"player_function": ["x"]}, "expected a JSON object"),
    ],
)
def test_inconsistent_demonstrations_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(DemonstrationsError, match=message):
        replace(example(), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agent": "b"}, "found a record of 'b'"),
        ({"action": np.array([1, 0, 5, 3, 0])}, r"'a', row 2 \(episode 0, round 2\): found 5"),
        ({"action": np.zeros((5, 2), int)}, "agent 'a': found actions int64"),
        ({"observation": np.zeros((5, 2))}, "found 2 features and None mask columns, expected 1"),
        ({"action_mask": np.ones((5, 5), bool)}, "1 features and 5 mask columns, .* 1 and None"),
        ({"reward": None}, r"found rewards of \['b'\] only"),
        ({"episode": np.array([0, 0, 0, 2, 2])}, "found no rows of episode"),
    ],
)
def test_records_must_fit_their_spaces(changes: dict, message: str) -> None:
    records = example().records
    gap = {"episode"} <= set(changes)
    others = {"b": replace(records["b"], **changes)} if gap else {"b": records["b"]}
    with pytest.raises(DemonstrationsError, match=message):
        replace(example(), records={"a": replace(records["a"], **changes), **others})


def test_masked_out_actions_are_refused_at_turns_only() -> None:
    mask_space = {"a": Dict({"x": Box(-9, 9, (1,)), "action_mask": MultiBinary(3)})}
    Demonstrations(("a",), {"a": record()}, mask_space, {"a": Discrete(3)})
    forbidden = record(action=np.array([1, 0, 1]))
    with pytest.raises(DemonstrationsError, match=r"row 2 \(episode 1, round 4\): .* \[2\]"):
        Demonstrations(("a",), {"a": forbidden}, mask_space, {"a": Discrete(3)})
    with pytest.raises(DemonstrationsError, match=r"mask of 3 entries .*, expected 4"):
        Demonstrations(("a",), {"a": record()}, mask_space, {"a": Discrete(4)})
