"""Losses and rewards against arithmetic a reader can check."""

import math

import pytest
import torch

from rllib_amagail.adversarial import discriminator_loss, gradient_penalty, reward_from_logits


def test_an_ignorant_discriminator_loses_two_log_two() -> None:
    zeros = torch.zeros(4)
    assert discriminator_loss(zeros, zeros).item() == pytest.approx(2 * math.log(2))


def test_loss_falls_when_expert_logits_rise_and_policy_logits_fall() -> None:
    right = discriminator_loss(torch.tensor([3.0]), torch.tensor([-3.0])).item()
    wrong = discriminator_loss(torch.tensor([-3.0]), torch.tensor([3.0])).item()
    assert right == pytest.approx(2 * math.log(1 + math.exp(-3)))
    assert wrong == pytest.approx(2 * math.log(1 + math.exp(3)))


def test_loss_is_the_papers_objective_with_d_high_on_the_policy() -> None:
    expert, policy = torch.tensor([0.5, -1.0]), torch.tensor([2.0])
    d_expert, d_policy = torch.sigmoid(-expert), torch.sigmoid(-policy)
    objective = torch.log(d_policy).mean() + torch.log(1 - d_expert).mean()
    assert discriminator_loss(expert, policy).item() == pytest.approx(-objective.item())


@pytest.mark.parametrize(
    ("form", "expected"),
    [("gail", [math.log(4), math.log(2)]), ("airl", [math.log(3), 0.0]), ("magail", [0.5, 0.0])],
)
def test_reward_forms(form: str, expected: list[float]) -> None:
    # sigmoid(log 3) = 3/4, so D_w = 1/4 and -log D_w = log 4.
    logits = torch.tensor([math.log(3), 0.0])
    assert reward_from_logits(logits, form).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("form", ["gail", "airl", "magail"])
def test_every_form_prefers_what_looks_like_the_expert(form: str) -> None:
    rewards = reward_from_logits(torch.linspace(-5, 5, 11), form)
    assert (rewards.diff() > 0).all()


def test_unknown_form_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="gail, airl, magail"):
        reward_from_logits(torch.zeros(1), "wgan")


def test_gradient_penalty_is_zero_for_slope_one_and_four_for_slope_three() -> None:
    rows, mixing = torch.randn(5, 1, generator=torch.Generator().manual_seed(0)), torch.zeros(5, 1)
    assert gradient_penalty(lambda x: x[:, 0], rows, rows, mixing).item() == pytest.approx(0)
    assert gradient_penalty(lambda x: 3 * x[:, 0], rows, rows, mixing).item() == pytest.approx(4)


def test_gradient_penalty_is_taken_between_the_rows() -> None:
    # The slope of x**2 at 0.25 * 1 + 0.75 * 3 = 2.5 is 5, so the penalty is (5 - 1)**2 = 16.
    penalty = gradient_penalty(
        lambda x: x.square().sum(-1),
        torch.tensor([[1.0]]),
        torch.tensor([[3.0]]),
        torch.tensor([[0.25]]),
    )
    assert penalty.item() == pytest.approx(16)


def test_gradient_penalty_reaches_the_weights() -> None:
    weight = torch.tensor(3.0, requires_grad=True)
    rows = torch.ones(2, 1)
    gradient_penalty(lambda x: weight * x[:, 0], rows, rows, torch.zeros(2, 1)).backward()
    assert weight.grad is not None
    assert weight.grad.item() == pytest.approx(4)  # d/dw (w - 1)**2 at 3


def test_gradient_penalty_names_both_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(4, 3\)"):
        gradient_penalty(lambda x: x[:, 0], torch.ones(2, 3), torch.ones(4, 3), torch.ones(2, 1))
