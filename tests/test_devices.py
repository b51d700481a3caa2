"""Where tensors are: on the GPU where there is one, and gathered there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rllib_amagail.learner.expert_rows import ExpertRows
from tests.test_algorithm import small_config

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
ROWS = ExpertRows(
    observations=np.arange(12, dtype=np.float32).reshape(6, 2),
    actions=np.arange(6),
    inputs=np.zeros((6, 3), np.float32),
    is_judged=np.ones(6, bool),
)


def test_rows_are_drawn_with_their_actions() -> None:
    drawn = ROWS.draw(50, np.random.default_rng(0), torch.device("cpu"))
    observations, actions = drawn["obs"], drawn["actions"]
    assert torch.equal(observations[:, 0], 2.0 * actions)
    assert sorted(set(actions.tolist())) == list(range(6))


def test_another_device_keeps_the_rows_and_gathers() -> None:
    """The device "meta" has shapes and no numbers, and refuses to be mixed with the CPU's."""
    meta = torch.device("meta")
    drawn = [ROWS.draw(50, np.random.default_rng(0), meta) for _ in range(2)]
    for observations, actions in (columns.values() for columns in drawn):
        assert (observations.device, actions.device) == (meta, meta)
        assert (observations.shape, actions.shape) == ((50, 2), (50,))
    held = vars(ROWS)["_held_on_device"]
    ROWS.draw(50, np.random.default_rng(0), meta)
    assert vars(ROWS)["_held_on_device"] is held


def tensors_of(learner: Any) -> dict[str, torch.Tensor]:
    """All that a learner keeps from iteration to iteration."""
    found = {}
    for module_id in learner.module.keys():  # noqa: SIM118
        for name, tensor in learner.module[module_id].unwrapped().state_dict().items():
            found[f"{module_id}.{name}"] = tensor
    for module_id, agent in learner._agents.items():
        found[f"{module_id}.expert_inputs"] = agent.expert_inputs
        for name, tensor in agent.anchor.state_dict().items():
            found[f"{module_id}.anchor.{name}"] = tensor
    for name, optimizer in learner._named_optimizers.items():
        for state in optimizer.state.values():
            for key, value in state.items():
                if isinstance(value, torch.Tensor) and value.ndim > 0:
                    found[f"{name}.{key}"] = value
    return found


@needs_gpu
@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("settings", [{}, {"critic": "joint"}, {"generator": "mack"}])
def test_everything_is_on_the_gpu(settings: dict[str, Any]) -> None:
    config = small_config().imitation(**settings).learners(num_gpus_per_learner=1)
    algorithm = config.build_algo()
    result = algorithm.train()
    assert np.isfinite(result["learners"]["agent_1"]["reward_mean"])
    places = {n: t.device.type for n, t in tensors_of(algorithm.learner_group._learner).items()}
    assert set(places.values()) == {"cuda"}, places
    algorithm.stop()


@pytest.mark.usefixtures("ray_session")
def test_what_a_learner_keeps_is_found() -> None:
    """Else the test above would hold for nothing."""
    algorithm = small_config().build_algo()
    algorithm.train()
    names = tensors_of(algorithm.learner_group._learner)
    algorithm.stop()
    for part in ("expert_inputs", "anchor", "exp_avg", "input_mean"):
        assert any(part in name for name in names), part
