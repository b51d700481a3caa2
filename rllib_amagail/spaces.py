"""Observation and action spaces as arrays: flat float32 features and canonical actions.

K counts rows, D features, M mask columns, n action components.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from gymnasium.spaces.utils import flatdim

from rllib_amagail.space_json import space_from_dict, space_to_dict

__all__ = ["MASK_KEY", "ActionLayout", "ObservationLayout", "space_from_dict", "space_to_dict"]

MASK_KEY = "action_mask"
_OBSERVATIONS = "Box, Discrete, MultiDiscrete, MultiBinary, and Dict or Tuple of these"
_MAX_EXACT_INTEGER = 2**53  # the largest integer range that float64 holds exactly


@dataclass(frozen=True)
class ObservationLayout:
    """How an observation space becomes one flat float32 vector, action mask last.

    The parts follow in the order of `gymnasium.spaces.utils.flatten`, categories as one-hot. The
    key "action_mask" of a Dict space (top level only) is the mask of the legal actions.
    """

    space: Space
    feature_size: int  # D
    mask_size: int  # M, 0 without a mask

    @classmethod
    def from_space(cls, space: Space) -> "ObservationLayout":
        """Raises ValueError for an unsupported space, an unusable mask, or no features at all."""
        _require_observation_space(space)
        mask_size = 0
        if isinstance(space, Dict) and MASK_KEY in space.spaces:
            mask = space.spaces[MASK_KEY]
            if not isinstance(mask, Box | MultiBinary) or len(mask.shape) != 1:
                raise ValueError(
                    f"found {mask} under {MASK_KEY!r}, expected a Box or MultiBinary of shape [M], "
                    f"one entry per action"
                )
            mask_size = flatdim(mask)
        feature_size = flatdim(space) - mask_size
        if feature_size == 0:
            raise ValueError(f"found no features in {space}, expected at least one")
        return cls(space, feature_size, mask_size)

    def flatten(self, observations: Any) -> np.ndarray:
        """Flatten K observations: [K, D + M] float32.

        A batch is an array [K, ...], a mapping of batches (Dict) or a `tuple` of batches (Tuple).
        A list of K single observations does as well, at every level.

        Raises ValueError for wrong shapes, missing keys, unknown categories or a mask not of 0
        and 1. Finiteness and the bounds of a Box are not checked.
        """
        num_rows = _count_rows(self.space, observations)
        flat = np.zeros((num_rows, self.feature_size + self.mask_size), np.float32)
        if num_rows == 0:
            return flat
        if self.mask_size == 0:
            _fill(self.space, observations, flat, "observation")
            return flat
        features = Dict([(k, s) for k, s in self.space.spaces.items() if k != MASK_KEY])
        _fill(features, observations, flat[:, : self.feature_size], "observation")
        mask = _part(observations, MASK_KEY, "observation")
        _fill(MultiBinary(self.mask_size), mask, flat[:, self.feature_size :], MASK_KEY)
        return flat

    def split(self, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Split flat rows [K, D + M] into features [K, D] and mask [K, M] bool (None if M = 0)."""
        width = self.feature_size + self.mask_size
        if flat.ndim != 2 or flat.shape[1] != width:
            raise ValueError(
                f"found flat observations of shape {flat.shape}, expected [K, {width}]: "
                f"{self.feature_size} features and {self.mask_size} mask columns"
            )
        if self.mask_size == 0:
            return flat, None
        return flat[:, : self.feature_size], flat[:, self.feature_size :] > 0.5


