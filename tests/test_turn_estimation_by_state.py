"""Turn orders that depend on the state: recorded, learned, and driving a simulator without any."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from rllib_amagail import TurnBasedEnv
from rllib_amagail.demonstrations.joint_states import joint_states_of
from rllib_amagail.demonstrations.participation import participation_of
from rllib_amagail.player_functions import (
    History,
    LogisticParticipation,
    MarkovParticipation,
    StatePlayerFunction,
    Synchronous,
)
from rllib_amagail.turn_estimation import candidates, estimate_player_function
from rllib_amagail.turn_estimation_by_state import logistic_regression
from tests.turn_order_samples import BY_STATE, Batteries, drawn, errors, recorded

DOCS = Path(__file__).parent.parent / "docs"


def test_newton_finds_where_the_likelihood_is_highest() -> None:
    # With the feature at 1 two of three happened, at -1 one of three: logits ln 2 and -ln 2.
    design = np.array([[1.0, 1], [1, 1], [1, 1], [1, -1], [1, -1], [1, -1]])
    happened = np.array([True, True, False, True, False, False])
    np.testing.assert_allclose(logistic_regression(design, happened), [0.0, np.log(2.0)], atol=1e-4)


def test_chances_come_closer_with_more_rounds() -> None:
    mean = []
    for episodes in (20, 20 * 64):
        estimate = estimate_player_function(*drawn(BY_STATE, episodes, 50))
        assert isinstance(estimate.player_function, LogisticParticipation)
        mean.append(errors(estimate.player_function, BY_STATE).mean())
    # A logit of four features and 1,000 rounds of variance 0.2 has a standard error of about
    # sqrt(4 / 200) = 0.14, a chance at most a quarter of it; 64 times the rounds, an eighth.
    assert mean[0] < 0.04
    assert mean[1] < mean[0] / 4


def near(history: History) -> np.ndarray:
    """The first acts while the second is near it, the second at every state above 0.3."""
    assert history.states is not None
    gap = history.states[:, 0] - history.states[:, 1]
    return np.stack([gap**2 < 1.0, history.states[:, 1] > 0.3], axis=1).astype(float)


def test_an_order_that_is_certain_is_found() -> None:
    truth = StatePlayerFunction(near, 2, [0.5, 0.5], memory=1)
    estimate = estimate_player_function(*drawn(truth, 100, 50))
    found = estimate.player_function
    assert isinstance(found, LogisticParticipation)
    assert found.products.tolist() == [[0, 0], [0, 1], [1, 1]]
    # Weights are finite, so there is a strip around the border in which turns are by chance.
    wrong = errors(found, truth)
    assert wrong.mean() < 0.005
    assert (wrong > 0.01).mean() < 0.02


def test_an_order_that_does_not_depend_on_the_state_is_said_so() -> None:
    truth = MarkovParticipation([0.2, 0.9], [0.7, 0.4], [0.5, 0.5])
    participation, noise = drawn(truth, 100, 50)
    # States that follow from past turns, as those of any game do, and tell nothing beside them.
    follow = [np.cumsum(episode, axis=0) - episode for episode in participation]
    for states in (noise, follow):
        found = estimate_player_function(participation, states).player_function
        assert type(found) is MarkovParticipation
        assert found == estimate_player_function(participation).player_function


def test_certain_agents_stay_certain() -> None:
    weights = [[0.0, 0.0], [3.0, 0.0]]
    for bias, initial in ((40.0, 1.0), (-40.0, 0.0)):
        truth = LogisticParticipation(
            [bias, 0.0], np.zeros((2, 2)), weights, initial=[initial, 0.5]
        )
        found = estimate_player_function(*drawn(truth, 20, 50)).player_function
        assert isinstance(found, LogisticParticipation)
        assert found.bias[0] == bias
        assert found.may_abstain().tolist() == [bias < 0, True]


def test_what_repeats_other_columns_is_no_parameter() -> None:
    participation, states = drawn(BY_STATE, 40, 50)
    rounding = 1000.0 + 1e-5 * np.random.default_rng(0).normal(size=(50, 2))
    repeated = [np.concatenate([s, s[:, :1] - s[:, 1:], rounding], axis=1) for s in states]
    few, many = (
        next(
            e
            for e in candidates(participation, columns)
            if isinstance(e.player_function, LogisticParticipation)
        )
        for columns in (states, repeated)
    )
    # Two agents: chance in round 0; after it a bias, two last turns and two states.
    assert few.num_parameters == many.num_parameters == 2 * (1 + 1 + 2 + 2)
    assert many.log_likelihood == pytest.approx(few.log_likelihood, abs=1e-3)
    assert not many.player_function.state_weights[:, 3:].any()


def test_one_episode_and_one_agent_are_enough() -> None:
    truth = LogisticParticipation([0.0], [[0.0]], [[3.0]], [0.5])
    participation, states = drawn(truth, 1, 500, size=1)
    found = estimate_player_function(participation, states).player_function
    assert isinstance(found, LogisticParticipation)
    assert 2.0 < found.state_weights[0, 0] < 4.0


def test_few_rounds_prove_nothing() -> None:
    # Three features explain the four later rounds of an episode whatever they are.
    rng = np.random.default_rng(0)
    for _ in range(50):
        participation, states = rng.random((5, 1)) < 0.5, rng.normal(size=(5, 3))
        found = estimate_player_function([participation], [states]).player_function
        assert not isinstance(found, LogisticParticipation)


def test_rounds_without_a_second_one_show_no_dependence() -> None:
    participation, states = drawn(BY_STATE, 50, 1)
    found = list(candidates(participation, states))
    assert found
    assert not any(isinstance(e.player_function, LogisticParticipation) for e in found)


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ([np.zeros((3, 2))], r"states are of 1 episodes, expected 2"),
        ([np.zeros((3, 2)), np.zeros((3, 2))], r"episode 1 are .* \(3, 2\), expected .* \(2, S\)"),
        ([np.zeros((3, 2)), np.zeros((2, 1))], "with the same S >= 1"),
        ([np.zeros((3, 0)), np.zeros((2, 0))], "with the same S >= 1"),
        ([np.zeros(3), np.zeros(2)], r"float64 of shape \(3,\), expected numbers"),
        ([np.zeros((3, 1), str), np.zeros((2, 1), str)], "expected numbers"),
        (
            [np.zeros((3, 1)), np.array([[0.0], [np.inf]])],
            "episode 1 have inf in round 1, column 0, expected finite",
        ),
    ],
)
def test_other_states_are_refused(states: list[np.ndarray], message: str) -> None:
    participation = [np.ones((3, 2), bool), np.ones((2, 2), bool)]
    with pytest.raises(ValueError, match=message):
        estimate_player_function(participation, states)
    with pytest.raises(ValueError, match="needs_actions without states"):
        estimate_player_function(participation, needs_actions=True)


def test_a_simulator_is_driven_by_what_was_learned(tmp_path: Path) -> None:
    env = TurnBasedEnv(Batteries(), BY_STATE, show_everyone=True)
    experts = recorded(env, tmp_path / "experts", 80)
    _, _, page = (DOCS / "your_own_game.md").read_text().partition("A simulator that knows no turn")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {"demonstrations": experts, "my_simulator": Batteries(), "TurnBasedEnv": TurnBasedEnv}
    exec("\n".join(blocks[:2]), names)
    found = names["estimate"].player_function
    assert isinstance(found, LogisticParticipation)
    assert names["env"].player_function is found
    assert errors(found, BY_STATE).mean() < 0.03  # 4,000 rounds, see above

    driven = recorded(TurnBasedEnv(Batteries(), found, show_everyone=True), tmp_path / "driven", 80)
    shares = []
    for one in (experts, driven):
        acts, states = (
            np.concatenate(rows) for rows in (participation_of(one), joint_states_of(one))
        )
        shares.append([acts[(states[:, i] > 0) == up, i].mean() for i in (0, 1) for up in (0, 1)])
    # Of each agent with low and high charge: about 2,000 turns and pauses each, so a difference of
    # two shares has a standard error of 0.016, and rounds that depend on each other count for less.
    np.testing.assert_allclose(*shares, atol=0.07)
    assert shares[0][1] - shares[0][0] > 0.2  # x works when it is charged
    assert shares[0][2] - shares[0][3] > 0.2  # y when it is not


def test_past_actions_decide_about_turns(tmp_path: Path) -> None:
    def whoever_did_not_work_acts(history: History) -> np.ndarray:
        assert history.states is not None
        return np.where(history.states[:, 2:] == 1, 0.1, 0.9)

    choices = np.random.default_rng(0)
    turns = StatePlayerFunction(whoever_did_not_work_acts, 2, [1.0, 1.0], needs_actions=True)
    env = TurnBasedEnv(Batteries(), turns, show_everyone=True)
    experts = recorded(env, tmp_path, 20, lambda agent: int(choices.integers(2)))
    states = joint_states_of(experts, needs_actions=True)
    estimate = estimate_player_function(participation_of(experts), states, needs_actions=True)
    found = estimate.player_function
    assert isinstance(found, LogisticParticipation)
    assert found.needs_actions
    # From 0.9 to 0.1 is a step of -2 ln 9 = -4.4 for the own action, which stands last.
    own = found.state_weights[[0, 1], [2, 3]]
    np.testing.assert_allclose(own, -2 * np.log(9), atol=1.2)
    driven = recorded(TurnBasedEnv(Batteries(), found, show_everyone=True), tmp_path / "new", 20)
    # Who always works acts one round in two: 0.9 after a pause, 0.1 after a turn.
    shares = np.concatenate(participation_of(driven)).mean(axis=0)
    np.testing.assert_allclose(shares, 0.5, atol=0.06)


def test_everybody_always_needs_no_states() -> None:
    participation, states = drawn(Synchronous(2), 10, 20)
    assert estimate_player_function(participation, states).player_function == Synchronous(2)
