"""Demonstrations of tabular games: the process of section 4.1, sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rllib_amagail.equilibrium.game import TabularGame, checked_policies


@dataclass(frozen=True, eq=False)
class TabularEpisodes:
    """E episodes of T rounds.

    Attributes:
        states: `[E, T]` integers.
        actions: `[E, T, N]` integers; A_i stands for φ.
        num_states: S.
        num_actions: A_i of each agent.

    Raises:
        ValueError: if the shapes differ, or states or actions are out of range.
    """

    states: np.ndarray
    actions: np.ndarray
    num_states: int
    num_actions: tuple[int, ...]

    def __post_init__(self) -> None:
        expected = (*self.states.shape, len(self.num_actions))
        if self.states.ndim != 2 or 0 in expected or self.actions.shape != expected:
            raise ValueError(
                f"states have shape {self.states.shape} and actions {self.actions.shape}, expected "
                f"[E, T] and [E, T, {len(self.num_actions)}], neither empty"
            )
        for name, array, limit in (
            ("states", self.states, np.array(self.num_states)),
            ("actions", self.actions, np.array(self.num_actions) + 1),
        ):
            if array.dtype.kind != "i" or (array < 0).any() or (array >= limit).any():
                raise ValueError(
                    f"{name} are {array.dtype} from {array.min()} to {array.max()}, expected "
                    f"integers from 0 to below {limit.tolist()}"
                )

    def measures(self, discount: float) -> list[np.ndarray]:
        """Mean discounted counts of (s, a) with φ last, `[S, A_i + 1]` of each agent.

        An estimate of Definition 1's measure; what lies behind round T is missing.
        """
        weights = np.broadcast_to(
            discount ** np.arange(self.states.shape[1]) / len(self.states), self.states.shape
        )
        found = []
        for agent, count in enumerate(self.num_actions):
            measure = np.zeros((self.num_states, count + 1))
            np.add.at(measure, (self.states, self.actions[:, :, agent]), weights)
            found.append(measure)
        return found


def sample_episodes(
    game: TabularGame,
    policies: Sequence[np.ndarray],
    num_episodes: int,
    num_rounds: int,
    rng: np.random.Generator,
) -> TabularEpisodes:
    """Play `num_episodes` of `num_rounds` rounds (Algorithm 1, line 2).

    Raises:
        ValueError: if the policies do not fit the game, or there is nothing to play.
    """
    policies = checked_policies(game, policies)
    if num_episodes < 1 or num_rounds < 1:
        raise ValueError(
            f"found {num_episodes} episodes of {num_rounds} rounds, expected at least 1 of 1"
        )
    states = np.zeros((num_episodes, num_rounds), dtype=np.int64)
    actions = np.zeros((num_episodes, num_rounds, game.num_agents), dtype=np.int64)
    place_values = 2 ** np.arange(game.num_agents)[::-1]
    state = _draw(np.tile(game.initial_states, (num_episodes, 1)), rng)
    history = np.zeros(num_episodes, dtype=np.int64)
    for t in range(num_rounds):
        acts = rng.random((num_episodes, game.num_agents)) < game.participation[history]
        for agent, policy in enumerate(policies):
            chosen = _draw(policy[state], rng)
            actions[:, t, agent] = np.where(acts[:, agent], chosen, game.num_actions[agent])
        states[:, t] = state
        state = _draw(game.transitions[(state, *actions[:, t].T)], rng)
        history = 1 + acts @ place_values
    return TabularEpisodes(states, actions, game.num_states, game.num_actions)


def _draw(probabilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One index per row of `[E, K]`."""
    cumulated = probabilities.cumsum(axis=1)
    draws = rng.random((len(probabilities), 1)) * cumulated[:, -1:]
    return (draws >= cumulated).sum(axis=1)
