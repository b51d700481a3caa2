"""Losses whose gradients' second moment is the Fisher of the model's own predictions.

Each draws labels from the predictive distribution and returns their negative log-likelihood
*summed* over the batch (Martens and Grosse 2015, section 2.1: labels of the data would give the
empirical Fisher instead). A sum makes the gradient by a row's outputs that row's own gradient, so
``G = E[g g^T]`` needs no scale. The step then belongs to a training loss that is a *mean* of rows.

Independent parts of one prediction add up: the Fisher loss of a MultiDiscrete policy is the sum of
`categorical_fisher_loss` over its groups of logits.
"""

from __future__ import annotations

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy


def categorical_fisher_loss(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Of a choice among K; ``G = E[diag(p) - p p^T]`` with p the softmax of the logits.

    Args:
        logits: ``[B, K]``, finite. Masked entries are very small numbers: they are never drawn and
            their gradient is zero.
        generator: source of the labels, on the logits' device.

    Returns:
        Scalar, summed over B.

    Raises:
        ValueError: the logits are not ``[B, K]``.
    """
    if logits.ndim != 2:
        raise ValueError(
            f"logits have shape {list(logits.shape)}, expected [B, K]: "
            "call once per group of choices and add the losses"
        )
    # Inverse of the distribution function: many times faster than torch.multinomial on a CPU.
    # A draw is below the last sum, so entries of probability zero are jumped over, at the end too.
    cumulated = logits.detach().softmax(dim=1).cumsum(dim=1)
    draws = torch.empty_like(cumulated[:, :1]).uniform_(generator=generator) * cumulated[:, -1:]
    labels = (cumulated <= draws).sum(dim=1)
    return cross_entropy(logits, labels, reduction="sum")


def gaussian_fisher_loss(
    mean: torch.Tensor, generator: torch.Generator, std: float | torch.Tensor = 1.0
) -> torch.Tensor:
    """Of a diagonal Gaussian; ``G = I / std^2`` for the mean.

    Value functions take ``std=1`` (Wu et al. 2017, section 3.1). A std that is itself an output of
    the network adds ``2 I`` for its logarithm.

    Args:
        mean: ``[B, d]`` or ``[B]``.
        generator: source of the labels, on the mean's device.
        std: positive; a number, or a tensor that broadcasts to the mean's shape.

    Returns:
        Scalar, summed over B and d, without the constant of the density.
    """
    noise = torch.empty_like(mean).normal_(generator=generator)
    std = torch.as_tensor(std, dtype=mean.dtype, device=mean.device)
    labels = (mean + std * noise).detach()
    return (((labels - mean) / std).square() / 2 + std.log()).sum()


def bernoulli_fisher_loss(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Of a yes or no, as a discriminator's; ``G = E[p (1 - p)]`` with p the sigmoid of the logit.

    Args:
        logits: ``[B]`` or ``[B, 1]``.
        generator: source of the labels, on the logits' device.

    Returns:
        Scalar, summed over B.
    """
    labels = torch.bernoulli(logits.detach().sigmoid(), generator=generator)
    return binary_cross_entropy_with_logits(logits, labels, reduction="sum")
