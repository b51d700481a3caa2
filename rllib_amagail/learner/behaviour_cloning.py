"""Behaviour cloning: the start of AMAGAIL's policies and the anchor that keeps them from harm.

Maximum likelihood of the expert's actions. By itself (`MultiAgentBC`) it is the fair baseline with
phi filtered out of the rows, and the paper's with phi left in as an action.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModule

from rllib_amagail.learner.expert_rows import ExpertRows
from rllib_amagail.learner.expert_source import ExpertSource
from rllib_amagail.learner.finite import require_finite

LOSS = "negative_log_likelihood"
MAX_MEASURED_ROWS = 20_000


@dataclass(frozen=True)
class Clone:
    """A policy on its way to the expert's.

    ``optimizer`` and ``rng`` are all that has to be kept for cloning to go on later.
    """

    module: RLModule  # not wrapped for several learners
    optimizer: torch.optim.Optimizer  # of the module's parameters
    rng: np.random.Generator  # draws the rows; equal on all learners, which take the same steps
    entropy_coeff: float = 0.0  # weight of -H(pi) on the expert's observations


def clone_behaviours(
    clones: Mapping[str, Clone], source: ExpertSource, *, steps: int, batch_size: int
) -> dict[str, float]:
    """`clone_behaviour` of every module, window by window where the rows are streamed.

    Args:
        clones: by module.
        source: of all episodes.
        steps: gradient steps on each.
        batch_size: rows a step.

    Returns:
        Mean negative log likelihood of the last step's rows, in nats, by module.

    Raises:
        FloatingPointError: the weights of a clone are not finite any more.
    """
    losses: dict[str, float] = {}
    while clones and steps > 0:
        left = source.rows_left()
        now = steps if left is None else min(steps, -(-left // batch_size))
        for module_id, clone in clones.items():
            with require_finite(module_id, distributed=False) as watch:
                watch.saw({"weights of the clone": clone.module})
                losses[module_id] = clone_behaviour(
                    clone.module,
                    source.rows[module_id],
                    clone.optimizer,
                    steps=now,
                    batch_size=batch_size,
                    rng=clone.rng,
                    entropy_coeff=clone.entropy_coeff,
                )
        source.drawn(now * batch_size)
        steps -= now
    return losses


def clone_behaviour(
    module: RLModule,
    rows: ExpertRows,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    batch_size: int,
    rng: np.random.Generator,
    entropy_coeff: float = 0.0,
) -> float:
    """Fit a policy to expert rows; the last iterate stays, without early stopping.

    Held-out likelihood is a bad stopping rule with few episodes: it rises while the return still
    improves.

    Args:
        module: the policy, not wrapped for several learners: every learner takes the same steps
            on all rows with an equal ``rng``.
        rows: the demonstrations.
        optimizer: of the module's parameters. It and ``rng`` are all that has to be kept for a
            later call to go on as if this one had not ended.
        steps: gradient steps.
        batch_size: rows a step.
        rng: draws the rows.
        entropy_coeff: see `cloning_loss`.

    Returns:
        Mean negative log likelihood of the last step's rows, in nats, less the entropy's share.
    """
    loss = torch.tensor(float("nan"))
    for _ in range(steps):
        loss = cloning_loss(
            module, rows, batch_size=batch_size, rng=rng, entropy_coeff=entropy_coeff
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def cloning_loss(
    module: RLModule,
    rows: ExpertRows,
    *,
    batch_size: int,
    rng: np.random.Generator,
    entropy_coeff: float = 0.0,
) -> torch.Tensor:
    """Cross-entropy of random expert rows, in nats: a step of cloning, or a term of a loss.

    Args:
        module: the policy, not wrapped for several learners.
        rows: the demonstrations, with actions.
        batch_size: rows to draw.
        rng: draws them.
        entropy_coeff: weight of the policy's entropy on these rows, which is taken off the loss;
            keeps few rows from being learned by heart.
    """
    device = next(module.parameters()).device
    observations, actions = rows.draw(batch_size, rng, device)
    outputs = module.forward_train({Columns.OBS: observations})
    policy = module.get_train_action_dist_cls().from_logits(outputs[Columns.ACTION_DIST_INPUTS])
    loss = -policy.logp(actions).mean()
    return loss - entropy_coeff * policy.entropy().mean() if entropy_coeff else loss


def measure_fit(module: RLModule, rows: ExpertRows) -> dict[str, float]:
    """How well a policy fits expert rows.

    Of more than `MAX_MEASURED_ROWS` rows it takes as many, evenly spaced.

    Args:
        module: the policy.
        rows: K rows with actions, at least one.

    Returns:
        ``negative_log_likelihood``, the mean in nats, and where actions are discrete
        ``accuracy``, the share of rows whose action is the policy's likeliest.
    """
    assert rows.actions is not None
    device = next(module.parameters()).device
    every = -(-len(rows) // MAX_MEASURED_ROWS)
    observations = torch.from_numpy(rows.observations[::every]).to(device)
    actions = torch.from_numpy(rows.actions[::every]).to(device)
    inputs = policy_parameters(module, {Columns.OBS: observations})
    policy = module.get_train_action_dist_cls().from_logits(inputs)
    found = {LOSS: -float(policy.logp(actions).mean())}
    if not actions.is_floating_point():
        likeliest = policy.to_deterministic().sample()
        equal = (torch.as_tensor(likeliest) == actions).reshape(len(actions), -1).all(dim=1)
        found["accuracy"] = float(equal.float().mean())
    return found


def frozen_copy(module: RLModule) -> RLModule:
    """A copy of a policy that no optimizer moves: the anchor pi_BC."""
    anchor = copy.deepcopy(module)
    for parameter in anchor.parameters():
        parameter.requires_grad_(False)
    return anchor


def policy_parameters(module: RLModule, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """``[T, K]`` parameters of a policy's action distributions, without gradients."""
    with torch.no_grad():
        outputs = module.forward_inference({Columns.OBS: batch[Columns.OBS]})
    return outputs[Columns.ACTION_DIST_INPUTS]


def divergences(
    module: RLModule, batch: Mapping[str, torch.Tensor], anchor_parameters: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """How far an update moved a policy, in nats.

    Args:
        module: the policy after the update.
        batch: has the observations and the rollout policy's parameters, ``[T, ...]``.
        anchor_parameters: ``[T, K]`` of pi_BC, or None.

    Returns:
        ``kl``: KL(rollout || now); with an anchor also ``kl_to_bc``: KL(now || pi_BC).
    """
    distribution = module.get_train_action_dist_cls()
    now = distribution.from_logits(policy_parameters(module, batch))
    before = distribution.from_logits(batch[Columns.ACTION_DIST_INPUTS])
    found = {"kl": before.kl(now).mean()}
    if anchor_parameters is not None:
        found["kl_to_bc"] = now.kl(distribution.from_logits(anchor_parameters)).mean()
    return found
