"""What environments give, checked agent by agent: known agents, shapes, finite numbers."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import gymnasium as gym
import numpy as np


def check_given(
    spaces: Mapping[str, gym.Space],
    observations: Mapping[str, Any],
    rewards: Mapping[str, float] | None = None,
) -> None:
    """Check what one environment gives in one call.

    Bounds of Box spaces are not checked: policies learn from what exceeds them, too.

    Args:
        spaces: of all possible agents' observations.
        observations: by agent, of those that are shown something.
        rewards: by agent; None from ``reset()``.

    Raises:
        ValueError: an agent that is not known, an observation of another shape than its space or
            with numbers that are not finite, or such a reward; names the agent.
    """
    _check_known(spaces, observations, "an observation")
    for agent, observation in observations.items():
        fault = _fault_of(spaces[agent], observation, "observation")
        if fault is not None:
            raise ValueError(f"agent {agent!r}: {fault}")
    if rewards is None:
        if not observations:
            raise ValueError("found no observation at the beginning, expected one or more agents'")
        return
    _check_known(spaces, rewards, "a reward")
    for agent, reward in rewards.items():
        if not math.isfinite(reward):
            raise ValueError(f"agent {agent!r}: found a reward of {reward}, expected a finite one")


def check_worlds_rows(spaces: Mapping[str, gym.Space], rows: Mapping[str, np.ndarray]) -> None:
    """Check what all worlds show: agent to ``[B, ...]``; raises as `check_given`."""
    if rows.keys() != spaces.keys():
        raise ValueError(f"found observations of {sorted(rows)}, expected {sorted(spaces)}")
    for agent, column in rows.items():
        if not np.isfinite(column).all():
            worlds = np.flatnonzero(~np.isfinite(column).reshape(len(column), -1).all(axis=1))
            fault = _not_finite("observation", column[worlds[0]])
            raise ValueError(f"agent {agent!r} in world {worlds[0]}: {fault}")


def check_worlds_rewards(agents: tuple[str, ...], rewards: np.ndarray) -> None:
    """Check the rewards of all worlds, ``[B, N]``; raises as `check_given`."""
    if not np.isfinite(rewards).all():
        world, index = np.argwhere(~np.isfinite(rewards))[0]
        raise ValueError(
            f"agent {agents[index]!r} in world {world}: found a reward of {rewards[world, index]}, "
            "expected a finite one"
        )


def _check_known(known: Collection[str], found: Collection[str], what: str) -> None:
    for agent in found:
        if agent not in known:
            raise ValueError(
                f"found {what} of the agent {agent!r}, expected agents of possible_agents: "
                f"{list(known)}"
            )


def _fault_of(space: gym.Space, found: Any, name: str) -> str | None:
    """What is wrong with an observation, or a part of one."""
    if isinstance(space, gym.spaces.Dict | gym.spaces.Tuple):
        return _fault_of_parts(space, found, name)
    if space.shape is None:
        return None
    array = np.asarray(found)
    if array.shape != space.shape or array.dtype.kind not in "fiub":
        return (
            f"found {name} of shape {array.shape} and type {array.dtype}, expected shape "
            f"{space.shape} as in its space {space}"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return _not_finite(name, array)
    return None


def _fault_of_parts(space: gym.Space, found: Any, name: str) -> str | None:
    is_dict = isinstance(space, gym.spaces.Dict)
    parts = dict(space.spaces) if is_dict else dict(enumerate(space.spaces))
    keys = list(found) if isinstance(found, Mapping) else list(range(len(found)))
    if set(keys) != set(parts):
        return f"found {name} of the parts {keys}, expected {list(parts)}"
    faults = (_fault_of(part, found[key], f"{name}[{key!r}]") for key, part in parts.items())
    return next((fault for fault in faults if fault is not None), None)


def _not_finite(name: str, array: np.ndarray) -> str:
    where = np.argwhere(~np.isfinite(array))
    first = tuple(where[0])
    return (
        f"found {name} with {len(where)} of {array.size} numbers not finite (the first is "
        f"{array[first]} at {where[0].tolist()}), expected finite numbers"
    )
