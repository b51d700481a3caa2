"""A restored run goes on with the numbers of an uninterrupted one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rllib_amagail import AMAGAIL
from tests.test_algorithm import learner_numbers, small_config

pytestmark = pytest.mark.usefixtures("ray_session")


def numbers(result: dict[str, Any]) -> dict[str, Any]:
    agents = ("agent_1", "agent_2")
    return {agent: learner_numbers(result, agent) for agent in agents} | {
        "returns": dict(result["env_runners"]["agent_episode_returns_mean"])
    }


def test_restoring_continues_with_equal_numbers(tmp_path: Path) -> None:
    config = small_config().env_runners(batch_mode="complete_episodes")
    config.training(lr=[[0, 1e-2], [2000, 1e-4]], entropy_coeff=[[0, 0.5], [2000, 0.0]])
    config.training(use_kl_loss=True, kl_target=1e-4)
    algorithm = config.build_algo()
    for _ in range(3):
        algorithm.train()
    algorithm.save_to_path(str(tmp_path / "checkpoint"))
    expected = [numbers(algorithm.train()) for _ in range(3)]
    algorithm.stop()

    restored = AMAGAIL.from_checkpoint(str(tmp_path / "checkpoint"))
    found = [numbers(restored.train()) for _ in range(3)]
    restored.stop()
    assert found == expected


def test_a_checkpoint_holds_everything_the_learner_depends_on(tmp_path: Path) -> None:
    algorithm = small_config().training(use_kl_loss=True).build_algo()
    for _ in range(2):
        algorithm.train()
    learner = algorithm.learner_group._learner
    learner.curr_kl_coeffs_per_module["agent_1"].data.fill_(0.123)
    algorithm.save_to_path(str(tmp_path / "checkpoint"))
    saved = learner.get_state()
    algorithm.stop()

    restored = AMAGAIL.from_checkpoint(str(tmp_path / "checkpoint"))
    state = restored.learner_group._learner.get_state()
    restored.stop()
    for module_id, weights in saved["rl_module"].items():
        for name, array in weights.items():
            np.testing.assert_array_equal(state["rl_module"][module_id][name], array)
    ours, theirs = saved["imitation"], state["imitation"]
    assert theirs["updates"] == 2
    assert theirs["generator"] == ours["generator"]
    assert theirs["kl_coeffs"]["agent_1"] == pytest.approx(0.123)
    for module_id, agent in ours["agents"].items():
        found = theirs["agents"][module_id]
        assert found["reward_moments"] == agent["reward_moments"]
        assert found["value_moments"] == agent["value_moments"]
        for name, array in agent["anchor"].items():
            np.testing.assert_array_equal(found["anchor"][name], array)
    optimizers = saved["optimizer"]
    for name, optimizer in optimizers.items():
        for index, slots in optimizer["state"]["state"].items():
            for slot, array in slots.items():
                found = state["optimizer"][name]["state"]["state"][index][slot]
                np.testing.assert_array_equal(found, array, err_msg=f"{name} {slot}")


def test_a_checkpoint_of_another_game_is_refused(tmp_path: Path) -> None:
    algorithm = small_config().build_algo()
    algorithm.save_to_path(str(tmp_path / "two"))
    algorithm.stop()
    other = small_config(num_agents=1).build_algo()
    with pytest.raises(ValueError, match="agent_2"):
        other.restore_from_path(str(tmp_path / "two"))
    other.stop()
