"""Finite Markov games with a player function, as arrays (paper, section 2.1).

Shapes: N agents, S states, A_i actions of agent i and then φ, V = 2**N participation vectors,
H = 1 + V first-order histories: row 0 is the empty history of t = 0, row 1 + v says that the last
participation vector was v. A vector v is read as a binary number, first agent first, as in
`JointMarkovParticipation`. A policy is `[S, A_i]`: like the paper's it does not look at h.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rllib_amagail.player_functions import (
    History,
    IndependentStochastic,
    JointMarkovParticipation,
    MarkovParticipation,
    PlayerFunction,
    Synchronous,
)

FIRST_ORDER = (Synchronous, IndependentStochastic, MarkovParticipation, JointMarkovParticipation)
SUM_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class TabularGame:
    """A Markov game (N, S, A, Y, ζ, P, η, r, γ) small enough to be solved exactly.

    A game of finite length has an absorbing state without rewards; `with_horizon` makes one.

    Attributes:
        transitions: `[S, A_0 + 1, ..., A_{N-1} + 1, S]`, P(s' given s and the joint action); the
            last action of an agent is φ.
        rewards: `[N, S, A_0 + 1, ..., A_{N-1} + 1]`. More general than the paper's r_i(s, a_i),
            which `own_action_rewards` brings into this form.
        player_function: Y and ζ; any of `FIRST_ORDER`.
        initial_states: `[S]`, η.
        discount: γ in [0, 1), per round.
        null_actions: N actions; what agent i does on its turn if its policy chooses φ, which
            methods that take φ for an action may do. Default: action 0.

    Raises:
        ValueError: if arrays do not fit together or are no distributions, or Y is of higher order.
    """

    transitions: np.ndarray
    rewards: np.ndarray
    player_function: PlayerFunction
    initial_states: np.ndarray
    discount: float
    null_actions: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.player_function, FIRST_ORDER):
            raise ValueError(
                f"player_function is a {type(self.player_function).__name__}, expected one of "
                f"{[each.__name__ for each in FIRST_ORDER]}: it may look at the last participation "
                f"vector only. An order of turns can be written as a JointMarkovParticipation"
            )
        for name in ("transitions", "rewards", "initial_states"):
            array = np.array(getattr(self, name), dtype=np.float64)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        self._check_shapes()
        check_distributions("transitions", self.transitions)
        check_distributions("initial_states", self.initial_states)
        if not np.isfinite(self.rewards).all():
            raise ValueError("rewards hold numbers that are not finite, expected finite ones only")
        if not 0.0 <= self.discount < 1.0:
            raise ValueError(f"discount is {self.discount}, expected 0 <= discount < 1")
        null_actions = tuple(self.null_actions) or (0,) * self.num_agents
        if len(null_actions) != self.num_agents or not all(
            0 <= action < count
            for action, count in zip(null_actions, self.num_actions, strict=True)
        ):
            raise ValueError(
                f"null_actions is {null_actions}, expected one of each agent's actions, which "
                f"number {self.num_actions}"
            )
        object.__setattr__(self, "null_actions", null_actions)

    def _check_shapes(self) -> None:
        num_agents, shape = self.player_function.num_agents, self.transitions.shape
        if len(shape) != num_agents + 2 or shape[0] != shape[-1] or min(shape[1:-1]) < 2:
            raise ValueError(
                f"transitions has shape {shape}, expected [S, A_0 + 1, ..., A_{num_agents - 1} + 1,"
                f" S] for the {num_agents} agents of the player function"
            )
        for name, expected in (
            ("rewards", (num_agents, *shape[:-1])),
            ("initial_states", shape[:1]),
        ):
            if getattr(self, name).shape != expected:
                raise ValueError(
                    f"{name} has shape {getattr(self, name).shape}, expected {expected} because "
                    f"transitions has shape {shape}"
                )

    @property
    def num_agents(self) -> int:
        """N."""
        return self.player_function.num_agents

    @property
    def num_states(self) -> int:
        """S."""
        return len(self.transitions)

    @property
    def num_actions(self) -> tuple[int, ...]:
        """A_i of each agent, without φ."""
        return tuple(size - 1 for size in self.transitions.shape[1:-1])

    @cached_property
    def vectors(self) -> np.ndarray:
        """`[V, N]` bool, all participation vectors."""
        bits = np.arange(self.num_agents)[::-1]
        return ((np.arange(2**self.num_agents)[:, None] >> bits) & 1).astype(bool)

    @cached_property
    def participation(self) -> np.ndarray:
        """`[H, N]`: Y(i | h); row 0 is ζ."""
        history = History(np.ones(len(self.vectors), dtype=np.int64), self.vectors[:, None])
        later = self.player_function.probabilities(history)
        return np.concatenate([self.player_function.initial_probabilities()[None], later])

    @cached_property
    def vector_chances(self) -> np.ndarray:
        """`[H, V]`: Pr(I_t | h_{t-1}), the product below equation 7."""
        chances = self.participation[:, None]
        return np.where(self.vectors, chances, 1.0 - chances).prod(axis=2)

    def joint_actions(self, vector: int) -> tuple[slice, ...]:
        """The actions possible under a participation vector: A_i of participants, φ of others."""
        return tuple(
            slice(count) if acts else slice(count, count + 1)
            for acts, count in zip(self.vectors[vector], self.num_actions, strict=True)
        )

    @cached_property
    def absorbing(self) -> np.ndarray:
        """`[S]` bool: states that are never left and pay nothing, whatever is done."""
        states = np.arange(self.num_states)
        joint = tuple(range(1, self.num_agents + 1))
        stays = np.moveaxis(self.transitions, -1, 1)[states, states].min(axis=joint) == 1.0
        agents_and_joint = tuple(each + 1 for each in joint)
        pays = np.moveaxis(self.rewards, 1, 0).any(axis=(1, *agents_and_joint))
        return stays & ~pays

    @cached_property
    def subgames(self) -> np.ndarray:
        """`[S, H]` bool: the (s, h) where some play can lead, without the absorbing states."""
        anything = [np.ones((self.num_states, count)) for count in self.num_actions]
        return self.reachable(anything) & ~self.absorbing[:, None]

    def reachable(self, policies: Sequence[np.ndarray]) -> np.ndarray:
        """`[S, H]` bool: the (s, h) met with positive probability under `policies`."""
        step = np.array(
            [
                round_expectation(self, self.transitions, policies, vector) > 0.0
                for vector in range(len(self.vectors))
            ]
        )  # [V, S, S]
        found = np.zeros((self.num_states, 1 + len(self.vectors)), dtype=bool)
        new = found.copy()
        new[:, 0] = self.initial_states > 0.0
        while new.any():
            found |= new
            followed = new @ (self.vector_chances > 0.0)  # [S, V], bool: from s, with vector v
            new = np.zeros_like(found)
            new[:, 1:] = np.einsum("sv,vst->tv", followed, step)
            new &= ~found
        return found


def round_expectation(
    game: TabularGame,
    array: np.ndarray,
    policies: Sequence[np.ndarray],
    vector: int,
    keep: int | None = None,
) -> np.ndarray:
    """Expectation over the joint action of a round in which `vector` says who participates.

    Args:
        array: `[S, A_0 + 1, ..., A_{N-1} + 1, ...]`.
        policies: of all agents, `[S, A_i]`.
        keep: an agent whose action is left open.

    Returns:
        `[S, ...]`, or `[S, A_keep, ...]`, the same for all actions if `keep` does not participate.
    """
    result = array[(slice(None), *game.joint_actions(vector))]
    acts = game.vectors[vector]
    for agent in reversed(range(game.num_agents)):  # later axes go first: the others stay in place
        if agent == keep:
            continue
        weights = policies[agent] if acts[agent] else np.ones((game.num_states, 1))
        result = np.einsum("sa...,sa->s...", np.moveaxis(result, agent + 1, 1), weights)
    if keep is not None:
        result = np.broadcast_to(
            result, (game.num_states, game.num_actions[keep], *result.shape[2:])
        )
    return result


def own_action_rewards(
    game_shape: Sequence[int], rewards: Sequence[np.ndarray] | np.ndarray
) -> np.ndarray:
    """The paper's rewards r_i(s, a_i), nothing for φ, as a table over joint actions.

    Args:
        game_shape: the shape of the game's transitions, `[S, A_0 + 1, ..., A_{N-1} + 1, S]`.
        rewards: of each agent, `[S, A_i]`.

    Returns:
        `[N, S, A_0 + 1, ..., A_{N-1} + 1]`.

    Raises:
        ValueError: if the rewards of an agent have another shape.
    """
    table = np.zeros((len(rewards), *game_shape[:-1]))
    for agent, own in enumerate(rewards):
        expected = (game_shape[0], game_shape[agent + 1] - 1)
        if np.shape(own) != expected:
            raise ValueError(
                f"rewards of agent {agent} have shape {np.shape(own)}, expected {expected}"
            )
        shape = [1] * len(game_shape[:-1])
        shape[0], shape[agent + 1] = expected[0], expected[1] + 1
        table[agent] += np.pad(own, ((0, 0), (0, 1))).reshape(shape)
    return table


def check_distributions(name: str, array: np.ndarray) -> None:
    """Raise a ValueError unless the last axis of `array` sums to 1 without negative entries."""
    wrong = ~((array >= 0.0).all(axis=-1) & (abs(array.sum(axis=-1) - 1.0) < SUM_TOLERANCE))
    if wrong.any():
        where = tuple(np.argwhere(wrong)[0].tolist()) if wrong.ndim else ()
        raise ValueError(
            f"{name}{list(where)} is {array[where].tolist()}, expected probabilities that sum to 1"
        )


def checked_policies(game: TabularGame, policies: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The policies of all agents as float64 arrays.

    Raises:
        ValueError: if they are not N arrays `[S, A_i]` of distributions over actions.
    """
    expected = [(game.num_states, count) for count in game.num_actions]
    found = [np.shape(policy) for policy in policies]
    if found != expected:
        raise ValueError(f"policies have shapes {found}, expected {expected}, one an agent")
    arrays = [np.asarray(policy, dtype=np.float64) for policy in policies]
    for agent, policy in enumerate(arrays):
        check_distributions(f"policy of agent {agent}", policy)
    return arrays
