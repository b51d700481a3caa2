"""Who moves when, learned from recordings: player functions of maximum likelihood (section 2.1).

A simulator that knows no turn order can be driven by the one that the experts' recordings show:

    estimate = estimate_player_function(participation_of(demonstrations))
    env = TurnBasedEnv(simulator, estimate.player_function)

Given the states too, it looks for an order that depends on them:

    states = joint_states_of(demonstrations)
    estimate = estimate_player_function(participation_of(demonstrations), states)

Shapes: E episodes of T_e rounds, N agents, S state numbers, R rounds after the first of episodes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rllib_amagail.player_functions import (
    DeterministicPattern,
    History,
    IndependentStochastic,
    JointMarkovParticipation,
    MarkovParticipation,
    PlayerFunction,
    Synchronous,
)
from rllib_amagail.turn_estimation_by_state import fit_by_state, product_sets

MAX_PERIOD = 64
MAX_JOINT_AGENTS = 8  # a joint table has 2**N rows


@dataclass(frozen=True)
class TurnEstimate:
    """A player function that explains recorded participation.

    Attributes:
        player_function: of maximum likelihood among those of its kind.
        log_likelihood: of all rounds of all agents, in nats.
        num_parameters: that were free.
        num_draws: how many times an agent participated or not: N times the rounds.
    """

    player_function: PlayerFunction
    log_likelihood: float
    num_parameters: int
    num_draws: int

    @property
    def bic(self) -> float:
        """``k ln n - 2 ln L`` (Schwarz 1978, doi:10.1214/aos/1176344136); less is better."""
        return self.num_parameters * math.log(self.num_draws) - 2.0 * self.log_likelihood


def estimate_player_function(
    participation: Sequence[np.ndarray],
    states: Sequence[np.ndarray] | None = None,
    *,
    needs_actions: bool = False,
) -> TurnEstimate:
    """The player function of lowest BIC among those that `candidates` gives.

    Args:
        participation: E arrays `[T_e, N]` bool, I_t of each episode from its round 0.
        states: E arrays `[T_e, S]`, what a higher-order player function is shown before it draws
            I_t: of recordings, `demonstrations.joint_states.joint_states_of`. None: the order is
            taken not to depend on them.
        needs_actions: the states end with the last round's actions, see `states_and_actions`.

    Raises:
        ValueError: no rounds, or arrays of another kind, of different N, or of different S; or
            `needs_actions` without states.
    """
    found = candidates(participation, states, needs_actions=needs_actions)
    return min(found, key=lambda estimate: estimate.bic)


def candidates(
    participation: Sequence[np.ndarray],
    states: Sequence[np.ndarray] | None = None,
    *,
    needs_actions: bool = False,
) -> Iterator[TurnEstimate]:
    """The best player function of each kind that can explain the recording at all.

    Kinds: everybody always; a repeated pattern, if some episode shows it twice; each agent by
    chance, with and without a chance of its own in round 0; given the agent's own last round; given
    everybody's last round (up to `MAX_JOINT_AGENTS` agents). With states, also logistic in
    everybody's last round and the state's numbers; these and their squares; and these and all
    products of two of them, if there are at most 20 numbers. Each takes `ROUNDS_PER_WEIGHT`.

    The logistic kinds say what goes with whose turn, not what causes it, and what they say of
    states far from the recorded ones is a guess. A turn that follows from the state for certain
    gets a chance close to 1, the closer the more rounds are recorded (`RIDGE`).

    Args and errors are those of `estimate_player_function`.
    """
    rounds = _Rounds.of(participation)
    if rounds.all.all():
        yield TurnEstimate(Synchronous(rounds.num_agents), 0.0, 0, rounds.all.size)
    pattern = _pattern(rounds)
    if pattern is not None:
        yield TurnEstimate(DeterministicPattern(pattern), 0.0, pattern.size, rounds.all.size)
    yield _independent(rounds)
    if states is None and needs_actions:
        raise ValueError("found needs_actions without states, expected states that end with them")
    later_states = None if states is None else _later_states(rounds, states)
    if len(rounds.later):
        yield _independent(rounds, of_later_rounds=True)
        yield _markov(rounds)
        if rounds.num_agents <= MAX_JOINT_AGENTS:
            yield _joint_markov(rounds)
        if later_states is not None:
            yield from _logistic(rounds, later_states, needs_actions)


@dataclass(frozen=True)
class _Rounds:
    """Recorded rounds, sorted by what a player function may know of them."""

    episodes: tuple[np.ndarray, ...]  # [T_e, N]
    all: np.ndarray  # [sum T_e, N]
    first: np.ndarray  # [E, N] round 0
    later: np.ndarray  # [R, N] all other rounds
    before: np.ndarray  # [R, N] the rounds before those

    @classmethod
    def of(cls, participation: Sequence[np.ndarray]) -> _Rounds:
        episodes = tuple(np.asarray(episode) for episode in participation)
        for number, episode in enumerate(episodes):
            widths = {other.shape[1:] for other in episodes}
            if (
                episode.dtype != np.bool_
                or episode.ndim != 2
                or 0 in episode.shape
                or widths != {episode.shape[1:]}
            ):
                raise ValueError(
                    f"participation of episode {number} is {episode.dtype} of shape "
                    f"{episode.shape}, expected bool [T, N] with the same N in all episodes"
                )
        if not episodes:
            raise ValueError("found no episodes, expected one array [T, N] of bool for each")
        return cls(
            episodes,
            np.concatenate(episodes),
            np.stack([episode[0] for episode in episodes]),
            np.concatenate([episode[1:] for episode in episodes]),
            np.concatenate([episode[:-1] for episode in episodes]),
        )

    @property
    def num_agents(self) -> int:
        return int(self.all.shape[1])

    def estimate(self, player_function: PlayerFunction, later: np.ndarray, k: int) -> TurnEstimate:
        """With the chances ``later`` `[R, N]` of the rounds after the first."""
        initial = np.broadcast_to(player_function.initial_probabilities(), self.first.shape)
        likelihood = log_likelihood(self.first, initial) + log_likelihood(self.later, later)
        return TurnEstimate(player_function, likelihood, k, self.all.size)


def log_likelihood(participation: np.ndarray, probabilities: np.ndarray) -> float:
    """Nats of drawing ``participation`` `[..., N]` bool with ``probabilities`` `[..., N]`.

    Minus infinity if something happened that has no chance.
    """
    happened = np.where(participation, probabilities, 1.0 - probabilities)
    with np.errstate(divide="ignore"):
        return float(np.log(happened).sum())


def _pattern(rounds: _Rounds) -> np.ndarray | None:
    """The shortest pattern `[P, N]` that all episodes repeat, and one of them at least twice."""
    longest = max(rounds.episodes, key=len)
    for period in range(1, min(MAX_PERIOD, len(longest) // 2) + 1):
        pattern = longest[:period]
        repeated = (pattern[np.arange(len(e)) % period] for e in rounds.episodes)
        if all(
            np.array_equal(episode, expected)
            for episode, expected in zip(rounds.episodes, repeated, strict=True)
        ):
            return pattern
    return None


def _independent(rounds: _Rounds, *, of_later_rounds: bool = False) -> TurnEstimate:
    counted = rounds.later if of_later_rounds else rounds.all
    probability = counted.mean(axis=0)
    initial = rounds.first.mean(axis=0) if of_later_rounds else probability
    return rounds.estimate(
        IndependentStochastic(probability, initial),
        np.broadcast_to(probability, rounds.later.shape),
        rounds.num_agents * (2 if of_later_rounds else 1),
    )


def _markov(rounds: _Rounds) -> TurnEstimate:
    overall = rounds.later.mean(axis=0)
    after_turn = _share(rounds.later, rounds.before, overall)
    after_pause = _share(rounds.later, ~rounds.before, overall)
    return rounds.estimate(
        MarkovParticipation(after_turn, after_pause, rounds.first.mean(axis=0)),
        np.where(rounds.before, after_turn, after_pause),
        3 * rounds.num_agents,
    )


def _joint_markov(rounds: _Rounds) -> TurnEstimate:
    num_agents = rounds.num_agents
    rows = rounds.before @ (2 ** np.arange(num_agents)[::-1])
    table = np.tile(rounds.later.mean(axis=0), (2**num_agents, 1))
    seen = np.unique(rows)
    for row in seen:
        table[row] = rounds.later[rows == row].mean(axis=0)
    return rounds.estimate(
        JointMarkovParticipation(table, rounds.first.mean(axis=0)),
        table[rows],
        num_agents * (len(seen) + 1),
    )


def _later_states(rounds: _Rounds, states: Sequence[np.ndarray]) -> np.ndarray:
    """`[R, S]` states of all rounds but the first, checked."""
    episodes = [np.asarray(episode) for episode in states]
    lengths = [len(episode) for episode in rounds.episodes]
    if len(episodes) != len(lengths):
        raise ValueError(
            f"states are of {len(episodes)} episodes, expected {len(lengths)} as in participation"
        )
    widths = {episode.shape[1:] for episode in episodes}
    for number, (episode, length) in enumerate(zip(episodes, lengths, strict=True)):
        is_matrix = episode.ndim == 2 and episode.dtype.kind in "biuf"
        if not is_matrix or len(widths) > 1 or len(episode) != length or 0 in episode.shape:
            raise ValueError(
                f"states of episode {number} are {episode.dtype} of shape {episode.shape}, "
                f"expected numbers of shape ({length}, S) with the same S >= 1 in all episodes"
            )
        if not np.isfinite(episode).all():
            row, column = np.argwhere(~np.isfinite(episode))[0].tolist()
            raise ValueError(
                f"states of episode {number} have {episode[row, column]} in round {row}, column "
                f"{column}, expected finite numbers"
            )
    return np.concatenate([episode[1:] for episode in episodes])


def _logistic(rounds: _Rounds, states: np.ndarray, needs_actions: bool) -> Iterator[TurnEstimate]:
    initial = rounds.first.mean(axis=0)
    numbers = np.ones(len(states), np.int64)  # any round after the first
    history = History(numbers, rounds.before[:, None], states)
    for products in product_sets(states.shape[1]):
        fit = fit_by_state(rounds.later, rounds.before, states, products, initial, needs_actions)
        if fit is not None:
            function, num_parameters = fit
            chances = function.probabilities(history)
            yield rounds.estimate(function, chances, num_parameters + rounds.num_agents)


def _share(happened: np.ndarray, given: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """`[N]` share of ``happened`` where ``given``, both `[R, N]`; ``otherwise`` if it never is."""
    counts = given.sum(axis=0)
    return np.where(counts > 0, (happened & given).sum(axis=0) / np.maximum(counts, 1), otherwise)