@dataclass(frozen=True, eq=False)
class ActionLayout:
    """Canonical arrays of actions; values are the environment's own, offsets included.

    Discrete: [K] int64. MultiDiscrete: [K, n] int64. Box of floats: [K, d] float32.
    """

    space: Space
    shape: tuple[int, ...]  # of one action: (), (n,) or (d,)
    dtype: np.dtype
    low: np.ndarray  # smallest value per component, [1], [n] or [d]
    high: np.ndarray  # largest value per component
    sizes: tuple[int, ...]  # number of choices per component; empty for Box

    @classmethod
    def from_space(cls, space: Space) -> "ActionLayout":
        """Raises ValueError for a space other than Discrete, MultiDiscrete or Box of floats."""
        if isinstance(space, Discrete | MultiDiscrete) and np.size(space.start) > 0:
            low, sizes = _categories(space)
            high = low + sizes - 1
            if max(np.abs(low).max(), np.abs(high).max()) > _MAX_EXACT_INTEGER:
                raise ValueError(f"found {space}, expected actions within ±2**53")
            shape = () if isinstance(space, Discrete) else (len(sizes),)
            return cls(space, shape, np.dtype(np.int64), low, high, tuple(sizes.tolist()))
        if isinstance(space, Box) and space.dtype.kind == "f" and space.low.size > 0:
            # Rounding is monotone: float32 actions stay within float32 bounds.
            low, high = (bound.ravel().astype(np.float32) for bound in (space.low, space.high))
            return cls(space, (low.size,), np.dtype(np.float32), low, high, ())
        raise ValueError(
            f"found action space {space}, expected Discrete, MultiDiscrete or Box of floats, "
            f"not empty: wrap the environment to offer one of these"
        )

    @property
    def mask_size(self) -> int:
        """M, the columns of an action mask: n choices, or all components' one after the other."""
        return sum(self.sizes)

    @property
    def feature_size(self) -> int:
        """A, the columns of `features`."""
        return sum(self.sizes) or self.low.size

    def features(self, actions: np.ndarray) -> np.ndarray:
        """What networks see of canonical actions [K, ...]: [K, A] float32.

        One-hot per choice, or clipped to its bounds for a Box: what the environment executes.
        """
        rows = actions.reshape(len(actions), self.low.size)
        if not self.sizes:
            return np.clip(rows, self.low, self.high).astype(np.float32)
        hot = (rows - self.low + _offsets(np.array(self.sizes, np.int64))).astype(np.int64)
        columns = np.zeros((len(rows), self.feature_size), np.float32)
        np.put_along_axis(columns, hot, 1.0, axis=1)
        return columns

    def encode(self, actions: Any, what: str = "actions") -> np.ndarray:
        """Bring K actions (list or array, [K, ...]) to the canonical array; ranges: see `check`.

        Raises ValueError for wrong shapes, and for fractions where integers are expected.
        """
        array = _as_numbers(actions, what)
        fits = array.ndim > 0 and array.shape[1:] in (self.space.shape, self.shape)
        if not fits and array.shape != (0,):  # (0,): an empty list of any actions
            raise ValueError(
                f"{what}: found shape {array.shape}, expected one row of shape "
                f"{self.space.shape} per action of {self.space}"
            )
        if self.dtype.kind == "i":
            whole = (np.abs(array) <= _MAX_EXACT_INTEGER) & (array == np.rint(array))
            if not whole.all():
                found = array[~whole].ravel()[0]
                raise ValueError(f"{what}: found {found}, expected integers for {self.space}")
        with np.errstate(over="ignore"):  # infinities are refused as any number out of bounds
            return array.astype(self.dtype).reshape(len(array), *self.shape)

    def first_invalid(
        self, actions: np.ndarray, mask: np.ndarray | None = None
    ) -> tuple[int, str] | None:
        """Find the first row of canonical `actions` [K, ...] that is out of range or masked out.

        Returns (row, what was found and expected), or None. Raises ValueError for wrong shapes of
        the actions or of `mask` [K, M] bool.
        """
        num_rows = len(actions)
        if actions.shape != (num_rows, *self.shape) or actions.dtype != self.dtype:
            raise ValueError(
                f"found actions {actions.dtype} of shape {actions.shape}, expected {self.dtype} "
                f"of shape {(num_rows, *self.shape)}: use encode"
            )
        values = actions.reshape(num_rows, self.low.size)
        wrong = ~((values >= self.low) & (values <= self.high) & np.isfinite(values))
        if wrong.any():
            row, component = np.argwhere(wrong)[0]
            return int(row), (
                f"found {values[row, component]} in action component {component}, expected "
                f"{self.low[component]} to {self.high[component]}"
            )
        if mask is None:
            return None
        if mask.shape != (num_rows, self.mask_size) or mask.dtype != np.bool_:
            raise ValueError(
                f"found action mask {mask.dtype} of shape {mask.shape}, expected bool of shape "
                f"{(num_rows, self.mask_size)}"
            )
        offsets = _offsets(np.array(self.sizes, np.int64))
        masked_out = ~np.take_along_axis(mask, values - self.low + offsets, axis=1)
        if not masked_out.any():
            return None
        row = int(masked_out.any(axis=1).argmax())
        allowed = np.flatnonzero(mask[row]).tolist()
        return row, f"found action {actions[row]}, expected one of the mask's columns {allowed}"

    def check(self, actions: np.ndarray, mask: np.ndarray | None, what: str) -> None:
        """Raise ValueError, naming `what` and the row, if a canonical action is not allowed.

        Args:
            actions: [K, ...], as `encode` gives them.
            mask: [K, M] bool, True where a choice is legal, or None.
            what: how errors name these actions.
        """
        invalid = self.first_invalid(actions, mask)
        if invalid is not None:
            raise ValueError(f"{what}, row {invalid[0]}: {invalid[1]}")

    def indices(self, actions: np.ndarray) -> np.ndarray:
        """Zero-based choices [K] or [K, n] int64 of canonical integer actions."""
        if not self.sizes:
            raise ValueError(f"found {self.space}, expected Discrete or MultiDiscrete for indices")
        return actions - (self.low if self.shape else self.low[0])


