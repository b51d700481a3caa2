"""Subgame perfect equilibria in pure policies.

Backward induction where the game ends, Shapley's value iteration over stage games (1953) where it
does not: the same sweeps. A stage game is a round at one state; policies may not look at h, so its
equilibrium must hold after every h that can precede it.
"""

from __future__ import annotations

import numpy as np

from rllib_amagail.equilibrium.game import TabularGame
from rllib_amagail.equilibrium.gap import gains

TIE = 1e-8  # smaller differences between action values are ties
CONVERGED = 1e-11
LARGEST_GAP = 1e-6


class NoPureEquilibriumError(RuntimeError):
    """The sweeps found no subgame perfect equilibrium in pure policies of the state."""


def solve_spe(game: TabularGame) -> list[np.ndarray]:
    """A subgame perfect equilibrium in pure policies, checked by its exact gap.

    Of several stage equilibria the one with the largest sum of values is taken, then the first.
    Finite games of perfect information and zero-sum games of turns always come out.

    Returns:
        One-hot policies, `[S, A_i]` of each agent.

    Raises:
        NoPureEquilibriumError: if the sweeps end elsewhere, with the gap of where they ended.
    """
    found = np.zeros((game.num_agents, *game.subgames.shape))
    sweeps = game.num_states + int(np.log(CONVERGED) / np.log(max(game.discount, 1e-3)))
    for _ in range(sweeps):
        stage = _stage_values(game, found)
        chosen = _stage_equilibria(game, stage)
        updated = stage[:, np.arange(game.num_states), :, chosen].transpose(1, 0, 2)
        change = abs(updated - found).max()
        found = updated
        if change <= CONVERGED:
            break
    policies = _one_hot(game, chosen)
    gap = float(gains(game, policies)[:, game.subgames].max())
    if gap > LARGEST_GAP:
        raise NoPureEquilibriumError(
            f"the best policies found have an SPE gap of {gap:.3g}, expected at most "
            f"{LARGEST_GAP}: the game may have equilibria in mixed policies only, or some that "
            f"need h. Let agents take turns, or put into the state what they must know"
        )
    return policies


def _stage_values(game: TabularGame, found: np.ndarray) -> np.ndarray:
    """What every joint choice of actions is worth to each agent, `[N, S, H, A_0 * ... * A_N-1]`."""
    worth = np.zeros((game.num_agents, *game.subgames.shape, *game.num_actions))
    for vector in range(len(game.vectors)):
        actions = game.joint_actions(vector)
        follow = np.einsum(
            "s...t,nt->ns...", game.transitions[(slice(None), *actions)], found[:, :, 1 + vector]
        )
        now = game.rewards[(slice(None), slice(None), *actions)] + game.discount * follow
        chance = game.vector_chances[:, vector].reshape(-1, *(1 for _ in actions))
        worth += chance * now[:, :, None]
    return worth.reshape(*worth.shape[:3], -1)


def _stage_equilibria(game: TabularGame, stage: np.ndarray) -> np.ndarray:
    """`[S]`, the joint choice in which the most that an agent regrets after any h is least."""
    by_agent = stage.reshape(*stage.shape[:3], *game.num_actions)
    regret = np.array(
        [by_agent[i].max(axis=2 + i, keepdims=True) - by_agent[i] for i in range(game.num_agents)]
    ).reshape(stage.shape)
    happens = game.subgames[:, :, None]
    regret = np.where(happens, regret, 0.0).max(axis=(0, 2))  # [S, joint choices]
    total = np.where(happens, stage, 0.0).sum(axis=(0, 2))
    least = regret <= regret.min(axis=1, keepdims=True) + TIE
    total = np.where(least, total, -np.inf)
    return np.argmax(total >= total.max(axis=1, keepdims=True) - TIE, axis=1)


def _one_hot(game: TabularGame, chosen: np.ndarray) -> list[np.ndarray]:
    actions = np.unravel_index(chosen, game.num_actions)
    return [np.eye(count)[action] for count, action in zip(game.num_actions, actions, strict=True)]
