"""Fisher losses: their gradients' second moment is the Fisher of the predictions."""

from __future__ import annotations

import doctest
from collections.abc import Callable

import numpy as np
import pytest
import torch

import rllib_amagail.kfac
from rllib_amagail.kfac import (
    bernoulli_fisher_loss,
    categorical_fisher_loss,
    gaussian_fisher_loss,
)
from tests.kfac_samples import normal, rng


def test_the_example_of_the_docstring_runs() -> None:
    result = doctest.testmod(rllib_amagail.kfac)
    assert result.attempted > 0
    assert result.failed == 0


def second_moment(
    loss: Callable[[torch.Tensor], torch.Tensor], outputs: torch.Tensor
) -> np.ndarray:
    outputs.requires_grad_()
    (gradients,) = torch.autograd.grad(loss(outputs), outputs)
    rows = gradients.reshape(len(outputs), -1)
    return (rows.T @ rows / len(rows)).numpy()


def test_gradients_of_the_losses_have_the_fisher_as_second_moment() -> None:
    # 200,000 draws: the standard error of these moments is below .01.
    logits = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64).log().repeat(200_000, 1)
    fisher = [[0.25, -0.125, -0.125], [-0.125, 0.1875, -0.0625], [-0.125, -0.0625, 0.1875]]
    moment = second_moment(lambda x: categorical_fisher_loss(x, rng()), logits)
    np.testing.assert_allclose(moment, fisher, atol=0.005)

    yes = torch.full((200_000,), np.log(3.0), dtype=torch.float64)  # p = 3/4
    moment = second_moment(lambda x: bernoulli_fisher_loss(x, rng()), yes)
    np.testing.assert_allclose(moment, [[3 / 16]], atol=0.005)

    mean = torch.zeros(200_000, 2, dtype=torch.float64)
    std = torch.tensor([0.5, 1.0], dtype=torch.float64)
    moment = second_moment(lambda x: gaussian_fisher_loss(x, rng(), std), mean)
    np.testing.assert_allclose(moment, [[4, 0], [0, 1]], atol=0.04)


def test_a_std_that_is_an_output_has_fisher_two_for_its_logarithm() -> None:
    log_std = torch.full((200_000, 1), -1.0, dtype=torch.float64)
    mean = torch.zeros_like(log_std)
    moment = second_moment(lambda x: gaussian_fisher_loss(mean, rng(), x.exp()), log_std)
    np.testing.assert_allclose(moment, [[2]], atol=0.05)


def test_masked_logits_are_never_drawn_and_have_no_gradient() -> None:
    lowest = torch.finfo(torch.float32).min
    logits = torch.zeros(1000, 5)
    logits[:, [0, 2, 4]] = lowest
    logits.requires_grad_()
    loss = categorical_fisher_loss(logits, rng())
    loss.backward()
    # Two open choices of 1/2 each: every row costs log 2, whatever was drawn.
    assert loss.item() == pytest.approx(1000 * np.log(2), rel=1e-5)
    np.testing.assert_allclose(logits.grad.abs().mean(0), [0, 0.5, 0, 0.5, 0])


def test_labels_come_from_the_generator_alone() -> None:
    logits = normal(50, 3)
    first, same, other = (categorical_fisher_loss(logits, rng(seed)) for seed in (1, 1, 2))
    assert first == same
    assert first != other


def test_logits_of_several_groups_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \[2, 3, 4\], expected \[B, K\]"):
        categorical_fisher_loss(torch.zeros(2, 3, 4), torch.Generator())