def _require_observation_space(space: Space) -> None:
    if isinstance(space, Dict | Tuple):
        if len(space.spaces) == 0:
            raise ValueError(f"found the empty {space}, expected at least one part")
        for _, part in _parts(space):
            _require_observation_space(part)
    elif not isinstance(space, Box | Discrete | MultiDiscrete | MultiBinary):
        raise ValueError(f"found observation space {space}, expected {_OBSERVATIONS}")


def _parts(space: Dict | Tuple) -> list[tuple[Any, Space]]:
    return list(space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces))


def _categories(space: Discrete | MultiDiscrete) -> tuple[np.ndarray, np.ndarray]:
    """First value and number of values per component, each [n] int64."""
    sizes = space.n if isinstance(space, Discrete) else space.nvec
    return np.array(space.start, np.int64).ravel(), np.array(sizes, np.int64).ravel()


def _offsets(sizes: np.ndarray) -> np.ndarray:
    """First one-hot column of each component."""
    return np.cumsum(sizes) - sizes


def _as_numbers(values: Any, what: str) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{what}: found rows of different shapes, expected one shape") from error
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{what}: found {array.dtype} values, expected numbers")
    return array


def _is_batch(values: Any) -> bool:
    return isinstance(values, Mapping | tuple)


def _part(values: Any, key: Any, what: str) -> Any:
    """Part `key` of K observations, given as a batch or as K rows."""
    try:
        return values[key] if _is_batch(values) else [row[key] for row in values]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{what}: found no part {key!r}, expected one in every row") from error


def _count_rows(space: Space, values: Any) -> int:
    while isinstance(space, Dict | Tuple) and _is_batch(values):
        key, space = _parts(space)[0]
        values = _part(values, key, "observation")
    try:
        return len(values)
    except TypeError as error:
        raise ValueError(f"found {values!r}, expected a batch of observations") from error


def _fill(space: Space, values: Any, out: np.ndarray, what: str) -> None:
    """Write the flat form of K `values` of `space` into the zeros `out` [K, flatdim(space)]."""
    if isinstance(space, Dict | Tuple):
        start = 0
        for key, part in _parts(space):
            end = start + flatdim(part)
            _fill(part, _part(values, key, what), out[:, start:end], f"{what}[{key!r}]")
            start = end
        return
    array = _as_numbers(values, what)
    if array.shape != (len(out), *space.shape):
        raise ValueError(
            f"{what}: found shape {array.shape}, expected {(len(out), *space.shape)} for {space}"
        )
    if isinstance(space, Discrete | MultiDiscrete):
        low, sizes = _categories(space)
        choices = array.reshape(len(out), sizes.size) - low
        wrong = ~((choices >= 0) & (choices < sizes) & (choices == np.rint(choices)))
        columns = np.where(wrong, 0, choices).astype(np.int64) + _offsets(sizes)
        np.put_along_axis(out, columns, 1.0, axis=1)
    else:
        out[:] = array.reshape(out.shape)
        if isinstance(space, Box):
            return
        wrong = (array != 0) & (array != 1)
    if wrong.any():
        row = int(np.argwhere(wrong)[0][0])
        raise ValueError(f"{what}, row {row}: found {array[row]}, expected a value of {space}")
