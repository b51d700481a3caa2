"""Lines 11 and 12 of Algorithm 1 by PPO: one agent module's loss and minibatch steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ray.rllib.algorithms.ppo.ppo import (
    LEARNER_RESULTS_KL_KEY,
    LEARNER_RESULTS_VF_EXPLAINED_VAR_KEY,
    LEARNER_RESULTS_VF_LOSS_UNCLIPPED_KEY,
)
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import ENTROPY_KEY, POLICY_LOSS_KEY, VF_LOSS_KEY
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_amagail.learner.sequences import SEQUENCE_STARTS, rows_of_sequences


def agree_on_minibatches(
    rows: Sequence[int], minibatch_size: int | None, distributed: bool
) -> list[int]:
    """Minibatches an epoch for each module, in proportion to its own rows, so none is over-trained.

    On several learners all take the largest count, because every gradient step waits for all. A
    module that some learner has no row of gets 0: a step without it would wait for ever.

    Args:
        rows: this learner's rows per module, in the order common to all learners.
        minibatch_size: rows a step; None for whole batches.
        distributed: ask the other learners.

    Returns:
        One count per module.
    """
    fewest, most = torch.tensor(rows), torch.tensor(rows)
    if distributed:
        torch.distributed.all_reduce(fewest, op=torch.distributed.ReduceOp.MIN)
        torch.distributed.all_reduce(most, op=torch.distributed.ReduceOp.MAX)
    size = minibatch_size or max(1, int(most.max()))
    return [
        min(low, max(1, round(high / size)))
        for low, high in zip(fewest.tolist(), most.tolist(), strict=True)
    ]


def update_by_ppo(
    loss_of: Callable[[dict[str, torch.Tensor]], torch.Tensor],
    optimizer: torch.optim.Optimizer,
    batch: Mapping[str, torch.Tensor],
    *,
    epochs: int,
    minibatches: int,
    grad_clip: float | None,
    rng: np.random.Generator,
) -> float:
    """Minimise ``loss_of`` over ``epochs`` passes, each split into ``minibatches`` random parts.

    Sequences (`sequences`) stay whole; without any, every row is one of its own.

    Args:
        loss_of: maps a minibatch to its scalar loss.
        optimizer: of the module's parameters.
        batch: columns ``[T, ...]``.
        epochs: passes over the rows.
        minibatches: parts of a pass, of equal size up to one row or sequence. If there are fewer
            sequences, some are taken twice, because other learners wait for the steps.
        grad_clip: largest global gradient norm; None for no clipping.
        rng: shuffles the rows.

    Returns:
        The last minibatch's loss.
    """
    num_rows = len(next(iter(batch.values())))
    first_rows = np.arange(num_rows)
    if SEQUENCE_STARTS in batch:
        first_rows = np.flatnonzero(batch[SEQUENCE_STARTS].cpu().numpy())
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    loss = torch.tensor(float("nan"))
    for _ in range(epochs):
        order = rng.permutation(len(first_rows))
        for part in np.array_split(np.resize(order, max(len(order), minibatches)), minibatches):
            if len(first_rows) < num_rows:
                part = rows_of_sequences(first_rows, num_rows, part)
            drawn = torch.from_numpy(part)
            loss = loss_of({name: column[drawn] for name, column in batch.items()})
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if grad_clip is not None:
                torch.nn.utils.clip_grad_norm_(parameters, grad_clip)
            optimizer.step()
    return float(loss.detach())


def explained_variance(targets: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """``1 - Var[targets - values] / Var[targets]`` of ``[B]`` rows, at least -1.

    As RLlib has it, but for a single row: that has no variance to explain, and gives 1, not NaN.
    """
    left = (targets - values).var(correction=0)
    return (1 - left / (targets.var(correction=0) + 1e-6)).clamp(min=-1.0)


def ppo_loss(
    policy: Any,
    values: torch.Tensor,
    batch: Mapping[str, torch.Tensor],
    *,
    config: Any,
    entropy_coeff: float,
    kl_coeff: torch.Tensor,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """PPO's loss (Schulman et al. 2017, arXiv:1707.06347, equations 7 and 9).

    The same as that of RLlib's learner, which also logs every minibatch and builds distributions
    that it does not need: a tenth of an iteration.

    Args:
        policy: RLlib's distribution of B actions as the policy is now.
        values: ``[B]`` V_nu, standardised.
        batch: the columns of `advantage_columns`, ``[B, ...]``.
        config: has ``clip_param``, ``vf_clip_param``, ``vf_loss_coeff`` and ``use_kl_loss``.
        entropy_coeff: beta.
        kl_coeff: weight of KL(rollout policy || policy), with ``use_kl_loss`` only.

    Returns:
        The loss, and its parts under RLlib's names for them.
    """
    advantages = batch[Postprocessing.ADVANTAGES]
    ratio = (policy.logp(batch[Columns.ACTIONS]) - batch[Columns.ACTION_LOGP]).exp()
    clipped = ratio.clamp(1 - config.clip_param, 1 + config.clip_param)
    policy_loss = -torch.min(advantages * ratio, advantages * clipped).mean()
    errors = (values - batch[Postprocessing.VALUE_TARGETS]).square()
    value_loss = errors.clamp(max=config.vf_clip_param).mean()
    entropy = policy.entropy().mean()
    kl = torch.zeros_like(entropy)
    loss = policy_loss + config.vf_loss_coeff * value_loss - entropy_coeff * entropy
    if config.use_kl_loss:
        kl = type(policy).from_logits(batch[Columns.ACTION_DIST_INPUTS]).kl(policy).mean()
        loss = loss + kl_coeff * kl
    parts = {
        POLICY_LOSS_KEY: policy_loss,
        VF_LOSS_KEY: value_loss,
        LEARNER_RESULTS_VF_LOSS_UNCLIPPED_KEY: errors.mean(),
        LEARNER_RESULTS_VF_EXPLAINED_VAR_KEY: explained_variance(
            batch[Postprocessing.VALUE_TARGETS], values
        ),
        ENTROPY_KEY: entropy,
        LEARNER_RESULTS_KL_KEY: kl,
    }
    return loss, {name: part.detach() for name, part in parts.items()}
