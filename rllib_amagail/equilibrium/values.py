"""Exact values by dynamic programming over (s, h) (paper, equations 4 and 7; appendix A.1).

The process of (s_t, h_{t-1}) is a Markov chain once policies are fixed, so values and visits are
solutions of linear equations. Shapes as in `game`: values of an agent are `[S, H]`, its action
values `[S, H, A_i]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rllib_amagail.equilibrium.game import TabularGame, checked_policies, round_expectation

BEST_RESPONSE_TOLERANCE = 1e-10  # of values, in units of reward


@dataclass(frozen=True, eq=False)
class AgentView:
    """One agent's decision problem while the others keep to their policies.

    Attributes:
        discount: γ.
        vector_chances: `[H, V]`, Pr(I_t | h_{t-1}).
        rewards: `[V, S, A_i]`, expected over the others' actions.
        transitions: `[V, S, A_i, S]`, likewise.
    """

    discount: float
    vector_chances: np.ndarray
    rewards: np.ndarray
    transitions: np.ndarray

    def action_values(self, values: np.ndarray) -> np.ndarray:
        """q_i(s, a_i | h) of equation 7 for any v `[S, H]`; `[S, H, A_i]`."""
        return self.expected_rewards + self.discount * self.next_values(values)

    @property
    def expected_rewards(self) -> np.ndarray:
        """`[S, H, A_i]`: the reward of this round, expected over who participates."""
        return np.einsum("hv,vsa->sha", self.vector_chances, self.rewards)

    def next_values(self, values: np.ndarray) -> np.ndarray:
        """The sums of equation 7 behind γ: `[S, H]` to `[S, H, A_i]`."""
        per_vector = np.einsum("vsat,vt->vsa", self.transitions, values[:, 1:].T)
        return np.einsum("hv,vsa->sha", self.vector_chances, per_vector)


def agent_view(game: TabularGame, policies: Sequence[np.ndarray], agent: int) -> AgentView:
    """What `agent` faces if the others play `policies`; its own policy has no influence."""
    vectors = range(len(game.vectors))
    return AgentView(
        game.discount,
        game.vector_chances,
        np.array(
            [round_expectation(game, game.rewards[agent], policies, v, agent) for v in vectors]
        ),
        np.array([round_expectation(game, game.transitions, policies, v, agent) for v in vectors]),
    )


class Chain:
    """The Markov chain of (s_t, h_{t-1}) under fixed policies.

    Args:
        game: the game.
        policies: `[S, A_i]` of each agent, valid.
    """

    def __init__(self, game: TabularGame, policies: Sequence[np.ndarray]) -> None:
        self._game = game
        vectors = range(len(game.vectors))
        self._step = np.array(
            [round_expectation(game, game.transitions, policies, v) for v in vectors]
        )  # [V, S, S]
        size = game.num_states * len(game.vectors)
        # From (s, last vector u) to (t, present vector v), both flattened state first.
        joined = np.einsum("uv,vst->sutv", game.vector_chances[1:], self._step)
        self._kernel = game.discount * joined.reshape(size, size)

    def discounted_sums(self, rewards: np.ndarray) -> np.ndarray:
        """Expected Σ_k γ^k rewards(s_{t+k}, h_{t+k-1}) from every (s_t, h_{t-1}).

        Args:
            rewards: `[K, S, H]`, of K kinds.

        Returns:
            `[K, S, H]`.
        """
        kinds, states, _ = rewards.shape
        later = rewards[:, :, 1:].reshape(kinds, -1).T
        solved = np.linalg.solve(np.eye(len(self._kernel)) - self._kernel, later)
        sums = solved.T.reshape(kinds, states, -1)  # [K, S, V]
        follow = np.einsum("hv,vst,ktv->ksh", self._game.vector_chances, self._step, sums)
        return rewards + self._game.discount * follow

    def visits(self) -> np.ndarray:
        """`[S, H]`: Σ_t γ^t Pr(s_t = s, h_{t-1} = h) from η and ζ; sums to 1 / (1 - γ)."""
        game = self._game
        start = game.initial_states
        second = np.einsum("s,v,vst->tv", start, game.vector_chances[0], self._step)
        system = np.eye(len(self._kernel)) - self._kernel.T
        later = np.linalg.solve(system, game.discount * second.ravel())
        return np.concatenate([start[:, None], later.reshape(second.shape)], axis=1)


def values(game: TabularGame, policies: Sequence[np.ndarray]) -> np.ndarray:
    """v̂_i(s | h), the solution of the Bellman equation of Theorem 1; `[N, S, H]`.

    Raises:
        ValueError: if the policies do not fit the game.
    """
    policies = checked_policies(game, policies)
    rewards = np.array(
        [
            np.einsum("sa,sha->sh", policy, agent_view(game, policies, agent).expected_rewards)
            for agent, policy in enumerate(policies)
        ]
    )
    return Chain(game, policies).discounted_sums(rewards)


def returns(game: TabularGame, policies: Sequence[np.ndarray]) -> np.ndarray:
    """E[R_i] from η, discounted; `[N]`."""
    return values(game, policies)[:, :, 0] @ game.initial_states


def objective(
    game: TabularGame, policies: Sequence[np.ndarray], candidate_values: np.ndarray
) -> float:
    """f_r(π, v) of equation 4, summed over the game's subgames.

    Args:
        candidate_values: v, `[N, S, H]`. With v̂ of `values` f_r is 0 for every π (Lemma 1). With
            `best_response_values`, the least v that equation 5 allows, it is 0 for an SPE only.

    Raises:
        ValueError: if policies or values do not fit the game.
    """
    policies = checked_policies(game, policies)
    expected = (game.num_agents, *game.subgames.shape)
    if np.shape(candidate_values) != expected:
        raise ValueError(f"values have shape {np.shape(candidate_values)}, expected {expected}")
    total = 0.0
    for agent, policy in enumerate(policies):
        view = agent_view(game, policies, agent)
        played = np.einsum("sa,sha->sh", policy, view.action_values(candidate_values[agent]))
        total += float((candidate_values[agent] - played)[game.subgames].sum())
    return total


def best_response_values(game: TabularGame, policies: Sequence[np.ndarray]) -> np.ndarray:
    """The most each agent can get from every (s, h) by deviating alone from there on; `[N, S, H]`.

    The deviation may look at h. Value iteration from v̂, so never below it; exact to
    `BEST_RESPONSE_TOLERANCE`.

    Raises:
        ValueError: if the policies do not fit the game.
    """
    policies = checked_policies(game, policies)
    best = values(game, policies)
    # A last change of c leaves an error of at most c γ / (1 - γ).
    small_enough = BEST_RESPONSE_TOLERANCE * (1.0 - game.discount)
    for agent in range(game.num_agents):
        view = agent_view(game, policies, agent)
        change = np.inf
        while change > small_enough:
            improved = np.maximum(best[agent], view.action_values(best[agent]).max(axis=2))
            change = float(abs(improved - best[agent]).max())
            best[agent] = improved
    return best
