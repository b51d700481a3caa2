"""Line 6 of Algorithm 1: one discriminator's steps on X and X_E, phi already filtered out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.core.rl_module.rl_module import RLModule

from rllib_amagail.adversarial import discriminator_loss, gradient_penalty
from rllib_amagail.learner.discriminator import INPUTS, LOGITS_EXPERT_IS_HIGH, Discriminator


def update_discriminator(
    discriminator: RLModule,
    optimizer: torch.optim.Optimizer,
    expert_inputs: torch.Tensor,
    policy_inputs: torch.Tensor,
    *,
    steps: int,
    batch_size: int,
    penalty_coeff: float,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Take ``steps`` gradient steps, each on ``batch_size`` expert and as many policy rows.

    Args:
        discriminator: the module, wrapped for several learners or not.
        optimizer: of its parameters.
        expert_inputs: ``[K, D + A]`` rows of the demonstrations.
        policy_inputs: ``[T, D + A]`` rows of this iteration's rollouts.
        steps: gradient steps.
        batch_size: B rows of either kind a step, fewer where there are not so many.
        penalty_coeff: weight of the gradient penalty on standardised inputs; 0 for none.
        rng: draws the rows and mixes the penalty's inputs.

    Returns:
        Diagnostics of the last step, as scalar tensors.
    """
    size = min(batch_size, len(expert_inputs), len(policy_inputs))
    module: Discriminator = discriminator.unwrapped()
    for _ in range(steps):
        expert = expert_inputs[torch.from_numpy(rng.integers(len(expert_inputs), size=size))]
        policy = policy_inputs[torch.from_numpy(rng.integers(len(policy_inputs), size=size))]
        outputs = discriminator.forward_train({INPUTS: torch.cat([expert, policy])})
        expert_logits, policy_logits = outputs[LOGITS_EXPERT_IS_HIGH].split(size)
        loss = discriminator_loss(expert_logits, policy_logits)
        if penalty_coeff > 0:
            mixing = torch.from_numpy(rng.random((size, 1), np.float32)).to(expert.device)
            loss = loss + penalty_coeff * gradient_penalty(
                module.logits_of_standardised,
                module.standardise(expert),
                module.standardise(policy),
                mixing,
            )
        _descend(optimizer, loss)
    return discriminator_diagnostics(loss, expert_logits, policy_logits)


def discriminator_diagnostics(
    loss: torch.Tensor, expert_logits: torch.Tensor, policy_logits: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Loss, accuracy and mean logits on expert and policy rows.

    Both accuracies near 1 mean an overfitted or idle game; both near 0.5 that the discriminator
    can no longer tell the two apart.
    """
    return {
        "discriminator_loss": loss.detach(),
        "accuracy_expert_rows": (expert_logits > 0).float().mean(),
        "accuracy_policy_rows": (policy_logits < 0).float().mean(),
        "logits_expert_rows": expert_logits.detach().mean(),
        "logits_policy_rows": policy_logits.detach().mean(),
    }


def _descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
