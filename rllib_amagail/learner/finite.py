"""Numbers that are not finite: found once an update, and told with the batch they came from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch

Column = np.ndarray | torch.Tensor | torch.nn.Module  # of a module, its weights at the end


class FiniteWatch:
    """The numbers of one module's update, in the order in which they came about.

    Args:
        module_id: whose.
    """

    def __init__(self, module_id: str) -> None:
        self._module_id = module_id
        self._columns: dict[str, Column] = {}

    def saw(self, columns: Mapping[str, Column]) -> None:
        """Remember numbers of any shapes, by name."""
        self._columns |= columns

    def fault(self) -> str | None:
        """What was not finite first, and statistics of all; None if all is well."""
        tensors = {name: _tensor(column) for name, column in self._columns.items()}
        first = next((n for n, t in tensors.items() if not torch.isfinite(t).all()), None)
        if first is None:
            return None
        found = "; ".join(_statistics(name, tensor) for name, tensor in tensors.items())
        return (
            f"{first} of module {self._module_id!r} not finite; expected finite numbers. In this "
            f"update: {found}. If observations or rewards are not finite, look at the environment; "
            "else try a smaller lr, or grad_clip"
        )


@contextmanager
def require_finite(module_id: str, distributed: bool) -> Iterator[FiniteWatch]:
    """Watch what is done to a module.

    Numbers that are not finite often end it early, in a distribution that refuses them, and that
    error tells little.

    Args:
        module_id: of the module.
        distributed: ask the other learners, so that all stop here, and none waits for another.

    Yields:
        A `FiniteWatch`, to be told what is to be finite.

    Raises:
        FloatingPointError: something was not, on this learner or on another.
    """
    watch = FiniteWatch(module_id)
    try:
        yield watch
    except (ValueError, RuntimeError) as error:
        fault = watch.fault()
        if fault is None:
            raise
        raise FloatingPointError(fault) from error
    fault = watch.fault()
    if _on_any_learner(fault is not None, distributed):
        raise FloatingPointError(
            fault or f"numbers of module {module_id!r} not finite on another learner"
        )


def _on_any_learner(found: bool, distributed: bool) -> bool:
    if not distributed:
        return found
    backend = torch.distributed.get_backend()
    flag = torch.tensor(float(found), device="cuda" if backend == "nccl" else "cpu")
    torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
    return bool(flag > 0)


def _tensor(column: Column) -> torch.Tensor:
    if isinstance(column, torch.nn.Module):
        return torch.cat([parameter.detach().ravel() for parameter in column.parameters()])
    return torch.as_tensor(column).detach()


def _statistics(name: str, tensor: torch.Tensor) -> str:
    numbers = tensor.double()
    finite = numbers[torch.isfinite(numbers)]
    mean, deviation = (
        (finite.mean(), finite.std(correction=0)) if len(finite) else (math.nan, math.nan)
    )
    missing = numbers.numel() - len(finite)
    return (
        f"{name} have mean {mean:.3g}, deviation {deviation:.3g}, "
        f"{missing} of {numbers.numel()} not finite"
    )
