"""Sampling of turns: histories of worlds at different rounds, the random stream, restores."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_amagail.player_functions import (
    HistoryPlayerFunction,
    IndependentStochastic,
    MarkovParticipation,
    StatePlayerFunction,
    Synchronous,
    paper_pattern,
)
from rllib_amagail.turn_sampler import TurnSampler

masks = st.lists(st.booleans(), min_size=3, max_size=3).map(np.array)
# What happens in turn to three worlds: a step or a reset of those in the mask.
schedules = st.lists(st.tuples(st.sampled_from(["step", "reset"]), masks), max_size=12)
memories = st.sampled_from([0, 1, 2, 5, None])


@given(schedules, memories, st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_function_is_shown_what_was_drawn_since_each_worlds_reset(schedule, memory, seed):
    shown = []

    def function(history):
        shown.append(history)
        return np.full((3, 2), 0.5)

    sampler = TurnSampler(
        HistoryPlayerFunction(function, 2, [0.5, 0.5], memory), 3, np.random.default_rng(seed)
    )
    played = [[vector.tolist()] for vector in sampler.reset()]
    for event, mask in schedule:
        if event == "reset":
            current = sampler.reset(mask)
        else:
            current = sampler.step(worlds=mask)
            history = shown.pop()
            assert history.rounds.tolist() == [len(vectors) for vectors in played]
            keep = max(len(vectors) for vectors in played) if memory is None else memory
            for world, vectors in enumerate(played):
                padded = [[False, False]] * keep + vectors
                assert history.participation[world].tolist() == padded[len(padded) - keep :]
        for world in np.flatnonzero(mask):
            kept = [] if event == "reset" else played[world]
            played[world] = [*kept, current[world].tolist()]
        assert sampler.rounds.tolist() == [len(vectors) - 1 for vectors in played]
        assert sampler.participation.tolist() == [vectors[-1] for vectors in played]


@given(schedules, schedules, memories, st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_sampling_goes_on_identically_after_a_restore(before, after, memory, seed):
    def run(sampler, schedule):
        return [
            (sampler.step(worlds=mask) if event == "step" else sampler.reset(mask)).tolist()
            for event, mask in schedule
        ]

    def recent(history):  # 1 / (1 + number of turns in memory): every kept vector matters
        return 1.0 / (1.0 + history.participation.sum(axis=1))

    player_function = HistoryPlayerFunction(recent, 2, [0.5, 0.5], memory)
    original = TurnSampler(player_function, 3, np.random.default_rng(seed))
    original.reset()
    run(original, before)
    state = original.get_state()
    untouched = copy.deepcopy(state)
    expected = run(original, after)

    restored = TurnSampler(player_function, 3, np.random.default_rng(seed + 1))
    restored.set_state(state)
    assert run(restored, after) == expected
    np.testing.assert_equal(state, untouched)


def test_state_before_the_first_reset_can_be_restored():
    original = TurnSampler(IndependentStochastic([0.5]), 20, np.random.default_rng(1))
    restored = TurnSampler(IndependentStochastic([0.5]), 20, np.random.default_rng(2))
    restored.set_state(original.get_state())
    assert restored.reset().tolist() == original.reset().tolist()


def test_state_shares_no_array_with_the_sampler():
    sampler = TurnSampler(MarkovParticipation([1], [1], [1]), 1, np.random.default_rng(0))
    sampler.reset()
    sampler.step()
    state = sampler.get_state()
    expected = copy.deepcopy(state)
    for name in ("rounds", "participation", "past"):
        state[name][:] = 0
    np.testing.assert_equal(sampler.get_state(), expected)

    given_state = sampler.get_state()
    sampler.set_state(given_state)
    for name in ("rounds", "participation", "past"):
        given_state[name][:] = 0
    np.testing.assert_equal(sampler.get_state(), expected)


class AlwaysZero(np.random.Generator):
    """Draws the smallest number that `random` can return."""

    def random(self, size):
        return np.zeros(size)


def test_probability_zero_never_participates():
    never = IndependentStochastic([0.0, 1e-9])
    sampler = TurnSampler(never, 1, AlwaysZero(np.random.PCG64(0)))
    assert sampler.reset().tolist() == [[False, True]]


def test_reset_draws_from_zeta_for_its_worlds_only():
    only_at_first = IndependentStochastic([0.0], initial=[1.0])
    sampler = TurnSampler(only_at_first, 2, np.random.default_rng(0))
    assert sampler.reset().tolist() == [[True], [True]]
    assert sampler.step().tolist() == [[False], [False]]
    assert sampler.reset(np.array([False, True])).tolist() == [[False], [True]]
    assert sampler.rounds.tolist() == [1, 0]


def test_random_stream_is_the_same_for_every_player_function_and_mask():
    streams = []
    for player_function in (Synchronous(3), paper_pattern(), IndependentStochastic([0.5] * 3)):
        rng = np.random.default_rng(0)
        sampler = TurnSampler(player_function, 2, rng)
        sampler.reset()
        sampler.step(worlds=np.array([True, False]))
        sampler.reset(np.array([False, True]))
        streams.append(rng.random())
    # Three draws of [2, 3] numbers came before.
    assert streams == [np.random.default_rng(0).random(3 * 2 * 3 + 1)[-1]] * 3


@pytest.mark.parametrize(("memory", "expected"), [(0, 0), (2, 2), (None, 40)])
def test_no_more_history_is_kept_than_the_memory_needs(memory, expected):
    player_function = HistoryPlayerFunction(lambda h: np.ones((1, 1)), 1, [1.0], memory)
    sampler = TurnSampler(player_function, 1, np.random.default_rng(0))
    sampler.reset()
    for _ in range(40):
        sampler.step()
    assert sampler.get_state()["past"].shape == (1, expected, 1)
    sampler.reset()
    sampler.step()
    assert sampler.get_state()["past"].shape == (1, 1 if memory is None else memory, 1)


def near_origin(history):
    return (np.abs(history.states) < 1.0).astype(float)


def test_state_function_gets_the_states_of_this_round():
    sampler = TurnSampler(
        StatePlayerFunction(near_origin, 2, [1.0, 1.0]), 2, np.random.default_rng(0)
    )
    sampler.reset()
    drawn = sampler.step(np.array([[0.5, 2.0], [3.0, -0.5]]))
    assert drawn.tolist() == [[True, False], [False, True]]
    assert sampler.step(np.array([[9.0, 9.0], [0.0, 0.0]])).tolist() == [[False] * 2, [True] * 2]


def test_states_are_hidden_from_functions_that_do_not_need_them():
    sampler = TurnSampler(Synchronous(1), 1, np.random.default_rng(0))
    sampler.reset()
    assert sampler.next_history(np.zeros((1, 4))).states is None


def test_step_needs_a_reset_of_every_world():
    sampler = TurnSampler(Synchronous(1), 3, np.random.default_rng(0))
    sampler.reset(np.array([True, False, True]))
    with pytest.raises(RuntimeError, match=r"worlds \[1\] were never reset"):
        sampler.step()


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (np.ones((2, 3)), r"shape \(2, 3\), expected \(2, 2\)"),
        (np.ones(2), r"shape \(2,\), expected \(2, 2\)"),
        (np.array([[1, 1], [0.5, 1.25]]), "1.25 for agent 1 of world 1 at round 1, expected"),
        (np.array([[1, 1], [np.nan, 1]]), "nan for agent 0 of world 1 at round 1"),
        (np.array([[1, -np.inf], [0, 1]]), "-inf for agent 1 of world 0 at round 1"),
    ],
)
def test_wrong_probabilities_are_named_and_leave_the_sampler_unchanged(returned, message):
    player_function = HistoryPlayerFunction(lambda history: returned, 2, [0.5, 0.5])
    sampler = TurnSampler(player_function, 2, np.random.default_rng(0))
    sampler.reset()
    before = sampler.get_state()
    with pytest.raises(ValueError, match=message):
        sampler.step()
    np.testing.assert_equal(sampler.get_state(), before)


class WrongStart(Synchronous):
    def initial_probabilities(self):
        return np.ones(3)


def test_sampler_refuses_wrong_arguments():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="batch_size is 0"):
        TurnSampler(Synchronous(2), 0, rng)
    with pytest.raises(ValueError, match=r"of WrongStart has shape \(3,\), expected \(2,\)"):
        TurnSampler(WrongStart(2), 2, rng)
    sampler = TurnSampler(StatePlayerFunction(near_origin, 2, [1, 1]), 2, rng)
    with pytest.raises(ValueError, match=r"int64 of shape \(1,\), expected a bool mask .* \(2,\)"):
        sampler.reset(np.array([1]))
    sampler.reset()
    with pytest.raises(ValueError, match=r"pass states of shape \(2, S\)"):
        sampler.step()
    with pytest.raises(ValueError, match=r"states has shape \(3, 2\), expected \(2, S\)"):
        sampler.step(np.zeros((3, 2)))


def test_set_state_refuses_the_state_of_another_sampler():
    def sampler(player_function, batch_size=2, generator=np.random.PCG64):
        return TurnSampler(player_function, batch_size, np.random.Generator(generator(0)))

    target = sampler(paper_pattern())
    with pytest.raises(ValueError, match=r"\(3, 3\).*expected.*\(2, 3\)"):
        target.set_state(sampler(paper_pattern(), batch_size=3).get_state())
    with pytest.raises(ValueError, match=r"\(2, 5\).*expected.*\(2, 3\)"):
        target.set_state(sampler(Synchronous(5)).get_state())
    with pytest.raises(ValueError, match=r"\(2, 1, 3\).*expected.*\(2, 0, 3\)"):
        target.set_state(sampler(MarkovParticipation([1] * 3, [1] * 3, [1] * 3)).get_state())
    with pytest.raises(ValueError, match="PCG64"):
        target.set_state(sampler(paper_pattern(), generator=np.random.MT19937).get_state())
    with pytest.raises(ValueError, match=r"lacks \['generator'\]"):
        target.set_state({"rounds": 0, "participation": 0, "past": 0})


def test_what_the_sampler_hands_out_is_read_only():
    sampler = TurnSampler(Synchronous(1), 1, np.random.default_rng(0))
    for array in (sampler.reset(), sampler.step(), sampler.rounds):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0
