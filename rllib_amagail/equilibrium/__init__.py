"""Subgame perfection measured exactly on tabular Markov games with a player function."""

from rllib_amagail.equilibrium.episodes import TabularEpisodes, sample_episodes
from rllib_amagail.equilibrium.game import TabularGame, own_action_rewards
from rllib_amagail.equilibrium.gap import Gap, SubgamePerfection, gains, subgame_perfection
from rllib_amagail.equilibrium.imitation import Imitated, clone, imitate
from rllib_amagail.equilibrium.library import GAMES, with_horizon, with_trembles
from rllib_amagail.equilibrium.occupancy import jensen_shannon, occupancy_measures
from rllib_amagail.equilibrium.solver import NoPureEquilibriumError, solve_spe
from rllib_amagail.equilibrium.values import (
    AgentView,
    agent_view,
    best_response_values,
    objective,
    returns,
    values,
)

__all__ = [
    "GAMES",
    "AgentView",
    "Gap",
    "Imitated",
    "NoPureEquilibriumError",
    "SubgamePerfection",
    "TabularEpisodes",
    "TabularGame",
    "agent_view",
    "best_response_values",
    "clone",
    "gains",
    "imitate",
    "jensen_shannon",
    "objective",
    "occupancy_measures",
    "own_action_rewards",
    "returns",
    "sample_episodes",
    "solve_spe",
    "subgame_perfection",
    "values",
    "with_horizon",
    "with_trembles",
]
