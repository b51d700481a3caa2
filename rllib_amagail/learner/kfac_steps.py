"""What the steps of policy, baseline and discriminator share when K-FAC takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

AllReduce = Callable[[torch.Tensor], torch.Tensor]


def label_generator(rng: np.random.Generator, device: torch.device) -> torch.Generator:
    """Torch's kind of generator, seeded by numpy's: one stream to keep in the checkpoint."""
    return torch.Generator(device).manual_seed(int(rng.integers(2**62)))


def average_over_learners(tensor: torch.Tensor) -> torch.Tensor:
    """The mean over learners, in place; all must call it in the same order."""
    torch.distributed.all_reduce(tensor)
    return tensor.div_(torch.distributed.get_world_size())


def descend(
    optimizer: torch.optim.Optimizer, loss: torch.Tensor, all_reduce: AllReduce | None = None
) -> None:
    """Take one step down the gradient of a loss.

    Args:
        optimizer: of any kind.
        loss: scalar; for K-FAC a mean over the rows whose statistics it has collected.
        all_reduce: averages the gradients over the learners where no module wrapped for several
            learners does.
    """
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if all_reduce is not None:
        _average_gradients(optimizer.param_groups[0]["params"], all_reduce)
    optimizer.step()


def _average_gradients(parameters: Sequence[torch.nn.Parameter], all_reduce: AllReduce) -> None:
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = all_reduce(torch.cat([gradient.ravel() for gradient in gradients]))
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
