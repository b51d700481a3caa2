"""Lines 9, 11 and 12 of Algorithm 1: advantages, and one agent module's minibatch steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_amagail.advantages import turn_advantages
from rllib_amagail.learner.turns import TurnBatch
from rllib_amagail.running_moments import RunningMoments


def ppo_columns(
    turns: TurnBatch,
    rewards: np.ndarray,
    module: RLModule,
    value_moments: RunningMoments,
    *,
    gamma: float,
    lambda_: float,
) -> dict[str, torch.Tensor]:
    """Line 9: the columns that PPO's loss reads, ``[T, ...]``, on the module's device.

    The baseline network predicts standardised values, because discounted sums of rewards can lie
    anywhere: ``V = mean + deviation * output``.

    Args:
        turns: the module's turns.
        rewards: ``[T]`` rewards to learn from.
        module: values the turns and their final observations.
        value_moments: of all value targets so far; takes in the new ones.
        gamma: discount per round.
        lambda_: decay per turn.

    Returns:
        Rollout columns, standardised value targets V*, advantages A_i of mean 0 and deviation 1.
    """
    device = next(module.parameters()).device
    observations = np.concatenate([turns.observations, turns.final_observations])
    with torch.no_grad():
        estimates = module.compute_values({Columns.OBS: torch.from_numpy(observations).to(device)})
    estimates = value_moments.mean + value_moments.deviation * estimates.cpu().numpy()
    values, final_values = np.split(estimates, [len(turns)])
    advantages = turn_advantages(
        rewards,
        values,
        np.where(turns.terminated, 0.0, final_values),
        turns.elapsed_rounds,
        turns.segment_starts,
        gamma=gamma,
        lambda_=lambda_,
    )
    value_targets = advantages + values
    value_moments.update(value_targets)
    deviation = max(1e-4, float(advantages.std()))
    columns = {
        Columns.OBS: turns.observations,
        Columns.ACTIONS: turns.actions,
        Columns.ACTION_LOGP: turns.action_logp,
        Columns.ACTION_DIST_INPUTS: turns.action_dist_inputs,
        Postprocessing.VALUE_TARGETS: value_moments.standardise(value_targets),
        Postprocessing.ADVANTAGES: (advantages - advantages.mean()) / deviation,
    }
    return {name: torch.from_numpy(column).to(device) for name, column in columns.items()}


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


def update_generator(
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

    Args:
        loss_of: maps a minibatch to its scalar loss.
        optimizer: of the module's parameters.
        batch: columns ``[T, ...]``.
        epochs: passes over the rows.
        minibatches: parts of a pass, of equal size up to one row.
        grad_clip: largest global gradient norm; None for no clipping.
        rng: shuffles the rows.

    Returns:
        The last minibatch's loss.
    """
    rows = len(next(iter(batch.values())))
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    loss = torch.tensor(float("nan"))
    for _ in range(epochs):
        for part in np.array_split(rng.permutation(rows), minibatches):
            drawn = torch.from_numpy(part)
            loss = loss_of({name: column[drawn] for name, column in batch.items()})
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if grad_clip is not None:
                torch.nn.utils.clip_grad_norm_(parameters, grad_clip)
            optimizer.step()
    return float(loss.detach())
