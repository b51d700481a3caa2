"""Lines 11 and 12 of Algorithm 1 by K-FAC, as in the paper: MACK.

Multi-agent actor-critic with Kronecker factors, after ACKTR (Wu et al. 2017, arXiv:1708.05144).
One natural gradient step of the policy on the whole batch, a few of the baseline. Policy, baseline
and discriminator have an optimizer each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import POLICY_LOSS_KEY, VF_LOSS_KEY
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_amagail.kfac import KFAC, categorical_fisher_loss, gaussian_fisher_loss
from rllib_amagail.learner.agent_module import AgentModule
from rllib_amagail.learner.kfac_steps import AllReduce, descend, label_generator

POLICY, VALUE = "policy", "value"  # names of a module's optimizers


def update_by_mack(
    module: AgentModule,
    policy_optimizer: KFAC,
    value_optimizer: KFAC,
    batch: dict[str, torch.Tensor],
    *,
    policy_loss: Callable[[torch.Tensor], torch.Tensor] | None,
    value_steps: int,
    all_reduce: AllReduce | None,
    rng: np.random.Generator,
) -> dict[str, torch.Tensor]:
    """Take ``value_steps`` steps on nu, then one on theta.

    Args:
        module: policy and baseline, not wrapped for several learners.
        policy_optimizer: of `AgentModule.policy_network`.
        value_optimizer: of `AgentModule.value_network`.
        batch: columns ``[T, ...]``.
        policy_loss: maps parameters of the action distributions ``[T, K]`` to the loss, a mean
            over rows; None to leave the policy as it is.
        value_steps: steps on the baseline.
        all_reduce: averages a tensor over the learners; None for one learner.
            DistributedDataParallel would wait for all of a module's gradients in every step.
        rng: draws the labels of the Fisher matrices.

    Returns:
        The losses before the last steps, as scalar tensors.
    """
    labels = label_generator(rng, next(module.parameters()).device)
    targets = batch[Postprocessing.VALUE_TARGETS]
    losses = {}
    for _ in range(value_steps):
        with value_optimizer.collecting():
            gaussian_fisher_loss(module.compute_values(batch), labels).backward()
        loss = (module.compute_values(batch) - targets).square().mean() / 2
        descend(value_optimizer, loss, all_reduce)
        losses[VF_LOSS_KEY] = loss.detach()
    if policy_loss is not None:
        with policy_optimizer.collecting():
            policy_fisher_loss(_parameters(module, batch), module.action_space, labels).backward()
        loss = policy_loss(_parameters(module, batch))
        descend(policy_optimizer, loss, all_reduce)
        losses[POLICY_LOSS_KEY] = loss.detach()
    return losses


def policy_gradient_loss(
    policy: Any, batch: Mapping[str, torch.Tensor], entropy_coeff: float
) -> torch.Tensor:
    """``-E[log pi(a|s) A(s, a)] - entropy_coeff * E[H(pi)]`` (equation 9 of the paper; line 12).

    Args:
        policy: RLlib's distribution of T actions.
        batch: actions ``[T, ...]`` and advantages ``[T]`` of the rollout policy, which is this one.
        entropy_coeff: beta.
    """
    logp = policy.logp(batch[Columns.ACTIONS])
    loss: torch.Tensor = -(logp * batch[Postprocessing.ADVANTAGES]).mean()
    return loss - entropy_coeff * policy.entropy().mean()


def policy_fisher_loss(
    parameters: torch.Tensor, action_space: gym.Space, labels: torch.Generator
) -> torch.Tensor:
    """Fisher loss of action distributions with ``parameters`` ``[T, K]``, summed over rows.

    Discrete: K logits. MultiDiscrete: the logits of all its choices. Box: means, then logarithms
    of the deviations.
    """
    if isinstance(action_space, gym.spaces.Discrete):
        return categorical_fisher_loss(parameters, labels)
    if isinstance(action_space, gym.spaces.MultiDiscrete):
        choices = parameters.split(action_space.nvec.tolist(), dim=1)
        return torch.stack([categorical_fisher_loss(c, labels) for c in choices]).sum()
    mean, log_std = parameters.chunk(2, dim=1)
    return gaussian_fisher_loss(mean, labels, std=log_std.exp())


def _parameters(module: AgentModule, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    parameters: torch.Tensor = module._forward({Columns.OBS: batch[Columns.OBS]})[
        Columns.ACTION_DIST_INPUTS
    ]
    return parameters
