"""PPO's loss: its arithmetic, and that it is RLlib's."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchCategorical
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_amagail import AMAGAILConfig
from rllib_amagail.learner.ppo_generator import ppo_loss
from tests.toys import register_echo


def test_clipping_value_loss_and_entropy() -> None:
    """Two choices with equal logits; the rollout policy chose them with 1/4 and 3/4.

    Ratios 2 and 2/3. With clip .2 the gain of the first row is 1.2 * 1, that of the second
    min(2/3 * -3, .8 * -3) = -2.4. Value errors 1 and 9, the second clipped at 4.
    """
    batch = {
        Columns.ACTIONS: torch.tensor([0, 1]),
        Columns.ACTION_LOGP: torch.tensor([1 / 4, 3 / 4]).log(),
        Columns.ACTION_DIST_INPUTS: torch.zeros(2, 2),
        Postprocessing.ADVANTAGES: torch.tensor([1.0, -3.0]),
        Postprocessing.VALUE_TARGETS: torch.tensor([1.0, 3.0]),
    }
    config = SimpleNamespace(clip_param=0.2, vf_clip_param=4.0, vf_loss_coeff=0.5, use_kl_loss=True)
    loss, parts = ppo_loss(
        TorchCategorical(logits=torch.zeros(2, 2)),
        torch.zeros(2),
        batch,
        config=config,
        entropy_coeff=0.1,
        kl_coeff=torch.tensor(7.0),
    )
    assert parts["policy_loss"].item() == pytest.approx(-(1.2 - 2.4) / 2)
    assert parts["vf_loss"].item() == pytest.approx((1 + 4) / 2)
    assert parts["vf_loss_unclipped"].item() == pytest.approx((1 + 9) / 2)
    assert parts["mean_kl_loss"].item() == pytest.approx(0.0)
    assert loss.item() == pytest.approx(0.6 + 0.5 * 2.5 - 0.1 * np.log(2))


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("use_kl_loss", [False, True])
def test_it_is_the_loss_of_rllibs_learner(use_kl_loss: bool) -> None:
    register_echo()
    config = AMAGAILConfig().environment("echo")
    config.imitation(reward_source="environment", value_only_iterations=0)
    config.training(
        use_kl_loss=use_kl_loss, kl_coeff=0.3, clip_param=0.1, vf_clip_param=0.5, entropy_coeff=0.02
    )
    algorithm = config.debugging(seed=0, log_level="ERROR").build_algo()
    learner = algorithm.learner_group._learner
    module_id = "agent_1"
    module = learner.module[module_id]
    rng = torch.Generator().manual_seed(0)
    batch = {
        Columns.OBS: torch.randn(64, 3, generator=rng),
        Columns.ACTIONS: torch.randint(3, (64,), generator=rng),
        Columns.ACTION_DIST_INPUTS: torch.randn(64, 3, generator=rng),
        Columns.ACTION_LOGP: -torch.rand(64, generator=rng) - 0.5,
        Postprocessing.ADVANTAGES: torch.randn(64, generator=rng),
        Postprocessing.VALUE_TARGETS: torch.randn(64, generator=rng),
    }
    arguments = {
        "module_id": module_id,
        "config": learner.config.get_config_for_module(module_id),
        "batch": batch,
        "fwd_out": module.forward_train(batch),
    }
    ours = learner.compute_loss_for_module(**arguments)
    theirs = PPOTorchLearner.compute_loss_for_module(learner, **arguments)
    algorithm.stop()
    torch.testing.assert_close(ours, theirs)
