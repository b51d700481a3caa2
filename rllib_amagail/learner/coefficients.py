"""Learning rates and coefficients: from the present config and its schedules, never a checkpoint's.

RLlib's optimizers bring their settings along when they are restored, so a run that goes on with
another learning rate (`ray.tune`'s population based training does) would silently keep the old one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from ray.rllib.utils.schedules.scheduler import Scheduler


@contextmanager
def settings_kept(optimizers: Iterable[torch.optim.Optimizer]) -> Iterator[None]:
    """Whatever states the optimizers load inside, their settings stay; parameters' states load."""
    optimizers = list(optimizers)
    settings = [
        [{name: value for name, value in group.items() if name != "params"} for group in groups]
        for groups in (optimizer.param_groups for optimizer in optimizers)
    ]
    yield
    for optimizer, kept in zip(optimizers, settings, strict=True):
        for group, values in zip(optimizer.param_groups, kept, strict=True):
            group.update(values)


def follow_schedules(
    rates: Iterable[tuple[torch.optim.Optimizer, Scheduler]],
    coefficients: Iterable[Scheduler],
    rounds: int,
) -> None:
    """Set what is scheduled to its values after so many rounds of the game, in double precision.

    Args:
        rates: optimizers with the schedules of their learning rates.
        coefficients: other schedules.
        rounds: where in the schedules training is.
    """
    for optimizer, schedule in rates:
        for group in optimizer.param_groups:
            group["lr"] = schedule.update(timestep=rounds)
    for schedule in coefficients:
        schedule.update(timestep=rounds)
