"""Correlation of learned with true rewards."""

from __future__ import annotations

import numpy as np
import pytest

from rllib_amagail.correlations import ranks, reward_correlations
from rllib_amagail.learner.true_rewards import correlations_of_turns
from rllib_amagail.learner.turns import TurnBatch


def test_ranks_of_equal_numbers_are_their_mean() -> None:
    assert ranks(np.array([7.0, 3.0, 7.0, 9.0])).tolist() == [1.5, 0, 1.5, 3]


def test_pearson_is_of_the_numbers_and_spearman_of_their_order() -> None:
    true = np.array([0.0, 1.0, 2.0])
    found = reward_correlations({"a": 5 - 3 * true, "b": true**9}, {"a": true, "b": true})
    assert found["a"] == pytest.approx({"pearson": -1.0, "spearman": -1.0})
    # Deviations of (0, 1, 512) from their mean 171 are (-171, -170, 341): 512 / sqrt(2 * 174422).
    assert found["b"] == pytest.approx({"pearson": 512 / np.sqrt(2 * 174422), "spearman": 1.0})


@pytest.mark.parametrize("flat", [np.zeros(4), np.full(4, 0.1), np.zeros(0), np.ones(1)])
def test_nothing_correlates_with_what_never_varies(flat: np.ndarray) -> None:
    found = reward_correlations({"a": flat}, {"a": np.arange(len(flat)) * 1.0})["a"]
    assert np.isnan([found["pearson"], found["spearman"]]).all()


def test_other_turns_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2,\).*\(3,\)"):
        reward_correlations({"a": np.zeros(2)}, {"a": np.zeros(3)})
    with pytest.raises(ValueError, match=r"\['a'\].*\['b'\]"):
        reward_correlations({"a": np.zeros(2)}, {"b": np.zeros(2)})


def test_each_agent_of_a_shared_policy_has_its_own_and_only_of_its_turns() -> None:
    rows = np.zeros((7, 1), np.float32)
    turns = TurnBatch(
        observations=rows,
        actions=np.zeros(7, np.int64),
        action_logp=rows[:, 0],
        action_dist_inputs=rows,
        rewards=np.array([0, 1, 9, 2, 0, 1, 5], np.float32),
        rounds=np.arange(7),
        participates=np.array([True, True, False, True, True, True, True]),
        segment_starts=np.array([0, 4, 6, 7]),  # of a, b and c
        final_observations=np.zeros((3, 1), np.float32),
        final_rounds=np.array([4, 6, 7]),
        terminated=np.zeros(3, bool),
        agents=np.array(["a", "b", "c"], object),
        games=np.array(["g"] * 3, object),
    )
    found = correlations_of_turns(turns, np.array([0, 2, -5, 4, 1, 0, 3], np.float32))
    assert set(found) == {"a", "b"}  # one turn of c varies with nothing
    assert found["a"]["pearson"] == pytest.approx(1.0)
    assert found["b"]["spearman"] == pytest.approx(-1.0)
