"""What keeps a discriminator from learning few expert rows by heart, and the cloning term."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rllib_amagail.adversarial import group_lasso
from rllib_amagail.learner.discriminator_update import update_discriminator
from tests.test_algorithm import small_config, train
from tests.test_learner_parts import make_discriminator
from tests.toys import HORIZON


def learn(expert: np.ndarray, policy: np.ndarray, **changes: float) -> tuple:
    """A discriminator after 150 steps, and its diagnostics."""
    discriminator = make_discriminator()
    discriminator.standardise_with(np.concatenate([expert, policy]))
    settings = {"penalty_coeff": 0.0, "input_noise": 0.0, "group_lasso_coeff": 0.0, **changes}
    diagnostics = update_discriminator(
        discriminator,
        torch.optim.Adam(discriminator.parameters(), lr=1e-2),
        torch.from_numpy(expert),
        torch.from_numpy(policy),
        steps=150,
        batch_size=200,
        rng=np.random.default_rng(0),
        **settings,
    )
    return discriminator, diagnostics


def rows_that_differ_in_one_input() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    expert, policy = rng.normal(size=(2, 300, 6)).astype(np.float32)
    expert[:, 0] += 1.5
    return expert, policy


def test_group_lasso_is_the_sum_of_the_columns_norms() -> None:
    assert group_lasso(torch.tensor([[3.0, 0.0, 5.0], [4.0, 0.0, 12.0]])).item() == 5 + 0 + 13


def test_group_lasso_switches_off_the_inputs_that_do_not_help() -> None:
    norms = [
        learn(*rows_that_differ_in_one_input(), group_lasso_coeff=coeff)[0]
        .input_weights.detach()
        .norm(dim=0)
        .tolist()
        for coeff in (0.0, 0.1)
    ]
    assert max(norms[0][1:]) > 0.5 * norms[0][0]
    assert max(norms[1][1:]) < 0.1 * norms[1][0]


def test_noise_hides_differences_that_are_smaller() -> None:
    # Two single rows, one deviation either side of the mean: certain without noise.
    expert, policy = np.ones((1, 6), np.float32), -np.ones((1, 6), np.float32)
    margins = []
    for noise in (0.0, 10.0):
        _, diagnostics = learn(expert, policy, input_noise=noise)
        margins.append(float(diagnostics["logits_expert_rows"] - diagnostics["logits_policy_rows"]))
    assert margins[0] > 5
    assert margins[1] < 1.5


def test_few_expert_rows_do_not_mean_few_policy_rows() -> None:
    expert, policy = rows_that_differ_in_one_input()
    _, diagnostics = learn(expert[:1], policy)
    # 200 policy rows of 300 are in the last step: an accuracy that one row cannot have.
    assert float(diagnostics["accuracy_policy_rows"]) * 200 % 200 > 0


@pytest.mark.usefixtures("ray_session")
def test_the_cloning_term_teaches_a_policy_from_scratch() -> None:
    config = small_config().training(lr=1e-2)
    config.imitation(reward_source="zero", bc_steps=0, bc_loss_coeff=1.0, value_only_iterations=1)
    results = train(config, 5)
    assert results[0]["learners"]["agent_1"]["kl"] == pytest.approx(0, abs=1e-6)
    assert results[-1]["score"] > 0.9 * 0.6 * HORIZON
