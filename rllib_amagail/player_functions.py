"""The player functions of the paper's section 4.2, and callables for every other one.

| class | who acts in round t | paper |
|---|---|---|
| `Synchronous` | everybody | figure 1a |
| `DeterministicPattern` | a fixed, repeated list of participation vectors | figure 1b |
| `IndependentStochastic` | each agent by its own chance, whatever the history | figure 1c |
| `MarkovParticipation` | each agent by chance, given whether it acted last round | section 2.1 |
| `JointMarkovParticipation` | each agent by chance, given who acted last round | section 2.1 |
| `LogisticParticipation` | each agent by chance, given the state and who acted last | section 2.1 |
| `HistoryPlayerFunction` | any function of the participation history | section 2.1 |
| `StatePlayerFunction` | any function of history and state: the higher-order form | section 2.1 |

All but the last two are values: equal parameters make them equal, and `to_dict` and
`player_function_from_dict` take them through JSON. Shapes: B worlds, N agents.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

import numpy as np

from rllib_amagail.logistic_participation import LogisticParticipation
from rllib_amagail.turn_sampler import (
    History,
    PlayerFunction,
    TurnSampler,
    agents_in,
    checked_count,
    probability_array,
)
from rllib_amagail.value_player_function import ValuePlayerFunction

__all__ = [
    "DeterministicPattern",
    "History",
    "HistoryPlayerFunction",
    "IndependentStochastic",
    "JointMarkovParticipation",
    "LogisticParticipation",
    "MarkovParticipation",
    "PlayerFunction",
    "StatePlayerFunction",
    "Synchronous",
    "TurnSampler",
    "paper_pattern",
    "player_function_from_dict",
]


@dataclass(frozen=True, eq=False)
class Synchronous(ValuePlayerFunction):
    """Everybody acts in every round: the games of MAGAIL (paper, figure 1a and Corollary 2.1)."""

    num_agents: int
    type_name = "synchronous"
    memory = 0

    def __post_init__(self) -> None:
        self._set(num_agents=checked_count("num_agents", self.num_agents, at_least=1))

    def initial_probabilities(self) -> np.ndarray:
        return np.ones(self.num_agents)

    def probabilities(self, history: History) -> np.ndarray:
        return np.ones((len(history.rounds), self.num_agents))

    def may_abstain(self) -> np.ndarray:
        return np.zeros(self.num_agents, dtype=bool)


@dataclass(frozen=True, eq=False)
class DeterministicPattern(ValuePlayerFunction):
    """Round t has the participation vector `pattern[t % P]` (paper, figure 1b).

    Args:
        pattern: `[P, N]` bool, or 0 and 1.

    Raises:
        ValueError: if the pattern is not of that shape, is empty, or has other values.
    """

    pattern: np.ndarray
    type_name = "deterministic_pattern"
    memory = 0

    def __post_init__(self) -> None:
        num_agents = agents_in("pattern", self.pattern, "[P, N]")
        pattern = np.array(self.pattern)
        if not np.isin(pattern, (0, 1)).all():
            raise ValueError(f"pattern is {pattern.tolist()}, expected only True and False")
        pattern = pattern.astype(bool)
        pattern.flags.writeable = False
        self._set(pattern=pattern, num_agents=num_agents)

    def initial_probabilities(self) -> np.ndarray:
        return self.pattern[0].astype(np.float64)

    def probabilities(self, history: History) -> np.ndarray:
        return self.pattern[history.rounds % len(self.pattern)].astype(np.float64)

    def may_abstain(self) -> np.ndarray:
        return ~np.all(self.pattern, axis=0)


def paper_pattern() -> DeterministicPattern:
    """The order of the paper's deterministic games (section 5): all, #1 and #2, #1; repeated."""
    return DeterministicPattern(np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=bool))


@dataclass(frozen=True, eq=False)
class IndependentStochastic(ValuePlayerFunction):
    """Each agent acts by its own chance, whatever the history (paper, figure 1c and section 5).

    Args:
        probability: `[N]` in [0, 1], Y of every round t >= 1.
        initial: `[N]` in [0, 1], zeta. Default: `probability`.

    Raises:
        ValueError: if an array has another shape or other values.
    """

    probability: np.ndarray
    initial: np.ndarray = None  # type: ignore[assignment]  # an array once constructed
    type_name = "independent_stochastic"
    memory = 0

    def __post_init__(self) -> None:
        num_agents = agents_in("probability", self.probability, "[N]")
        probability = probability_array("probability", self.probability, (num_agents,))
        initial = probability if self.initial is None else self.initial
        self._set(
            probability=probability,
            initial=probability_array("initial", initial, (num_agents,)),
            num_agents=num_agents,
        )

    def initial_probabilities(self) -> np.ndarray:
        return self.initial

    def probabilities(self, history: History) -> np.ndarray:
        return np.broadcast_to(self.probability, (len(history.rounds), self.num_agents))

    def may_abstain(self) -> np.ndarray:
        return (self.initial < 1.0) | (self.probability < 1.0)


@dataclass(frozen=True, eq=False)
class MarkovParticipation(ValuePlayerFunction):
    """Each agent acts by chance, given whether it acted itself in the last round.

    Args:
        probability_after_turn: `[N]` in [0, 1], Y of an agent that acted in the last round.
        probability_after_pause: `[N]` in [0, 1], Y of an agent that did not.
        initial: `[N]` in [0, 1], zeta.

    Raises:
        ValueError: if an array has another shape or other values.
    """

    probability_after_turn: np.ndarray
    probability_after_pause: np.ndarray
    initial: np.ndarray
    type_name = "markov_participation"
    memory = 1

    def __post_init__(self) -> None:
        num_agents = agents_in("initial", self.initial, "[N]")
        for name in ("probability_after_turn", "probability_after_pause", "initial"):
            self._set(**{name: probability_array(name, getattr(self, name), (num_agents,))})
        self._set(num_agents=num_agents)

    def initial_probabilities(self) -> np.ndarray:
        return self.initial

    def probabilities(self, history: History) -> np.ndarray:
        last = history.participation[:, -1]
        return np.where(last, self.probability_after_turn, self.probability_after_pause)

    def may_abstain(self) -> np.ndarray:
        return (self.initial < 1.0) | (self.probability_after_turn < 1.0)


