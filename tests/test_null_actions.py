"""Null actions and phi, as `TurnBasedEnv` executes and offers them."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete

from rllib_amagail.envs.null_actions import observation_space_with_phi
from rllib_amagail.envs.turn_based_env import TurnBasedEnv
from rllib_amagail.player_functions import DeterministicPattern
from tests.turn_based_toys import ParallelToy, pattern

ALL = pattern("abc")


def executed(toy, actions, player_function, **settings):
    """What `toy` executes for b when b chooses `actions`, one a round."""
    env = TurnBasedEnv(toy, player_function, **settings)
    env.reset()
    for action in actions:
        env.step({"a": toy.action_space("a").sample(), "b": action})
    return [np.asarray(played["b"]).tolist() for played in toy.executed]


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (Discrete(3), 0),
        (Discrete(3, start=-1), -1),
        (MultiDiscrete([2, 3]), [0, 0]),
        (MultiDiscrete([2, 3], start=[5, -1]), [5, -1]),
        (Box(-1, 1, (2,), np.float32), [0.0, 0.0]),
        (Box(np.array([0.5, -2.0]), np.array([1.0, -1.0]), dtype=np.float64), [0.5, -1.0]),
    ],
)
def test_zero_is_the_first_action_or_zeros_clipped_into_the_box(space, expected):
    toy = ParallelToy(action_space=space)
    assert executed(toy, [None], pattern("a")) == [expected]
    assert space.contains(toy.executed[0]["b"])


def test_zero_is_the_first_action_that_the_mask_allows():
    # Round t allows action t and the last one; round 3 allows none.
    masks = [[1, 0, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0]]
    toy = ParallelToy(mask=lambda t: masks[min(t, 3)], action_space=Discrete(3, start=10))
    assert executed(toy, [None] * 4, pattern("a")) == [10, 11, 12, 10]


def test_every_component_has_its_own_part_of_the_mask():
    toy = ParallelToy(mask=lambda t: [0, 1, 0, 0, 1], action_space=MultiDiscrete([2, 3]))
    assert executed(toy, [None], pattern("a")) == [[1, 2]]


def test_previous_repeats_the_last_executed_action():
    toy = ParallelToy(horizon=6)
    acts = pattern("a", "ab", "a", "a", "ab", "a")
    assert executed(toy, [None, 2, None, None, 1, None], acts, null_action="previous") == [
        0,  # nothing to repeat yet
        *[2, 2, 2],
        *[1, 1],
    ]


def test_previous_does_not_outlive_the_episode():
    toy = ParallelToy(horizon=2)
    env = TurnBasedEnv(toy, pattern("a", "ab"), null_action="previous")
    for _ in range(2):
        env.reset()
        env.step({"a": 0})
        env.step({"a": 0, "b": 2})
        assert [played["b"] for played in toy.executed] == [0, 2]


def test_previous_falls_back_to_zero_where_the_mask_forbids_it():
    toy = ParallelToy(mask=lambda t: [1, 1, t != 2])
    acts = pattern("ab", "a", "a", "a")
    # Action 2 is forbidden in round 2; round 3 repeats what was executed then.
    assert executed(toy, [2, None, None, None], acts, null_action="previous") == [2, 2, 0, 0]


def test_a_mapping_gives_each_agent_its_own():
    toy = ParallelToy()
    env = TurnBasedEnv(toy, pattern("a"), null_action={"a": 0, "b": 2, "c": 1})
    env.reset()
    env.step({"a": 2})
    assert toy.executed == [{"a": 2, "b": 2, "c": 1}]


@pytest.mark.parametrize(
    ("null_action", "message"),
    [
        ("none", "null_action is 'none', expected 'zero', 'previous' or a mapping"),
        ({"b": 0}, r"actions for \['b'\], expected one for each of \['b', 'c'\]"),
        ({"b": 0, "c": 0, "d": 0}, "nobody besides"),
        ({"b": 0, "c": 3}, "null_action of agent 'c', row 0: found 3 .* expected 0 to 2"),
    ],
)
def test_unusable_null_actions_are_refused(null_action, message):
    with pytest.raises(ValueError, match=message):
        TurnBasedEnv(ParallelToy(), pattern("abc", "a"), null_action=null_action)


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(
        ValueError, match="agent 'a' observes an action mask of 2 entries, expected 3"
    ):
        TurnBasedEnv(ParallelToy(mask=lambda t: [1, 1]), ALL)


def test_phi_is_the_last_action_of_those_that_may_abstain():
    env = TurnBasedEnv(
        ParallelToy(action_space=Discrete(3, start=5)),
        DeterministicPattern([[True, True, False], [True, False, True]]),
        phi_is_action=True,
    )
    assert env.may_abstain == {"a": False, "b": True, "c": True}
    assert env.action_spaces == {
        "a": Discrete(3, start=5),
        "b": Discrete(4, start=5),
        "c": Discrete(4, start=5),
    }
    assert [env.phi_action(agent) for agent in "abc"] == [None, 8, 8]
    assert TurnBasedEnv(ParallelToy(), ALL).phi_action("a") is None


def test_phi_applies_the_null_action_whoever_chooses_it():
    toy = ParallelToy(horizon=3)
    env = TurnBasedEnv(
        toy, pattern("ab", "b", "a"), phi_is_action=True, null_action={"a": 2, "b": 2, "c": 2}
    )
    env.reset()
    rewards = []
    for choices in ({"a": 3, "b": 1, "c": 1}, {"a": 1, "b": 3, "c": 3}, {"a": 0, "b": 0, "c": 0}):
        observations, earned, *_ = env.step(choices)
        assert list(observations) == ["a", "b", "c"]
        rewards.append([earned[agent] for agent in "abc"])
    assert [list(played.values()) for played in toy.executed] == [[2, 1, 2], [2, 2, 2], [0, 2, 2]]
    # Participation decides on rewards, not the choice of phi.
    assert rewards == [[1, 1, 0], [0, 2, 0], [4, 0, 0]]


def test_the_mask_allows_phi():
    env = TurnBasedEnv(
        ParallelToy({"b": (0, "terminated")}, mask=lambda t: [1, 0, 0]),
        pattern("ac", "bc"),
        phi_is_action=True,
    )
    observations, _ = env.reset()
    for _ in range(2):
        # The second time, b observes its end.
        for agent, space in env.observation_spaces.items():
            assert observations[agent]["action_mask"].tolist() == [1, 0, 0] + [1] * (agent != "c")
            assert space.contains(observations[agent])
        observations, *_ = env.step(dict.fromkeys("abc", 0))


@pytest.mark.parametrize(
    ("mask", "extended"),
    [
        (MultiBinary(2), MultiBinary(3)),
        (Box(0, 1, (2,), np.int8), Box(0, 1, (3,), np.int8)),
        (Box(0, 1, (2,), np.float32), Box(0, 1, (3,), np.float32)),
    ],
)
def test_the_mask_space_grows_and_keys_keep_their_order(mask, extended):
    parts = [("z", Discrete(2)), ("action_mask", mask), ("b", Discrete(2))]
    found = observation_space_with_phi(Dict(parts))
    assert list(found.spaces.items()) == [("z", Discrete(2)), ("action_mask", extended), parts[2]]


def test_phi_cannot_extend_other_spaces():
    toy = ParallelToy(action_space=Box(-1, 1, (2,), np.float32))
    with pytest.raises(
        ValueError, match=r"agent 'b' has .* expected Discrete.* leave phi_is_action"
    ):
        TurnBasedEnv(toy, pattern("ab", "a"), phi_is_action=True)
