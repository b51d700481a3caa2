"""Line 6 of Algorithm 1: one discriminator's steps on X and X_E, phi already filtered out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.core.rl_module.rl_module import RLModule

from rllib_amagail.adversarial import discriminator_loss, gradient_penalty, group_lasso
from rllib_amagail.kfac import KFAC, bernoulli_fisher_loss
from rllib_amagail.learner.discriminator import INPUTS, LOGITS_EXPERT_IS_HIGH, Discriminator
from rllib_amagail.learner.kfac_steps import descend, label_generator


def update_discriminator(
    discriminator: RLModule,
    optimizer: torch.optim.Optimizer,
    expert_inputs: torch.Tensor,
    policy_inputs: torch.Tensor,
    *,
    steps: int,
    batch_size: int,
    penalty_coeff: float,
    input_noise: float,
    group_lasso_coeff: float,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Take ``steps`` gradient steps, each on ``batch_size`` expert and as many policy rows.

    Args:
        discriminator: the module, wrapped for several learners or not.
        optimizer: of its parameters; K-FAC takes the Fisher of the logits on the same rows.
        expert_inputs: ``[K, R]`` rows of the demonstrations.
        policy_inputs: ``[T, R]`` rows of this iteration's rollouts.
        steps: gradient steps.
        batch_size: B rows of either kind a step, drawn with replacement: few expert rows must not
            mean few policy rows.
        penalty_coeff: weight of the gradient penalty on standardised inputs; 0 for none.
        input_noise: deviation of the Gaussian noise added to standardised inputs, expert and
            policy rows alike; 0 for none.
        group_lasso_coeff: weight of the group lasso on the first layer; 0 for none.
        rng: draws the rows and the noise, and mixes the penalty's inputs.

    Returns:
        Diagnostics of the last step, as scalar tensors.
    """
    module: Discriminator = discriminator.unwrapped()
    for _ in range(steps):
        expert = expert_inputs[torch.from_numpy(rng.integers(len(expert_inputs), size=batch_size))]
        policy = policy_inputs[torch.from_numpy(rng.integers(len(policy_inputs), size=batch_size))]
        if input_noise > 0:
            expert, policy = (
                _with_noise(rows, input_noise * module.noise_scale, rng)
                for rows in (expert, policy)
            )
        rows = {INPUTS: torch.cat([expert, policy])}
        if isinstance(optimizer, KFAC):
            with optimizer.collecting():
                logits = module.logits_of_standardised(module.standardise(rows[INPUTS]))
                bernoulli_fisher_loss(logits, label_generator(rng, logits.device)).backward()
        outputs = discriminator.forward_train(rows)
        expert_logits, policy_logits = outputs[LOGITS_EXPERT_IS_HIGH].split(batch_size)
        loss = discriminator_loss(expert_logits, policy_logits)
        if penalty_coeff > 0:
            mixing = torch.from_numpy(rng.random((batch_size, 1), np.float32)).to(expert.device)
            loss = loss + penalty_coeff * gradient_penalty(
                module.logits_of_standardised,
                module.standardise(expert),
                module.standardise(policy),
                mixing,
            )
        if group_lasso_coeff > 0:
            loss = loss + group_lasso_coeff * group_lasso(module.input_weights)
        # K-FAC takes means over its rows; the loss is the sum of two means over half of them.
        descend(optimizer, loss / 2 if isinstance(optimizer, KFAC) else loss)
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


def _with_noise(
    rows: torch.Tensor, deviation: torch.Tensor, rng: np.random.Generator
) -> torch.Tensor:
    noise = torch.from_numpy(rng.standard_normal(tuple(rows.shape), np.float32))
    return rows + deviation * noise.to(rows.device)
