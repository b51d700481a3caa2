"""One observation or many, as an environment gives them or flat already, as features and masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Dict, Space, Tuple

from rllib_amagail.spaces import MASK_KEY, ObservationLayout


def observation_rows(
    layout: ObservationLayout, observation: Any
) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """Features ``[B, D]`` float32, mask ``[B, M]`` bool, and whether it was a single observation.

    Args:
        layout: of the space.
        observation: one of the space, a batch of them as `ObservationLayout.flatten` takes it, or
            flat: features ``[D]`` or ``[B, D]``, with or without the M columns of the mask.

    Returns:
        The mask is None if the space has none, and all True for features alone.

    Raises:
        ValueError: shapes or values that are not of the space.
    """
    size, mask_size = layout.feature_size, layout.mask_size
    array = observation if isinstance(observation, np.ndarray) else None
    if array is not None and array.ndim in (1, 2) and not _is_structured(layout.space, array):
        if array.shape[-1] == size + mask_size:
            rows = np.atleast_2d(array).astype(np.float32)
            return *layout.split(rows), array.ndim == 1
        if array.shape[-1] == size:
            rows = np.atleast_2d(array).astype(np.float32)
            return rows, np.ones((len(rows), mask_size), bool), array.ndim == 1
    is_single = _is_single(layout.space, observation)
    rows = layout.flatten([observation] if is_single else observation)
    return *layout.split(rows), is_single


def _is_structured(space: Space, array: np.ndarray) -> bool:
    """Whether an array is one observation or a batch in the space's own shape."""
    shape = space.shape
    return shape is not None and array.shape in (shape, (len(array), *shape))


def _is_single(space: Space, observation: Any) -> bool:
    while isinstance(space, Dict | Tuple):
        if isinstance(observation, list):
            return False
        keys = space.spaces.keys() if isinstance(space, Dict) else range(len(space.spaces))
        # A mask has one shape only, so that it tells the two apart whatever the other parts are.
        key = MASK_KEY if MASK_KEY in keys else next(iter(keys))
        try:
            observation = observation[key]
        except (KeyError, IndexError, TypeError):
            return False  # `flatten` says what is missing
        space = space.spaces[key]
    return np.ndim(observation) == len(space.shape or ())
