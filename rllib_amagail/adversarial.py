"""Losses and rewards of the adversarial game, as pure functions on logits.

One sign convention holds everywhere and lives in the argument names: a logit is *high for expert
rows*. The paper writes D_w for the probability that a row is the policy's (equation 14), so
``logits_expert_is_high = -logit(D_w)`` and ``log D_w = -softplus(logits_expert_is_high)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch.nn.functional import softplus

RewardForm = Literal["gail", "airl", "magail"]
REWARD_FORMS: tuple[str, ...] = get_args(RewardForm)


def discriminator_loss(
    expert_logits_expert_is_high: torch.Tensor, policy_logits_expert_is_high: torch.Tensor
) -> torch.Tensor:
    """Negative of the objective that line 6 of Algorithm 1 increases (equation 14).

    ``-(E_X[log D_w(s, a)] + E_XE[log(1 - D_w(s, a))])`` with the paper's D_w, high on the policy.

    Args:
        expert_logits_expert_is_high: ``[B_E]`` logits of rows of X_E.
        policy_logits_expert_is_high: ``[B]`` logits of rows of X.

    Returns:
        Scalar loss; ``2 log 2`` where the discriminator knows nothing.
    """
    return (
        softplus(policy_logits_expert_is_high).mean()
        + softplus(-expert_logits_expert_is_high).mean()
    )


def gradient_penalty(
    logits_of: Callable[[torch.Tensor], torch.Tensor],
    expert_inputs: torch.Tensor,
    policy_inputs: torch.Tensor,
    mixing_weights: torch.Tensor,
) -> torch.Tensor:
    """Mean squared excess of the logit's input gradient norm over 1 (WGAN-GP, arXiv:1704.00028).

    Args:
        logits_of: maps ``[B, F]`` inputs to ``[B]`` logits.
        expert_inputs: ``[B, F]`` rows of X_E.
        policy_inputs: ``[B, F]`` rows of X.
        mixing_weights: ``[B, 1]`` in [0, 1]; the share of the expert row in each mixed input.

    Returns:
        Scalar penalty, to be weighted by its coefficient.

    Raises:
        ValueError: the two sets of rows differ in shape.
    """
    if expert_inputs.shape != policy_inputs.shape:
        raise ValueError(
            "gradient penalty mixes expert and policy rows pairwise: found shapes "
            f"{tuple(expert_inputs.shape)} and {tuple(policy_inputs.shape)}, expected equal ones"
        )
    mixed = torch.lerp(policy_inputs, expert_inputs, mixing_weights).requires_grad_(True)
    (gradient,) = torch.autograd.grad(logits_of(mixed).sum(), mixed, create_graph=True)
    return (gradient.norm(dim=-1) - 1.0).square().mean()


def group_lasso(input_weights: torch.Tensor) -> torch.Tensor:
    """Sum over inputs of the norm of the weights that leave each (Yuan and Lin 2006).

    Its gradient has the same length however small the weights are, so inputs that do not help
    are switched off as a whole.

    Args:
        input_weights: ``[H, W]`` of the first layer, one column per input.

    Returns:
        Scalar, to be weighted by its coefficient.
    """
    return input_weights.norm(dim=0).sum()


def reward_from_logits(logits_expert_is_high: torch.Tensor, form: RewardForm) -> torch.Tensor:
    """The discriminator's reward for policy rows.

    ``gail``: ``-log D_w``, the term of equation 14 the policy maximises; always positive.
    ``airl``: the logit itself, ``log(1 - D_w) - log D_w`` (arXiv:1710.11248); either sign.
    ``magail``: ``2 sigmoid(logit) - 1`` in (-1, 1); bounded.

    Args:
        logits_expert_is_high: ``[B]`` logits.
        form: which of the three.

    Returns:
        ``[B]`` rewards, not yet normalised.

    Raises:
        ValueError: an unknown form.
    """
    if form == "gail":
        return softplus(logits_expert_is_high)
    if form == "airl":
        return logits_expert_is_high
    if form == "magail":
        return torch.tanh(logits_expert_is_high / 2)
    raise ValueError(f"unknown reward form {form!r}; expected one of {', '.join(REWARD_FORMS)}")
