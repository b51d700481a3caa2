"""The rows of one agent: what it saw, whether it participated, what it did (the paper's Z)."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from gymnasium.spaces import Space

from rllib_amagail.demonstrations.errors import DemonstrationsError
from rllib_amagail.spaces import ActionLayout, ObservationLayout

_KINDS = {np.int64: "iu", np.bool_: "b", np.float32: "fiu"}


@dataclass(frozen=True, eq=False)
class AgentRecord:
    """K rows of one agent, sorted by (episode, round), at most one per round.

    A row whose `participates` is False holds phi, the paper's placeholder action (section 3.3).
    Dense sources have such rows, sparse sources do not; `turns()` is the same for both. The
    arrays are read-only. Demonstrations for imitation from observation alone have no actions: their
    `action` is None, their `participates` stays. Raises DemonstrationsError, naming agent, row,
    episode and round.
    """

    agent: str
    episode: np.ndarray  # [K] int64, from 0
    round: np.ndarray  # [K] int64, from 0
    participates: np.ndarray  # [K] bool
    observation: np.ndarray  # [K, D] float32, flat features without the mask
    action: np.ndarray | None  # canonical: [K] or [K, n] int64, [K, d] float32; zeros where phi
    action_mask: np.ndarray | None = None  # [K, M] bool
    reward: np.ndarray | None = None  # [K] float32

    def __post_init__(self) -> None:
        for name in ("episode", "round"):
            self._store(name, np.int64, 1)
        self._store("participates", np.bool_, 1)
        self._store("observation", np.float32, 2)
        if self.action is not None:
            is_box = np.asarray(self.action).dtype.kind == "f"
            self._store("action", *((np.float32, 2) if is_box else (np.int64, 1, 2)))
        if self.action_mask is not None:
            self._store("action_mask", np.bool_, 2)
        if self.reward is not None:
            self._store("reward", np.float32, 1)
        self._check_order()
        self._check_finite("observation", self.observation)
        if self.reward is not None:
            self._check_finite("reward", self.reward[:, None])
        if self.action is not None:
            self._check_phi(self.action)

    def __len__(self) -> int:
        return len(self.episode)

    @property
    def num_turns(self) -> int:
        """How many rows are turns, whether their actions were recorded or not."""
        return int(self.participates.sum())

    @property
    def phi_share(self) -> float:
        """Share of the rows that hold phi; 0 without rows."""
        return 1.0 - self.num_turns / len(self) if len(self) else 0.0

    def turns(self) -> "AgentRecord":
        """Drop the phi rows (Algorithm 1, lines 5 and 10)."""
        if self.participates.all():
            return self
        return AgentRecord(self.agent, **self.columns(self.participates))

    def columns(self, rows: np.ndarray | slice) -> dict[str, Any]:
        """All arrays by field name, at `rows` (a mask, indices or a slice); None stays None."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "agent"}
        return {name: None if a is None else a[rows] for name, a in arrays.items()}

    def check_spaces(self, observation_space: Space, action_space: Space) -> None:
        """Raise DemonstrationsError unless features, mask and actions belong to the spaces.

        Actions, if there are any, are checked where the agent participates.
        """
        try:
            layout = ObservationLayout.from_space(observation_space)
            actions = ActionLayout.from_space(action_space)
            if layout.mask_size not in (0, actions.mask_size):
                raise ValueError(
                    f"found an action mask of {layout.mask_size} entries in the observation "
                    f"space, expected {actions.mask_size} for {action_space}"
                )
            mask = self.action_mask
            found = (self.observation.shape[1], None if mask is None else mask.shape[1])
            expected = (layout.feature_size, layout.mask_size or None)
            if found != expected:
                raise ValueError(
                    f"found {found[0]} features and {found[1]} mask columns, expected "
                    f"{expected[0]} and {expected[1]} for {observation_space}"
                )
            if self.action is None:
                return
            turns = np.flatnonzero(self.participates)
            turn_masks = None if mask is None else mask[turns]
            invalid = actions.first_invalid(self.action[turns], turn_masks)
        except ValueError as error:
            raise DemonstrationsError(f"agent {self.agent!r}: {error}") from error
        if invalid is not None:
            raise DemonstrationsError(f"{self.locate(int(turns[invalid[0]]))}: {invalid[1]}")

    def locate(self, row: int) -> str:
        """How errors name a row."""
        place = f"episode {self.episode[row]}, round {self.round[row]}"
        return f"agent {self.agent!r}, row {row} ({place})"

    def _store(self, name: str, dtype: type, *ndims: int) -> None:
        array = np.asarray(getattr(self, name))
        shape = (len(np.asarray(self.episode)), *array.shape[1:])
        if array.ndim not in ndims or array.shape != shape or array.dtype.kind not in _KINDS[dtype]:
            raise DemonstrationsError(
                f"agent {self.agent!r}: found {name} {array.dtype} of shape {array.shape}, "
                f"expected {np.dtype(dtype)} of {' or '.join(map(str, ndims))} dimensions and "
                f"{shape[0]} rows, as many as episode has"
            )
        # A caller who may still write to the array must not be able to change the record.
        with np.errstate(over="ignore"):  # infinities are reported below, with their row
            array = array.astype(dtype, order="C", copy=array.flags.writeable)
        array.setflags(write=False)
        object.__setattr__(self, name, array)

    def _check_order(self) -> None:
        for name, array in (("episode", self.episode), ("round", self.round)):
            if len(array) and array.min() < 0:
                row = int(array.argmin())
                raise DemonstrationsError(
                    f"{self.locate(row)}: found {name} {array[row]}, expected 0 or more"
                )
        step = np.diff(self.episode)
        wrong = (step < 0) | ((step == 0) & (np.diff(self.round) <= 0))
        if wrong.any():
            row = int(wrong.argmax()) + 1
            raise DemonstrationsError(
                f"{self.locate(row)}: found it after episode {self.episode[row - 1]}, round "
                f"{self.round[row - 1]}, expected rows sorted by (episode, round) without "
                f"duplicates: sort the rows and keep one per round"
            )

    def _check_phi(self, action: np.ndarray) -> None:
        wrong = ~self.participates
        if len(wrong):
            wrong &= (action.reshape(len(wrong), -1) != 0).any(axis=1)
        if wrong.any():
            row = int(wrong.argmax())
            raise DemonstrationsError(
                f"{self.locate(row)}: found action {action[row]} of a non-participant, "
                f"expected zeros: phi is recorded by participates = False"
            )

    def _check_finite(self, name: str, array: np.ndarray) -> None:
        wrong = ~np.isfinite(array)
        if wrong.any():
            row, column = (int(index) for index in np.argwhere(wrong)[0])
            raise DemonstrationsError(
                f"{self.locate(row)}: found {name} {array[row, column]} in column {column}, "
                f"expected finite float32 values, phi rows included"
            )
