"""Whose turn it is: the player function Y, the history it looks at, and the draw of I_t from it.

Paper, section 2.1: I_0 ~ zeta, then I_t ~ Y(. | h_{t-1}) with h_{t-1} = [I_0, ..., I_{t-1}]. Given
the history, agents are drawn independently of each other. The player functions themselves are in
`player_functions`. Shapes: B worlds, N agents, K kept rounds, S state numbers.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

NOT_STARTED = -1  # the round of a world that was never reset


def _read_only_view(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def _first_invalid(probabilities: np.ndarray) -> tuple[int, ...] | None:
    """Index of the first entry that is not a number in [0, 1]; None if every entry is one."""
    valid = (probabilities >= 0.0) & (probabilities <= 1.0)  # False for NaN, too
    if valid.all():
        return None
    return tuple(np.argwhere(~valid)[0].tolist())


def probability_array(name: str, values: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """Read-only float64 copy of `values`, checked to be of `shape` `[..., N]` and in [0, 1].

    Raises:
        ValueError: naming `name`, what was found and what was expected.
    """
    array = np.array(values, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    invalid = _first_invalid(array)
    if invalid is not None:
        raise ValueError(
            f"{name}{list(invalid)} is {array[invalid]} for agent {invalid[-1]}, "
            f"expected a finite number in [0, 1]"
        )
    array.flags.writeable = False
    return array


def checked_count(name: str, value: int, at_least: int) -> int:
    """`value` as an int. Raises a ValueError naming `name` if it is none, or below `at_least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < at_least:
        raise ValueError(f"{name} is {value!r}, expected an integer of at least {at_least}")
    return int(value)


def agents_in(name: str, values: ArrayLike, axes: str) -> int:
    """N of an array whose last axis is the agents; `axes` are all axes, such as "[P, N]".

    Raises:
        ValueError: if it has another number of axes, or an empty one.
    """
    shape = np.shape(values)
    if len(shape) != len(axes.split(",")) or 0 in shape:
        raise ValueError(f"{name} has shape {shape}, expected {axes} with no axis empty")
    return shape[-1]


@dataclass(frozen=True, eq=False)
class History:
    """h_{t-1} of B worlds: all that a player function may look at. Its arrays are read-only.

    Attributes:
        rounds: `[B]` integer t, the round about to be played.
        participation: `[B, K, N]` bool, the last K participation vectors, oldest first. Worlds may
            be at different rounds: vectors of rounds before 0 are False.
        states: `[B, S]` current joint states for a higher-order player function, else None.

    Raises:
        ValueError: if the shapes or types are others than these.
    """

    rounds: np.ndarray
    participation: np.ndarray
    states: np.ndarray | None = None

    def __post_init__(self) -> None:
        rounds, participation = np.asarray(self.rounds), np.asarray(self.participation)
        if rounds.ndim != 1 or rounds.dtype.kind != "i":
            raise ValueError(
                f"rounds is {rounds.dtype} of shape {rounds.shape}, expected integers of shape (B,)"
            )
        batch_size = len(rounds)
        found = participation.shape
        if len(found) != 3 or found[0] != batch_size or participation.dtype != np.bool_:
            raise ValueError(
                f"participation is {participation.dtype} of shape {found}, expected bool of shape "
                f"({batch_size}, K, N) because rounds has shape {rounds.shape}"
            )
        object.__setattr__(self, "rounds", _read_only_view(rounds))
        object.__setattr__(self, "participation", _read_only_view(participation))
        if self.states is not None:
            states = np.asarray(self.states)
            if states.ndim != 2 or len(states) != batch_size:
                raise ValueError(
                    f"states has shape {states.shape}, expected ({batch_size}, S): one row a world"
                )
            object.__setattr__(self, "states", _read_only_view(states))


class PlayerFunction(ABC):
    """Y and zeta of a Markov game (paper, sections 2.1 and 4.2), for B worlds at once.

    A player function is pure: equal histories give equal probabilities, and each world's row
    depends on that world's history only. `testing.PlayerFunctionContract` checks this.

    Attributes:
        num_agents: N.
        memory: how many past participation vectors `probabilities` needs. None: all of them.
        needs_states: whether `probabilities` looks at `History.states`.
        needs_actions: whether these have to end with the actions of the last round, as
            `states_and_actions` puts them together.
    """

    num_agents: int
    memory: int | None
    needs_states: bool = False
    needs_actions: bool = False

    @abstractmethod
    def initial_probabilities(self) -> np.ndarray:
        """Return zeta: `[N]` in [0, 1], the participation probabilities of round 0."""

    @abstractmethod
    def probabilities(self, history: History) -> np.ndarray:
        """Return Y(i | h_{t-1}): `[B, N]` in [0, 1], for worlds at a round t >= 1.

        `history.participation` holds the last `memory` vectors. If `memory` is None it holds as
        many as the furthest world has played; the other worlds have False rows in front.
        """

    def may_abstain(self) -> np.ndarray:
        """`[N]` bool: False for an agent that is certain to participate in every round."""
        return np.ones(self.num_agents, dtype=bool)

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Describe the player function in JSON types: `{"type": name, parameter: value, ...}`."""


def states_and_actions(
    states: np.ndarray, actions: np.ndarray, participation: np.ndarray
) -> np.ndarray:
    """What a player function with `needs_actions` is shown as `History.states`.

    Args:
        states: `[B, S]` joint states.
        actions: `[B, N, ...]` of the last round.
        participation: `[B, N]` bool, I_t of that round.

    Returns:
        `[B, S + N * A]`: the states, then A numbers an agent, zeros where it did not participate
        (`History.participation` tells them from an action 0).
    """
    batch_size, num_agents = participation.shape
    flat = np.asarray(actions, dtype=np.float64).reshape(batch_size, num_agents, -1)
    taken = np.where(participation[:, :, None], flat, 0.0)
    return np.concatenate([states, taken.reshape(batch_size, -1)], axis=1)


def _last_rounds(past: np.ndarray, keep: int) -> np.ndarray:
    """The newest `keep` of `[B, K, N]` vectors, with False vectors in front if K is smaller."""
    batch_size, length, num_agents = past.shape
    if length >= keep:
        return past[:, length - keep :]
    padding = np.zeros((batch_size, keep - length, num_agents), dtype=bool)
    return np.concatenate([padding, past], axis=1)


class TurnSampler:
    """Draws I_t of B worlds and keeps as much of their histories as the player function needs.

    Every draw takes `[B, N]` uniform numbers from `rng`, whatever the player function and however
    many worlds it is for. So the random stream does not depend on the player function.

    Raises:
        ValueError: if `batch_size` is below 1, or zeta is not `[N]` in [0, 1].
    """

    def __init__(
        self, player_function: PlayerFunction, batch_size: int, rng: np.random.Generator
    ) -> None:
        self.player_function = player_function
        self.batch_size = checked_count("batch_size", batch_size, at_least=1)
        self._rng = rng
        self._name = type(player_function).__name__
        self._initial = probability_array(
            f"initial_probabilities() of {self._name}",
            player_function.initial_probabilities(),
            (player_function.num_agents,),
        )
        num_agents = player_function.num_agents
        self._rounds = np.full(batch_size, NOT_STARTED, dtype=np.int64)
        self._participation = np.zeros((batch_size, num_agents), dtype=bool)
        self._past = np.zeros((batch_size, player_function.memory or 0, num_agents), dtype=bool)

    @property
    def rounds(self) -> np.ndarray:
        """`[B]` int64, read-only: the round t of each world; -1 before its first reset."""
        return _read_only_view(self._rounds)

    @property
    def participation(self) -> np.ndarray:
        """`[B, N]` bool, read-only: the current I_t of each world."""
        return _read_only_view(self._participation)

    def reset(self, worlds: np.ndarray | None = None) -> np.ndarray:
        """Start the given worlds afresh with I_0 ~ zeta; the others keep their round and I_t.

        Args:
            worlds: `[B]` bool, which worlds to reset. None: all.

        Returns:
            `[B, N]` bool, read-only: the current participation of all worlds.
        """
        chosen = self._checked_worlds(worlds)
        drawn = self._draw(self._initial)
        self._participation = np.where(chosen[:, None], drawn, self._participation)
        self._rounds = np.where(chosen, 0, self._rounds)
        self._past = self._past & ~chosen[:, None, None]
        return self.participation

    def step(
        self, states: np.ndarray | None = None, worlds: np.ndarray | None = None
    ) -> np.ndarray:
        """Move the given worlds on by one round and draw their I_t ~ Y(. | h_{t-1}).

        Args:
            states: `[B, S]` joint states, for player functions with `needs_states`.
            worlds: `[B]` bool, which worlds to move on. None: all. The others stay as they are.

        Returns:
            `[B, N]` bool, read-only: the current participation of all worlds.

        Raises:
            RuntimeError: if a world was never reset.
            ValueError: if an argument, or what the player function returns, has a wrong shape or
                value. The sampler is then unchanged.
        """
        chosen = self._checked_worlds(worlds)
        history = self.next_history(states)
        drawn = self._draw(self._checked_probabilities(history))
        kept = _last_rounds(self._past, history.participation.shape[1])
        self._past = np.where(chosen[:, None, None], history.participation, kept)
        self._participation = np.where(chosen[:, None], drawn, self._participation)
        self._rounds = np.where(chosen, history.rounds, self._rounds)
        return self.participation

    def next_history(self, states: np.ndarray | None = None) -> History:
        """What the player function is shown if all worlds move on by one round. Draws nothing.

        Args and errors are those of `step`.
        """
        if (self._rounds == NOT_STARTED).any():
            missing = np.flatnonzero(self._rounds == NOT_STARTED).tolist()
            raise RuntimeError(f"worlds {missing} were never reset: call reset() before step()")
        if not self.player_function.needs_states:
            states = None
        elif states is None:
            raise ValueError(
                f"{self._name} looks at states but none were given: "
                f"pass states of shape ({self.batch_size}, S)"
            )
        rounds = self._rounds + 1
        memory = self.player_function.memory
        played = np.concatenate([self._past, self._participation[:, None]], axis=1)
        keep = int(rounds.max()) if memory is None else memory
        return History(rounds, _last_rounds(played, keep), states)

    def get_state(self) -> dict[str, Any]:
        """Copy of all that decides future draws: arrays, and the state of the generator."""
        return {
            "rounds": self._rounds.copy(),
            "participation": self._participation.copy(),
            "past": self._past.copy(),
            "generator": copy.deepcopy(self._rng.bit_generator.state),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `get_state` was called. Also sets the state of the `rng` in use.

        Raises:
            ValueError: if an entry is missing, or is of another batch size, number of agents,
                memory or kind of generator.
        """
        missing = {"rounds", "participation", "past", "generator"} - set(state)
        if missing:
            raise ValueError(f"sampler state lacks {sorted(missing)}: pass what get_state() gave")
        copies = {name: np.array(state[name]) for name in ("rounds", "participation", "past")}
        memory = self.player_function.memory
        kept = copies["past"].shape[1] if memory is None and copies["past"].ndim == 3 else memory
        batch_size, num_agents = self._participation.shape
        found = tuple(array.shape for array in copies.values())
        expected = ((batch_size,), (batch_size, num_agents), (batch_size, kept, num_agents))
        if found != expected:
            raise ValueError(
                f"sampler state has rounds, participation and past of shapes {found}, expected "
                f"{expected}: build the sampler with the same batch size and player function"
            )
        self._rng.bit_generator.state = copy.deepcopy(state["generator"])
        self._rounds, self._participation, self._past = copies.values()

    def _draw(self, probabilities: np.ndarray) -> np.ndarray:
        # random() is in [0, 1), so probability 0 never and probability 1 always participates.
        return self._rng.random(self._participation.shape) < probabilities

    def _checked_worlds(self, worlds: np.ndarray | None) -> np.ndarray:
        if worlds is None:
            return np.ones(self.batch_size, dtype=bool)
        worlds = np.asarray(worlds)
        if worlds.shape != (self.batch_size,) or worlds.dtype != np.bool_:
            raise ValueError(
                f"worlds is {worlds.dtype} of shape {worlds.shape}, "
                f"expected a bool mask of shape ({self.batch_size},)"
            )
        return worlds

    def _checked_probabilities(self, history: History) -> np.ndarray:
        probabilities = np.asarray(self.player_function.probabilities(history), dtype=np.float64)
        if probabilities.shape != self._participation.shape:
            raise ValueError(
                f"probabilities() of {self._name} returned shape {probabilities.shape}, expected "
                f"{self._participation.shape}: one row a world, one column an agent"
            )
        invalid = _first_invalid(probabilities)
        if invalid is not None:
            world, agent = invalid
            raise ValueError(
                f"probabilities() of {self._name} returned {probabilities[invalid]} for agent "
                f"{agent} of world {world} at round {history.rounds[world]}, "
                f"expected a finite number in [0, 1]"
            )
        return probabilities
