"""Cloning with an entropy term, and cloning that keeps what fits held-out episodes best."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.models.torch.torch_distributions import TorchCategorical

from rllib_amagail import Demonstrations, MultiAgentBCConfig
from rllib_amagail.algorithm.best_clones import best_clones
from rllib_amagail.demonstrations import AgentRecord
from rllib_amagail.learner.behaviour_cloning import cloning_loss
from rllib_amagail.learner.expert_rows import ExpertRows


class Undecided(torch.nn.Linear):
    """Two actions alike, whatever is seen."""

    def __init__(self) -> None:
        super().__init__(1, 2)
        torch.nn.init.zeros_(self.weight)
        torch.nn.init.zeros_(self.bias)

    def forward_train(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {Columns.ACTION_DIST_INPUTS: self(batch[Columns.OBS])}

    def get_train_action_dist_cls(self) -> type:
        return TorchCategorical


@pytest.mark.parametrize("entropy_coeff", [0.0, 0.25])
def test_the_entropy_is_taken_off_the_loss(entropy_coeff: float) -> None:
    rows = ExpertRows(np.zeros((3, 1), np.float32), np.zeros(3, np.int64), *np.zeros((2, 3, 1)))
    rng = np.random.default_rng(0)
    loss = cloning_loss(Undecided(), rows, batch_size=4, rng=rng, entropy_coeff=entropy_coeff)
    # -log(1/2), less the coefficient times the entropy, log 2.
    assert float(loss.detach()) == pytest.approx((1 - entropy_coeff) * math.log(2))


def coin_flips(episodes: int) -> Demonstrations:
    """Two actions by chance on observations that never come twice: nothing to learn."""
    rng = np.random.default_rng(0)
    record = AgentRecord(
        "a",
        episode=np.repeat(np.arange(episodes), 2),
        round=np.tile([0, 1], episodes),
        participates=np.ones(2 * episodes, bool),
        observation=rng.standard_normal((2 * episodes, 6), np.float32),
        action=rng.integers(2, size=2 * episodes),
        action_mask=None,
        reward=np.zeros(2 * episodes, np.float32),
    )
    return Demonstrations(
        agents=("a",),
        records={"a": record},
        observation_spaces={"a": gym.spaces.Box(-np.inf, np.inf, (6,), np.float32)},
        action_spaces={"a": gym.spaces.Discrete(2)},
    )


def config(**imitation: Any) -> MultiAgentBCConfig:
    return (
        MultiAgentBCConfig()
        .imitation(**{"demonstrations": coin_flips(40), "bc_steps": 20, **imitation})
        .rl_module(model_config={"fcnet_hiddens": [32]})
        .training(lr=1e-2)
        .debugging(seed=0, log_level="ERROR")
    )


@pytest.mark.usefixtures("ray_session")
def test_the_policies_of_the_best_iteration_are_kept() -> None:
    algorithm = config(validation_share=0.5).build_algo()
    measured = [
        float(algorithm.train()["learners"]["a"]["validation_negative_log_likelihood"])
        for _ in range(4)
    ]
    held_out = algorithm.config.load_validation_demonstrations().records["a"]
    algorithm.stop()
    assert min(measured) < measured[-1] - 0.02  # learning by heart does harm
    kept = best_clones(config(validation_share=0.5), iterations=4)
    chances = kept.action_probabilities("a", held_out.observation)
    found = -np.log(chances[np.arange(len(held_out)), held_out.action]).mean()
    assert found == pytest.approx(min(measured), abs=1e-4)


def test_nothing_held_out_is_refused() -> None:
    with pytest.raises(ValueError, match=r"found validation_share 0.0 and 3 iterations"):
        best_clones(config(), iterations=3)


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("entropy_coeff", [-0.1, [[0, 0.1], [10, 0.0]]])
def test_entropy_is_a_number(entropy_coeff: Any) -> None:
    with pytest.raises(ValueError, match=r"entropy_coeff is .*; expected a number >= 0"):
        config().training(entropy_coeff=entropy_coeff).validate()
