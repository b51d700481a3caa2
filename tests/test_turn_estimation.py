"""Player functions learned from who participated when."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from rllib_amagail import DemonstrationsError, TurnBasedEnv
from rllib_amagail.demonstrations.participation import participation_of
from rllib_amagail.experts import expert_demonstrations
from rllib_amagail.player_functions import (
    DeterministicPattern,
    IndependentStochastic,
    JointMarkovParticipation,
    MarkovParticipation,
    PlayerFunction,
    Synchronous,
    TurnSampler,
    paper_pattern,
)
from rllib_amagail.turn_estimation import TurnEstimate, candidates, estimate_player_function
from tests.demonstration_samples import example
from tests.turn_based_toys import ParallelToy


def rounds(*rows: str) -> np.ndarray:
    """`[T, N]` from "10", "01": one string a round."""
    return np.array([[letter == "1" for letter in row] for row in rows])


def of_kind(kind: type, participation: list[np.ndarray]) -> TurnEstimate:
    (found, *_) = [e for e in candidates(participation) if type(e.player_function) is kind]
    return found


def played(player_function: PlayerFunction, episodes: int, length: int) -> list[np.ndarray]:
    sampler = TurnSampler(player_function, episodes, np.random.default_rng(0))
    drawn = [sampler.reset().copy()] + [sampler.step().copy() for _ in range(length - 1)]
    return list(np.stack(drawn, axis=1))


def test_chances_are_shares_of_rounds() -> None:
    estimate = of_kind(IndependentStochastic, [rounds("11", "10", "11", "10")])
    assert estimate.player_function.probability.tolist() == [1.0, 0.5]
    # Four rounds of the second agent at one half each; the first agent is certain.
    assert estimate.log_likelihood == pytest.approx(4 * math.log(0.5))
    assert (estimate.num_parameters, estimate.num_draws) == (2, 8)
    assert estimate.bic == pytest.approx(2 * math.log(8) - 8 * math.log(0.5))


def test_chances_depend_on_the_own_last_round() -> None:
    # After a turn: turn, pause, pause. After a pause: turn, turn, pause.
    estimate = of_kind(MarkovParticipation, [rounds("1", "1", "0", "1", "0", "0", "1")])
    function = estimate.player_function
    assert function.initial.tolist() == [1.0]
    np.testing.assert_allclose(function.probability_after_turn, [1 / 3])
    np.testing.assert_allclose(function.probability_after_pause, [2 / 3])
    # Two of three in either case, twice the likely outcome and once the other.
    assert estimate.log_likelihood == pytest.approx(4 * math.log(2 / 3) + 2 * math.log(1 / 3))


def test_chances_depend_on_everybodys_last_round() -> None:
    episodes = [rounds("10", "01", "10", "11"), rounds("10", "01")]
    function = of_kind(JointMarkovParticipation, episodes).player_function
    assert function.table[0b10].tolist() == [1 / 3, 1.0]  # followed by 01, 11 and 01
    assert function.table[0b01].tolist() == [1.0, 0.0]  # followed by 10
    assert function.table[0b11].tolist() == [0.5, 0.75]  # never followed: the shares overall
    assert function.initial.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    "player_function",
    [
        Synchronous(3),
        paper_pattern(),
        DeterministicPattern(np.eye(2, dtype=bool)),
        IndependentStochastic(np.array([0.5, 0.25, 1.0])),
        IndependentStochastic(np.array([0.5, 0.5]), initial=np.array([1.0, 0.0])),
        MarkovParticipation(np.array([0.1, 0.5]), np.array([0.8, 0.5]), np.array([0.5, 0.5])),
        JointMarkovParticipation(
            np.array([[0.5, 0.5], [0.9, 0.1], [0.1, 0.9], [0.3, 0.3]]), np.array([0.5, 0.5])
        ),
    ],
    ids=lambda f: f.type_name,
)
def test_the_kind_that_played_is_found(player_function: PlayerFunction) -> None:
    estimate = estimate_player_function(played(player_function, episodes=100, length=50))
    found = estimate.player_function
    assert type(found) is type(player_function)
    if isinstance(player_function, Synchronous | DeterministicPattern):
        assert found == player_function
        return
    for name, values in player_function.to_dict().items():
        if name != "type":
            # 100 first rounds, and at least 400 others for each number.
            tolerance = 0.2 if name == "initial" else 0.1
            np.testing.assert_allclose(getattr(found, name), values, atol=tolerance)


def test_a_pattern_must_be_seen_twice() -> None:
    once = [rounds("10", "01", "11")]
    assert not any(isinstance(e.player_function, DeterministicPattern) for e in candidates(once))
    twice = [rounds("10", "01", "10", "01"), rounds("10", "01", "10")]
    assert estimate_player_function(twice).player_function == DeterministicPattern(
        np.eye(2, dtype=bool)
    )


def test_likelihoods_are_those_of_the_player_functions_themselves() -> None:
    truth = MarkovParticipation(np.array([0.2, 0.9]), np.array([0.7, 0.4]), np.array([0.5, 0.5]))
    episodes = played(truth, episodes=20, length=10)
    for estimate in candidates(episodes):
        function, total = estimate.player_function, 0.0
        for episode in episodes:
            sampler = TurnSampler(function, 1, np.random.default_rng(0))
            chances = function.initial_probabilities()
            for number, drawn in enumerate(episode):
                if number:
                    sampler._participation = episode[None, number - 1]
                    chances = function.probabilities(sampler.next_history())[0]
                    sampler._rounds = sampler._rounds + 1
                else:
                    sampler.reset()
                total += np.log(np.where(drawn, chances, 1 - chances)).sum()
        assert estimate.log_likelihood == pytest.approx(total)


@pytest.mark.parametrize(
    ("participation", "message"),
    [
        ([], "found no episodes"),
        ([np.ones((3, 2))], r"episode 0 is float64 of shape \(3, 2\), expected bool"),
        ([np.ones((3, 2), bool), np.ones((3, 1), bool)], "with the same N in all episodes"),
        ([np.ones((0, 2), bool)], r"of shape \(0, 2\), expected bool"),
    ],
)
def test_other_arrays_are_refused(participation: list[np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimate_player_function(participation)


def test_participation_comes_from_dense_and_sparse_recordings() -> None:
    dense = example()
    expected = [rounds("10", "01", "11"), rounds("10", "01")]
    turns = {agent: record.turns() for agent, record in dense.records.items()}
    sparse = dataclasses.replace(dense, records=turns)
    for demonstrations in (dense, sparse):
        found = participation_of(demonstrations)
        assert [episode.tolist() for episode in found] == [e.tolist() for e in expected]


def test_participation_is_not_guessed_where_turns_were_left_out() -> None:
    thinned = example().subsample(2, np.random.default_rng(0))
    with pytest.raises(DemonstrationsError, match="one in 2 turns kept, expected all turns"):
        participation_of(thinned)


def test_a_simulator_is_driven_by_recorded_turns() -> None:
    recorded = paper_pattern()
    demonstrations = expert_demonstrations("deterministic_cooperative_navigation", 3, seed=0)
    estimate = estimate_player_function(participation_of(demonstrations))
    assert estimate.player_function == recorded
    env = TurnBasedEnv(ParallelToy(horizon=6), estimate.player_function)
    asked = [sorted(env.reset(seed=0)[0])]
    for _ in range(5):
        observations = env.step(dict.fromkeys(asked[-1], 0))[0]
        asked.append(sorted(observations))
    assert asked == [["a", "b", "c"], ["a", "b"], ["a"]] * 2
