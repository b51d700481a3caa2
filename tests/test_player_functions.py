"""Player functions: who acts, who may abstain, errors, JSON and equality."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_amagail.player_functions import (
    DeterministicPattern,
    History,
    HistoryPlayerFunction,
    IndependentStochastic,
    JointMarkovParticipation,
    MarkovParticipation,
    Synchronous,
    TurnSampler,
    paper_pattern,
    player_function_from_dict,
)


def nobody(history):
    return np.zeros((len(history.rounds), 2))


def swap_table():
    """Two agents: after (0, 1) comes (1, 0) and the reverse; (0, 0) and (1, 1) repeat."""
    return [[0, 0], [1, 0], [0, 1], [1, 1]]


VALUE_FUNCTIONS = [
    Synchronous(3),
    paper_pattern(),
    IndependentStochastic([0.5, 0.25, 1.0], initial=[0.0, 0.0, 1.0]),
    MarkovParticipation([0.1, 1.0], [0.9, 0.5], initial=[0.5, 1.0]),
    JointMarkovParticipation(swap_table(), initial=[0.0, 1.0]),
]


def draw(player_function, rounds, batch_size=2, seed=0):
    """`[rounds, B, N]` participation."""
    sampler = TurnSampler(player_function, batch_size, np.random.default_rng(seed))
    return np.array([sampler.reset()] + [sampler.step() for _ in range(rounds - 1)])


def test_synchronous_players_all_act_in_every_round():
    assert draw(Synchronous(2), rounds=3).tolist() == [[[True, True]] * 2] * 3


def test_the_papers_pattern():
    expected = [[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 0]]
    np.testing.assert_array_equal(draw(paper_pattern(), rounds=5, batch_size=1)[:, 0], expected)


def test_turns_of_the_papers_pattern_in_fifty_rounds():
    # 50 = 16 * 3 + 2 rounds: #1 acts in 50, #2 in 16 * 2 + 2 = 34, #3 in 16 + 1 = 17.
    counts = draw(paper_pattern(), rounds=50, batch_size=1)[:, 0].sum(axis=0)
    assert counts.tolist() == [50, 34, 17]


def test_independent_draws_are_uniform_numbers_below_the_probability():
    probability, initial = np.array([0.2, 0.7]), np.array([0.9, 0.0])
    drawn = draw(IndependentStochastic(probability, initial), rounds=3, batch_size=4, seed=5)
    uniform = np.random.default_rng(5).random((3, 4, 2))
    np.testing.assert_array_equal(drawn[0], uniform[0] < [0.9, 0.0])
    np.testing.assert_array_equal(drawn[1:], uniform[1:] < [0.2, 0.7])


def test_independent_initial_defaults_to_the_probability():
    assert IndependentStochastic([0.2, 0.7]).initial.tolist() == [0.2, 0.7]


def test_markov_agent_looks_at_its_own_last_round():
    # #1 alternates from a turn, #2 alternates from a pause, #3 acts for ever, #4 never does.
    player_function = MarkovParticipation(
        probability_after_turn=[0, 0, 1, 1],
        probability_after_pause=[1, 1, 0, 0],
        initial=[1, 0, 1, 0],
    )
    expected = [[1, 0, 1, 0], [0, 1, 1, 0], [1, 0, 1, 0], [0, 1, 1, 0]]
    np.testing.assert_array_equal(draw(player_function, rounds=4, batch_size=1)[:, 0], expected)


def test_joint_markov_row_is_the_last_vector_read_as_a_binary_number():
    table = np.zeros((8, 3))
    table[0b110] = [0, 0, 1]  # after #1 and #2, #3 acts
    table[0b001] = [1, 1, 0]  # after #3, #1 and #2 act
    drawn = draw(JointMarkovParticipation(table, [1, 1, 0]), rounds=4, batch_size=1)[:, 0]
    np.testing.assert_array_equal(drawn, [[1, 1, 0], [0, 0, 1], [1, 1, 0], [0, 0, 1]])


def test_history_function_that_lets_everybody_act_twice():
    def twice(history):
        return (history.participation.sum(axis=1) < 2).astype(float)

    drawn = draw(HistoryPlayerFunction(twice, 2, [1.0, 0.0]), rounds=5, batch_size=1)[:, 0]
    np.testing.assert_array_equal(drawn, [[1, 0], [1, 1], [0, 1], [0, 0], [0, 0]])


@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=3),
    st.lists(st.floats(0, 1), min_size=3, max_size=3),
    st.integers(0, 2**32),
)
@settings(max_examples=30, deadline=None)
def test_higher_probabilities_only_add_turns(first, second, seed):
    """Common random numbers: from one seed, raising probabilities never removes a turn."""
    low = draw(IndependentStochastic(np.minimum(first, second)), rounds=4, seed=seed)
    high = draw(IndependentStochastic(np.maximum(first, second)), rounds=4, seed=seed)
    assert (low <= high).all()


@pytest.mark.parametrize(
    ("player_function", "expected"),
    [
        (Synchronous(2), [False, False]),
        (paper_pattern(), [False, True, True]),
        (IndependentStochastic([1.0, 1.0, 0.5], [1.0, 0.5, 1.0]), [False, True, True]),
        # #1 always acts, so what it would do after a pause does not matter; #2 may start paused.
        (MarkovParticipation([1, 1, 0.9], [0, 0, 1], [1, 0.5, 1]), [False, True, True]),
        # From (1, 1) the swap never leaves (1, 1), though its other rows have zeros.
        (JointMarkovParticipation(swap_table(), [1, 1]), [False, False]),
        (JointMarkovParticipation(swap_table(), [1, 0]), [True, True]),
        (HistoryPlayerFunction(nobody, 2, [1.0, 1.0]), [True, True]),
    ],
)
def test_may_abstain_is_exact(player_function, expected):
    assert player_function.may_abstain().tolist() == expected


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=10, max_size=10))
@settings(max_examples=60, deadline=None)
def test_joint_may_abstain_agrees_with_following_all_vectors(numbers):
    table, initial = np.reshape(numbers[:8], (4, 2)), numbers[8:]

    def followers(row):
        return set(itertools.product(*({0: [0], 0.5: [0, 1], 1: [1]}[p] for p in row)))

    seen = followers(initial)
    for _ in range(4):  # four vectors exist, so four rounds reach all that can be reached
        seen |= {w for first, second in seen for w in followers(table[2 * first + second])}
    expected = [any(vector[agent] == 0 for vector in seen) for agent in range(2)]
    assert JointMarkovParticipation(table, initial).may_abstain().tolist() == expected


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Synchronous(0), "num_agents is 0"),
        (lambda: Synchronous(2.0), "num_agents is 2.0"),
        (lambda: DeterministicPattern([True, False]), r"pattern has shape \(2,\), expected \[P, N"),
        (lambda: DeterministicPattern(np.zeros((0, 3))), r"shape \(0, 3\)"),
        (lambda: DeterministicPattern([[0, 2]]), "only True and False"),
        (lambda: IndependentStochastic(0.5), r"probability has shape \(\), expected \[N\]"),
        (lambda: IndependentStochastic([0.5, 1.5]), r"probability\[1\] is 1.5 for agent 1"),
        (
            lambda: IndependentStochastic([0.5], [1, 1]),
            r"initial has shape \(2,\), expected \(1,\)",
        ),
        (lambda: MarkovParticipation([1], [1, 1], [1, 1]), r"after_turn has shape \(1,\)"),
        (lambda: MarkovParticipation([1], [-1], [1]), r"after_pause\[0\] is -1.0"),
        (lambda: JointMarkovParticipation(np.ones((3, 2)), [1, 1]), r"\(3, 2\), expected \(4, 2\)"),
        (lambda: HistoryPlayerFunction(nobody, 2, [1, 1], memory=-1), "memory is -1"),
        (lambda: HistoryPlayerFunction(nobody, 2, [1]), r"initial has shape \(1,\)"),
        (lambda: History(np.zeros(2), np.zeros((2, 0, 1), bool)), "rounds is float64"),
        (lambda: History(np.zeros(2, int), np.zeros((3, 0, 1), bool)), r"\(3, 0, 1\).*\(2, K, N"),
        (lambda: History(np.zeros(2, int), np.zeros((2, 0, 1))), "participation is float64"),
    ],
)
def test_wrong_parameters_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("player_function", VALUE_FUNCTIONS, ids=lambda f: type(f).__name__)
def test_player_function_survives_json(player_function):
    rebuilt = player_function_from_dict(json.loads(json.dumps(player_function.to_dict())))
    assert rebuilt == player_function
    assert hash(rebuilt) == hash(player_function)
    assert draw(rebuilt, rounds=6).tolist() == draw(player_function, rounds=6).tolist()


def test_player_functions_differ_by_type_and_by_any_parameter():
    functions = [
        *VALUE_FUNCTIONS,
        Synchronous(2),
        DeterministicPattern([[1, 1, 1]]),
        IndependentStochastic([0.5, 0.25, 1.0]),
        MarkovParticipation([0.1, 1.0], [0.9, 0.6], initial=[0.5, 1.0]),
    ]
    for first, second in itertools.combinations(functions, 2):
        assert first != second


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"type": "chess"}, "'chess'.*deterministic_pattern.*synchronous"),
        ({"num_agents": 3}, "None.*synchronous"),
        (HistoryPlayerFunction(nobody, 2, [1, 1]).to_dict(), "'history_callable'.*in code"),
        ({"type": "synchronous", "num_agents": 3, "n": 3}, r"unknown \['n'\].*\['num_agents'\]"),
        ({"type": "synchronous"}, r"lacks \['num_agents'\]"),
        ({"type": "independent_stochastic", "probability": [2.0]}, "2.0 for agent 0"),
    ],
)
def test_wrong_descriptions_are_named(description, message):
    with pytest.raises(ValueError, match=message):
        player_function_from_dict(description)


def test_parameters_are_copied_and_read_only():
    given_array = np.array([0.5, 0.5])
    player_function = IndependentStochastic(given_array)
    given_array[:] = 1.0
    assert player_function.probability.tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="read-only"):
        player_function.probability[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        paper_pattern().pattern[0] = False