@dataclass(frozen=True, eq=False)
class JointMarkovParticipation(ValuePlayerFunction):
    """Each agent acts by chance, given who of all agents acted in the last round.

    Args:
        table: `[2**N, N]` in [0, 1]. Row r is Y after the participation vector that is r written
            in binary, first agent first: with N = 3, `table[0b110]` holds after #1 and #2 acted.
        initial: `[N]` in [0, 1], zeta.

    Raises:
        ValueError: if an array has another shape or other values.
    """

    table: np.ndarray
    initial: np.ndarray
    type_name = "joint_markov_participation"
    memory = 1

    def __post_init__(self) -> None:
        num_agents = agents_in("initial", self.initial, "[N]")
        self._set(
            table=probability_array("table", self.table, (2**num_agents, num_agents)),
            initial=probability_array("initial", self.initial, (num_agents,)),
            num_agents=num_agents,
        )

    def initial_probabilities(self) -> np.ndarray:
        return self.initial

    def probabilities(self, history: History) -> np.ndarray:
        place_values = 2 ** np.arange(self.num_agents)[::-1]
        return self.table[history.participation[:, -1] @ place_values]

    def may_abstain(self) -> np.ndarray:
        """`[N]` bool, from all vectors that can follow each other; takes up to 4**N steps."""
        bits = np.arange(self.num_agents)[::-1]
        vectors = ((np.arange(len(self.table))[:, None] >> bits) & 1).astype(bool)  # [2**N, N]

        def possible(probability: np.ndarray) -> np.ndarray:  # [N] -> [2**N]: which can be drawn
            return np.all(np.where(vectors, probability > 0.0, probability < 1.0), axis=1)

        reachable = possible(self.initial)
        followed = np.zeros_like(reachable)
        while (pending := np.flatnonzero(reachable & ~followed)).size:
            followed[pending] = True
            for row in pending:
                reachable |= possible(self.table[row])
        return ~np.all(vectors[reachable], axis=0)


@dataclass(frozen=True, eq=False)
class HistoryPlayerFunction(PlayerFunction):
    """Y as any pure function of the participation history (paper, section 2.1).

    Args:
        function: takes a `History`, returns `[B, N]` in [0, 1].
        num_agents: N.
        initial: `[N]` in [0, 1], zeta.
        memory: how many past participation vectors `function` needs; None: all of them.

    Raises:
        ValueError: if `num_agents`, `initial` or `memory` is not of that form.
    """

    function: Callable[[History], np.ndarray]
    num_agents: int
    initial: np.ndarray
    memory: int | None = None

    def __post_init__(self) -> None:
        num_agents = checked_count("num_agents", self.num_agents, at_least=1)
        if self.memory is not None:
            checked_count("memory", self.memory, at_least=0)
        initial = probability_array("initial", self.initial, (num_agents,))
        object.__setattr__(self, "num_agents", num_agents)
        object.__setattr__(self, "initial", initial)

    def initial_probabilities(self) -> np.ndarray:
        return self.initial

    def probabilities(self, history: History) -> np.ndarray:
        return self.function(history)

    def to_dict(self) -> dict[str, Any]:
        """Describe it for the record. `player_function_from_dict` cannot rebuild a callable."""
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return {
            "type": "state_callable" if self.needs_states else "history_callable",
            "function": f"{self.function.__module__}.{name}",
            "num_agents": self.num_agents,
            "initial": self.initial.tolist(),
            "memory": self.memory,
        }


@dataclass(frozen=True, eq=False)
class StatePlayerFunction(HistoryPlayerFunction):
    """The higher-order form (paper, section 2.1): `function` also looks at `History.states`.

    Args:
        needs_actions: the states shall end with the last round's actions, see `states_and_actions`.
    """

    needs_actions: bool = False
    needs_states = True


_VALUE_TYPES: dict[str, type[ValuePlayerFunction]] = {
    cls.type_name: cls
    for cls in (
        Synchronous,
        DeterministicPattern,
        IndependentStochastic,
        MarkovParticipation,
        JointMarkovParticipation,
        LogisticParticipation,
    )
}


def player_function_from_dict(description: Mapping[str, Any]) -> PlayerFunction:
    """Rebuild a player function from its `to_dict`. Callables cannot be rebuilt.

    Raises:
        ValueError: if the type is unknown, or parameters are missing, unknown or invalid.
    """
    parameters = dict(description)
    name = parameters.pop("type", None)
    if name not in _VALUE_TYPES:
        raise ValueError(
            f"player function type {name!r} cannot be built from a description, expected one of "
            f"{sorted(_VALUE_TYPES)}: construct callables and own classes in code"
        )
    specs = [spec for spec in fields(_VALUE_TYPES[name]) if spec.init]
    known = {spec.name for spec in specs}
    missing = {spec.name for spec in specs if spec.default is MISSING} - set(parameters)
    unknown = set(parameters) - known
    if missing or unknown:
        raise ValueError(
            f"description of player function {name!r} lacks {sorted(missing)} and has unknown "
            f"{sorted(unknown)}, expected the keys {sorted(known)}"
        )
    return _VALUE_TYPES[name](**parameters)
