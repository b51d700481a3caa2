"""Random tabular games for the tests of `equilibrium`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rllib_amagail.equilibrium import TabularGame, own_action_rewards, with_horizon
from rllib_amagail.equilibrium.library import turns
from rllib_amagail.player_functions import IndependentStochastic, PlayerFunction


def random_game(
    seed: int,
    player_function: PlayerFunction,
    *,
    common_interest: bool = False,
    num_states: int = 3,
    num_actions: int = 2,
    discount: float = 0.8,
) -> TabularGame:
    """Rewards in [0, 1], the paper's r_i(s, a_i) or one of the joint action for all agents."""
    rng = np.random.default_rng(seed)
    joint = (num_actions + 1,) * player_function.num_agents
    transitions = rng.dirichlet(np.ones(num_states), (num_states, *joint))
    if common_interest:
        rewards = np.tile(rng.random((num_states, *joint)), (len(joint), *[1] * (1 + len(joint))))
    else:
        own = rng.random((len(joint), num_states, num_actions))
        rewards = own_action_rewards(transitions.shape, own)
    start = rng.dirichlet(np.ones(num_states))
    return TabularGame(transitions, rewards, player_function, start, discount)


def solvable_game(seed: int, kind: str) -> TabularGame:
    """A random game that has an SPE in pure policies of the state.

    Turns: perfect information over 4 rounds. Chance: both agents want the same, and Y does not
    look at h, so the best joint policy is one.
    """
    if kind == "turns":
        return with_horizon(random_game(seed, turns()), 4)
    chances = IndependentStochastic(np.array([0.7, 0.4]))
    return random_game(seed, chances, common_interest=True)


def random_policies(game: TabularGame, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.dirichlet(np.ones(count), game.num_states) for count in game.num_actions]


def uniform_policies(game: TabularGame) -> list[np.ndarray]:
    return [np.full((game.num_states, count), 1.0 / count) for count in game.num_actions]


def mixed(
    first: Sequence[np.ndarray], second: Sequence[np.ndarray], share: float
) -> list[np.ndarray]:
    """`second` with probability `share`, else `first`."""
    return [(1 - share) * a + share * b for a, b in zip(first, second, strict=True)]
