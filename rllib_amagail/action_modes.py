"""Which action set each agent may use in a round: the paper's closing remark (section 6).

There Y does not only say whether agent i participates, but how: which of its action sets A_i^m it
follows. Mode 0 is phi, modes 1 to M are the action sets. With M = 1 it is the player function.
Shapes: B worlds, N agents, M action sets.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rllib_amagail.turn_sampler import agents_in

NO_MODE = 0  # phi


@dataclass(frozen=True, eq=False)
class ModeFunction:
    """Y over action sets: each agent's mode by chance, given its own last one.

    Args:
        initial: `[N, M + 1]`, zeta: chances of the modes in round 0. Rows sum to one.
        transition: `[N, M + 1, M + 1]`, Y: row m of an agent holds the chances of its next modes
            after mode m. None: those of `initial`, whatever the last mode.

    Raises:
        ValueError: an array of another shape, or rows that are no probabilities.
    """

    initial: np.ndarray
    transition: np.ndarray | None = None

    def __post_init__(self) -> None:
        agents_in("initial", self.initial, "[N, M + 1]")
        initial = _rows_of_chances("initial", self.initial, np.shape(self.initial))
        num_agents, num_modes = initial.shape
        shape = (num_agents, num_modes, num_modes)
        given = self.transition
        if given is None:
            given = np.broadcast_to(initial[:, None, :], shape)
        object.__setattr__(self, "initial", initial)
        object.__setattr__(self, "transition", _rows_of_chances("transition", given, shape))

    @property
    def num_agents(self) -> int:
        """N."""
        return int(self.initial.shape[0])

    @property
    def num_modes(self) -> int:
        """M + 1."""
        return int(self.initial.shape[1])

    def probabilities(self, modes: np.ndarray | None) -> np.ndarray:
        """Chances of the next modes.

        Args:
            modes: `[N]` those of the last round; None in round 0.

        Returns:
            `[N, M + 1]`.
        """
        if modes is None:
            return self.initial
        assert self.transition is not None  # set above
        return self.transition[np.arange(self.num_agents), modes]


class ModeSampler:
    """Draws the modes of one world, round by round.

    Every draw takes N uniform numbers from `rng`.
    """

    def __init__(self, mode_function: ModeFunction, rng: np.random.Generator) -> None:
        self.mode_function = mode_function
        self._rng = rng
        self._modes: np.ndarray | None = None

    def reset(self) -> np.ndarray:
        """`[N]` modes of round 0 of a new episode."""
        self._modes = None
        return self.step()

    def step(self) -> np.ndarray:
        """`[N]` modes of the next round."""
        ends = np.cumsum(self.mode_function.probabilities(self._modes), axis=1)
        drawn = self._rng.random(len(ends))[:, None] * ends[:, -1:]
        self._modes = (drawn >= ends).sum(axis=1)
        return self._modes

    def get_state(self) -> dict[str, Any]:
        """The stream; `reset` comes after `set_state`."""
        return {"generator": copy.deepcopy(self._rng.bit_generator.state)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue the stream of a `get_state`."""
        self._rng.bit_generator.state = copy.deepcopy(state["generator"])


def _rows_of_chances(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    array = np.array(values, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    wrong = ~((array >= 0.0) & (array <= 1.0)).all(axis=-1) | ~np.isclose(array.sum(axis=-1), 1.0)
    if wrong.any():
        where = tuple(np.argwhere(wrong)[0].tolist())
        raise ValueError(
            f"{name}{list(where)} is {array[where].tolist()}, expected chances that sum to one"
        )
    array.flags.writeable = False
    return array
