"""Advantages on game time, against closed forms and RLlib's own estimator."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.rllib.utils.postprocessing.value_predictions import compute_value_targets

from rllib_amagail.advantages import turn_advantages


def test_one_turn_discounts_its_bootstrap_by_the_rounds_until_then() -> None:
    advantages = turn_advantages(
        rewards=np.array([1.0]),
        values=np.array([2.0]),
        bootstrap_values=np.array([10.0]),
        elapsed_rounds=np.array([3]),
        segment_starts=np.array([0, 1]),
        gamma=0.5,
        lambda_=0.9,
    )
    assert advantages.tolist() == [1.0 + 0.5**3 * 10.0 - 2.0]


def test_lambda_decays_by_turn_and_gamma_by_round() -> None:
    advantages = turn_advantages(
        rewards=np.array([1.0, 1.0]),
        values=np.zeros(2),
        bootstrap_values=np.zeros(1),
        elapsed_rounds=np.array([2, 1]),
        segment_starts=np.array([0, 2]),
        gamma=0.5,
        lambda_=0.8,
    )
    assert advantages.tolist() == pytest.approx([1.0 + 0.5**2 * 0.8 * 1.0, 1.0])


def test_lambda_one_gives_the_discounted_return_less_the_value() -> None:
    rewards, values = np.array([1.0, 2.0, 4.0]), np.array([0.5, -1.0, 3.0])
    advantages = turn_advantages(
        rewards,
        values,
        bootstrap_values=np.array([8.0]),
        elapsed_rounds=np.array([1, 2, 1]),
        segment_starts=np.array([0, 3]),
        gamma=0.5,
        lambda_=1.0,
    )
    # Turns in rounds 0, 1 and 3; the final observation in round 4.
    returns = [1 + 2 / 2 + 4 / 8 + 8 / 16, 2 + 4 / 4 + 8 / 8, 4 + 8 / 2]
    assert advantages.tolist() == pytest.approx((np.array(returns) - values).tolist())


def test_episodes_do_not_leak_into_each_other() -> None:
    def of(rewards: list[float], starts: list[int], bootstrap: list[float]) -> list[float]:
        count = len(rewards)
        return turn_advantages(
            np.array(rewards),
            np.linspace(-1, 1, count),
            np.array(bootstrap),
            np.ones(count, int),
            np.array(starts),
            gamma=0.9,
            lambda_=0.9,
        ).tolist()

    together = of([1.0, 2.0, 3.0, 4.0, 5.0], [0, 2, 5], [7.0, 9.0])
    changed = of([1.0, 2.0, 30.0, 40.0, 50.0], [0, 2, 5], [7.0, -9.0])
    assert together[:2] == changed[:2]
    assert together[2:] != changed[2:]


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    gamma=st.floats(0, 1),
    lambda_=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_rllibs_estimator_when_every_agent_acts_in_every_round(
    lengths: list[int], gamma: float, lambda_: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    rewards, values = rng.normal(size=(2, starts[-1]))
    bootstrap = rng.normal(size=len(lengths))
    ours = turn_advantages(
        rewards,
        values,
        bootstrap,
        np.ones(starts[-1], int),
        starts,
        gamma=gamma,
        lambda_=lambda_,
    )
    for j, (start, stop) in enumerate(pairwise(starts)):
        # RLlib wants the bootstrap value as a further row after the truncated one.
        theirs = compute_value_targets(
            values=np.append(values[start:stop], bootstrap[j]),
            rewards=np.append(rewards[start:stop], 0.0),
            terminateds=np.zeros(stop - start + 1),
            truncateds=np.append(np.zeros(stop - start - 1), [1.0, 0.0]),
            gamma=gamma,
            lambda_=lambda_,
        )
        expected = theirs[:-1] - values[start:stop]
        np.testing.assert_allclose(ours[start:stop], expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.zeros(3)}, r"values has shape \(3,\), expected \(2,\)"),
        ({"elapsed_rounds": np.ones((2, 1))}, r"elapsed_rounds has shape \(2, 1\)"),
        ({"bootstrap_values": np.zeros(2)}, "one per episode"),
        ({"segment_starts": np.array([0, 3])}, "rise strictly from 0 to the number of rows 2"),
    ],
)
def test_shapes_that_do_not_fit_are_named(change: dict[str, np.ndarray], message: str) -> None:
    arguments = {
        "rewards": np.zeros(2),
        "values": np.zeros(2),
        "bootstrap_values": np.zeros(1),
        "elapsed_rounds": np.ones(2),
        "segment_starts": np.array([0, 2]),
    }
    with pytest.raises(ValueError, match=message):
        turn_advantages(**(arguments | change), gamma=0.9, lambda_=0.9)
