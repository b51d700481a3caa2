"""Numbers that are not finite end a run before anybody uses them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rllib_amagail.learner.finite import FiniteWatch, require_finite
from rllib_amagail.learner.learner_group import LearnerLostError, failure_of
from tests.fault_toys import FaultyBatchedEnv, faulty_config
from tests.test_algorithm import small_config

pytestmark = pytest.mark.faults


def watched(columns: dict[str, Any], error: Exception | None = None) -> None:
    with require_finite("left", distributed=False) as watch:
        watch.saw(columns)
        if error is not None:
            raise error


def test_the_first_of_the_numbers_and_the_statistics_of_all_are_told() -> None:
    """3 finite rewards 1, 2, 3: mean 2, deviation sqrt(2 / 3) = 0.816."""
    columns = {
        "observations": np.zeros((2, 3), np.float32),
        "rewards": np.array([1.0, np.inf, 2.0, 3.0, np.nan]),
        "loss": torch.tensor(math.nan),
    }
    with pytest.raises(FloatingPointError) as error:
        watched(columns)
    message = str(error.value)
    assert message.startswith("rewards of module 'left' not finite; expected finite numbers.")
    assert "observations have mean 0, deviation 0, 0 of 6 not finite" in message
    assert "rewards have mean 2, deviation 0.816, 2 of 5 not finite" in message
    assert "loss have mean nan, deviation nan, 1 of 1 not finite" in message


def test_weights_are_looked_at_in_the_end() -> None:
    layer = torch.nn.Linear(2, 1)
    watch = FiniteWatch("left")
    watch.saw({"weights": layer})
    assert watch.fault() is None
    layer.bias.data.fill_(math.inf)
    assert "1 of 3 not finite" in (watch.fault() or "")


def test_an_error_of_numbers_that_are_not_finite_tells_them() -> None:
    refused = ValueError("expected a logit to be real")
    with pytest.raises(FloatingPointError, match=r"^rewards of module 'left'"):
        watched({"rewards": np.array([np.nan])}, refused)
    with pytest.raises(ValueError, match=r"^expected a logit to be real$"):
        watched({"rewards": np.zeros(1)}, refused)


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("num_learners", [0, 2])
def test_neither_sent_nor_saved(num_learners: int, tmp_path: Path) -> None:
    """Rewards of the environment become infinite in the middle of training."""
    config = faulty_config(FaultyBatchedEnv).training(lr=1e-3)
    config.learners(num_learners=num_learners, num_cpus_per_learner=1)
    algorithm = config.build_algo()
    algorithm.train()
    folder = algorithm.save_to_path(str(tmp_path / "good"))
    algorithm.learner_group.foreach_learner(_spoil_rewards)
    before = _acting_weights(algorithm)
    with pytest.raises(FloatingPointError) as error:
        algorithm.train()
    line = str(error.value).splitlines()[0]
    assert line.startswith("environment's rewards of module 'left' not finite")
    assert "0 of 192 not finite; log-probabilities have" in line  # 48 observations of 4 numbers
    assert "environment's rewards have mean 3" in line
    assert "1 of 48 not finite; rewards have" in line
    assert line.endswith(f"The last checkpoint is {folder}")
    for name, array in _acting_weights(algorithm).items():
        np.testing.assert_array_equal(array, before[name])
    with pytest.raises(RuntimeError, match=r"^neither trained on nor saved"):
        algorithm.save_to_path(str(tmp_path / "bad"))
    assert not (tmp_path / "bad").exists()
    if num_learners == 0:
        algorithm.restore_from_path(folder)
        algorithm.learner_group.foreach_learner(_mend_rewards)
        assert math.isfinite(algorithm.train()["learners"]["left"]["total_loss"])
    algorithm.stop()


def _spoil_rewards(learner: Any) -> None:
    """Of the last learner only, so that the others are fine by themselves."""
    if not learner.distributed or learner._learner_index == 1:
        learner.spoiled = learner._collect_turns

        def collect(episodes: list[Any]) -> Any:
            turns = learner.spoiled(episodes)
            turns["left"].rewards[0] = np.inf
            return turns

        learner._collect_turns = collect


def _mend_rewards(learner: Any) -> None:
    learner._collect_turns = learner.spoiled


def _acting_weights(algorithm: Any) -> dict[str, np.ndarray]:
    state = algorithm.env_runner.module["left"].get_state(inference_only=True)
    return {name: np.array(array) for name, array in state.items()}


@pytest.mark.usefixtures("ray_session")
def test_cloning_that_blows_up_names_the_policy() -> None:
    algorithm = small_config().imitation(bc_lr=1e30, bc_steps=5).build_algo()
    with pytest.raises(FloatingPointError, match=r"^weights of the clone of module 'agent_1'"):
        algorithm.train()
    algorithm.stop()


def test_the_cause_among_the_errors_of_several_learners() -> None:
    waited = RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer")
    lost = LearnerLostError("a learner is lost: its process (pid 7) died: End of file")
    killed = LearnerLostError("a learner is lost: it was killed by `ray.kill`")
    own, numbers = OSError("no such file"), FloatingPointError("rewards not finite")
    caught = FloatingPointError("weights of the policy not finite")  # by averaging gradients
    assert failure_of([waited, killed, lost]) is lost
    assert failure_of([waited, lost, own]) is own
    assert failure_of([own, waited, caught, numbers]) is numbers
    assert failure_of([waited]) is waited
