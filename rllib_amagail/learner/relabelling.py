"""Relabelling: the discriminator's reward takes the place of the environment's."""

from __future__ import annotations

import numpy as np
import torch
from ray.rllib.core.rl_module.rl_module import RLModule

from rllib_amagail.adversarial import RewardForm, reward_from_logits
from rllib_amagail.learner.discriminator import INPUTS, LOGITS_EXPERT_IS_HIGH


def discriminator_rewards(
    discriminator: RLModule, inputs: torch.Tensor, form: RewardForm
) -> np.ndarray:
    """``[T]`` rewards of policy rows ``inputs`` (``[T, R]``), for the policy to maximise."""
    with torch.no_grad():
        logits = discriminator.unwrapped().forward_inference({INPUTS: inputs})
        return reward_from_logits(logits[LOGITS_EXPERT_IS_HIGH], form).cpu().numpy()
