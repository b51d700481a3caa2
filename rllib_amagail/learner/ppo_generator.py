"""Lines 11 and 12 of Algorithm 1 by PPO: one agent module's minibatch steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch


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
