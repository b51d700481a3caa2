"""The joint states of recordings are what the environment shows to player functions."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from rllib_amagail import DemonstrationsError, TurnBasedEnv
from rllib_amagail.demonstrations.joint_states import joint_states_of
from rllib_amagail.player_functions import History, IndependentStochastic, StatePlayerFunction
from tests.demonstration_samples import example
from tests.turn_based_toys import TERMINATED, ParallelToy
from tests.turn_order_samples import recorded


def test_states_are_those_that_the_environment_shows(tmp_path: Path) -> None:
    seen: dict[bool, list[np.ndarray]] = {False: [], True: []}
    choices = np.random.default_rng(0)
    for needs_actions, states in seen.items():

        def function(history: History, states: list[np.ndarray] = states) -> np.ndarray:
            assert history.states is not None
            states.append(history.states[0])
            return np.full((1, 3), 0.5)

        toy = ParallelToy(horizon=5, mask=lambda t: [1, t % 2, 1])
        turns = StatePlayerFunction(function, 3, [1.0, 0.5, 0.5], needs_actions=needs_actions)
        env = TurnBasedEnv(toy, turns, show_everyone=True)
        choose = lambda agent: int(choices.choice([0, 2]))  # noqa: E731
        demonstrations = recorded(env, tmp_path / str(needs_actions), 4, choose)
        found = joint_states_of(demonstrations, needs_actions=needs_actions)
        assert [len(episode) for episode in found] == [5] * 4
        # Three agents with one number, three entries of a mask and, if asked for, an action.
        assert found[0].shape[1] == 3 * (4 + needs_actions)
        shown = np.reshape(states, (4, 4, -1))  # in all rounds but the first
        np.testing.assert_array_equal(np.stack(found)[:, 1:], shown)
        assert not any(episode[0, 12:].any() for episode in found)  # nobody has acted yet
        assert found[0][:, 0].tolist() == [0, 1, 2, 3, 4]


def test_sparse_recordings_are_refused() -> None:
    dense = example()
    assert [s.tolist() for s in joint_states_of(dense)] == [
        [[0, 5], [1, 6], [2, 7]],
        [[3, 8], [4, 9]],
    ]
    turns = {agent: record.turns() for agent, record in dense.records.items()}
    sparse = dataclasses.replace(dense, records=turns)
    message = "found 3 rows of 'a' in 5 rounds, expected one in every round"
    with pytest.raises(DemonstrationsError, match=message):
        joint_states_of(sparse)
    with pytest.raises(DemonstrationsError, match="one in 2 turns kept"):
        joint_states_of(dense.subsample(2, np.random.default_rng(0)))
    with pytest.raises(DemonstrationsError, match="found actions nowhere, expected one shape"):
        joint_states_of(dense.without_actions(), needs_actions=True)


def test_agents_that_end_before_others_are_refused(tmp_path: Path) -> None:
    toy = ParallelToy({"b": (1, TERMINATED)}, horizon=4)
    recording = recorded(
        TurnBasedEnv(toy, IndependentStochastic([1.0, 0.5, 0.5]), show_everyone=True), tmp_path, 1
    )
    with pytest.raises(DemonstrationsError, match="found 2 rows of 'b' in 4 rounds"):
        joint_states_of(recording)
