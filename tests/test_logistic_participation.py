"""A player function that is logistic in the state: a value, checked, and what its numbers mean."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_amagail.player_functions import (
    History,
    LogisticParticipation,
    MarkovParticipation,
    TurnSampler,
    player_function_from_dict,
)


def asked(
    function: LogisticParticipation, states: Any, last: Any, rounds: int = 1
) -> list[list[float]]:
    """Chances after `last` `[B, N]` in `states` `[B, S]`."""
    participation = np.array(last, bool)[:, None]
    history = History(np.full(len(participation), rounds), participation, np.array(states))
    return function.probabilities(history).tolist()


def test_chances_are_those_of_the_formula() -> None:
    function = LogisticParticipation(
        bias=[1.0, 0.0],
        turn_weights=[[-1.0, 0.0], [0.0, 2.0]],
        state_weights=[[0.5], [0.0]],
        initial=[1.0, 0.25],
        products=[[0, 0]],
        product_weights=[[0.0], [-1.0]],
    )
    # First agent: 1 - 1 + 0.5 * 2 = 1. Second: 2 - 2**2 = -2, and without its turn -4.
    chances = asked(function, [[2.0], [2.0]], [[1, 1], [1, 0]])
    first = 1 / (1 + math.exp(-1))
    expected = [[first, 1 / (1 + math.exp(2))], [first, 1 / (1 + math.exp(4))]]
    np.testing.assert_allclose(chances, expected)
    assert function.initial_probabilities().tolist() == [1.0, 0.25]


def test_products_express_a_distance() -> None:
    # 1 - (x_1 - x_2)**2, ten times: the agent acts where they are less than 1 apart.
    function = LogisticParticipation(
        [10.0], [[0.0]], [[0.0, 0.0]], [1.0], [[0, 0], [0, 1], [1, 1]], [[-10.0, 20.0, -10.0]]
    )
    near, far = asked(function, [[5.0, 5.5], [5.0, 7.0]], [[0], [0]])
    assert near[0] == pytest.approx(1 / (1 + math.exp(-7.5)))  # 10 * (1 - 0.25)
    assert far[0] == pytest.approx(1 / (1 + math.exp(30.0)))  # 10 * (1 - 4)


def test_large_logits_are_certain() -> None:
    function = LogisticParticipation([40.0, -40.0], np.zeros((2, 2)), [[1e9], [1e9]], [1.0, 0.0])
    assert asked(function, [[0.0], [1.0], [-1.0]], np.zeros((3, 2))) == [[1, 0], [1, 1], [0, 0]]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, [False, True]),
        ({"initial": [0.5, 1.0]}, [True, True]),
        ({"bias": [30.0, 0.0]}, [True, True]),
        ({"turn_weights": [[0.0, -1.0], [0.0, 0.0]]}, [True, True]),
        ({"state_weights": [[-1.0], [0.0]]}, [True, True]),
        ({"product_weights": [[-1.0], [0.0]]}, [True, True]),
    ],
)
def test_only_a_fixed_certain_turn_never_abstains(
    changed: dict[str, Any], expected: list[bool]
) -> None:
    settings = {
        "bias": [40.0, 0.0],
        "turn_weights": np.zeros((2, 2)),
        "state_weights": np.zeros((2, 1)),
        "initial": [1.0, 1.0],
        "products": [[0, 0]],
        **changed,
    }
    assert LogisticParticipation(**settings).may_abstain().tolist() == expected


@st.composite
def functions(draw: st.DrawFn) -> LogisticParticipation:
    num_agents, size, pairs = (draw(st.integers(low, 3)) for low in (1, 1, 0))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scale = draw(st.sampled_from([1e-3, 1.0, 1e6]))
    return LogisticParticipation(
        rng.normal(size=num_agents) * scale,
        rng.normal(size=(num_agents, num_agents)) * scale,
        rng.normal(size=(num_agents, size)) * scale,
        rng.random(num_agents),
        rng.integers(size, size=(pairs, 2)),
        rng.normal(size=(num_agents, pairs)) * scale,
        needs_actions=draw(st.booleans()),
    )


@settings(max_examples=50)
@given(functions())
def test_it_goes_through_json(function: LogisticParticipation) -> None:
    text = json.dumps(function.to_dict(), allow_nan=False)
    rebuilt = player_function_from_dict(json.loads(text))
    assert isinstance(rebuilt, LogisticParticipation)
    assert rebuilt == function
    assert rebuilt.needs_actions == function.needs_actions
    assert hash(rebuilt) == hash(function)
    other = json.loads(text)
    other["bias"][0] += 1.0
    assert player_function_from_dict(other) != function
    # What draws is the same, too, bit for bit.
    streams = [TurnSampler(f, 4, np.random.default_rng(0)) for f in (function, rebuilt)]
    states = np.random.default_rng(1).normal(size=(4, function.state_weights.shape[1]))
    for sampler in streams:
        sampler.reset()
    np.testing.assert_array_equal(*[sampler.step(states) for sampler in streams])


@settings(max_examples=50)
@given(functions(), st.integers(0, 2**32), st.sampled_from([0.0, 1.0, 1e3, 1e30]))
def test_chances_are_chances(function: LogisticParticipation, seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    states = (rng.normal(size=(7, function.state_weights.shape[1])) * scale).astype(np.float32)
    chances = np.array(asked(function, states, rng.random((7, function.num_agents)) < 0.5))
    assert chances.shape == (7, function.num_agents)
    assert ((chances >= 0.0) & (chances <= 1.0)).all()


def test_it_is_none_of_another_kind_and_does_not_change() -> None:
    function = LogisticParticipation([0.0], [[1.0]], [[0.0]], [0.5])
    assert function != MarkovParticipation([0.5], [0.5], [0.5])
    with pytest.raises(ValueError, match="read-only"):
        function.products[:] = 0
    with pytest.raises(ValueError, match="read-only"):
        function.state_weights[0, 0] = 1.0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bias": [0.0]}, r"bias is an array of shape \(1,\), expected finite .* \(2,\)"),
        ({"bias": [0.0, np.nan]}, "bias is an array with NaN or infinity"),
        ({"turn_weights": np.zeros((2, 1))}, r"turn_weights .* \(2, 1\), expected .* \(2, 2\)"),
        ({"state_weights": np.zeros((2, 0))}, r"state_weights has shape \(2, 0\), expected \[N, S"),
        ({"state_weights": np.zeros((3, 4))}, r"state_weights .* \(3, 4\), expected .* \(2, 4\)"),
        ({"initial": [0.5, 1.5]}, "1.5 for agent 1"),
        (
            {"products": [[0, 4]]},
            r"products are \[\[0, 4\]\], expected pairs \[P, 2\] of .* 0 to 3",
        ),
        ({"products": [[0, 0.5]]}, "expected pairs"),
        ({"products": [0, 1]}, "expected pairs"),
        ({"products": [[0, 1, 2]]}, "expected pairs"),
        ({"product_weights": [[1.0], [1.0]]}, r"product_weights .* \(2, 1\), expected .* \(2, 0\)"),
        ({"needs_actions": 1}, "needs_actions is 1, expected True or False"),
    ],
)
def test_other_arrays_are_refused(changed: dict[str, Any], message: str) -> None:
    settings = {
        "bias": [0.0, 0.0],
        "turn_weights": np.zeros((2, 2)),
        "state_weights": np.zeros((2, 4)),
        "initial": [0.5, 0.5],
        **changed,
    }
    with pytest.raises(ValueError, match=message):
        LogisticParticipation(**settings)


def test_states_of_another_simulator_are_refused() -> None:
    function = LogisticParticipation([0.0], [[0.0]], [[1.0, 1.0]], [0.5])
    with pytest.raises(ValueError, match=r"states: found shape \(1, 3\), expected \(B, 2\)"):
        asked(function, [[0.0, 0.0, 0.0]], [[0]])
