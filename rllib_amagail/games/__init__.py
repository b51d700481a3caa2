"""The paper's particle games: batched worlds in numpy, each with a player function.

`rllib_amagail.games.pettingzoo` and `rllib_amagail.games.rendering` are imported on their own,
because they need PettingZoo and Pillow.
"""

from rllib_amagail.games.game import DEFAULT_HORIZON, ParticleGame, RoundResult, episode_score
from rllib_amagail.games.navigation import CooperativeNavigation
from rllib_amagail.games.particles import (
    NULL_ACTION,
    NUM_ACTIONS,
    AgentBody,
    Landmark,
    ParticlePhysics,
)
from rllib_amagail.games.predator_prey import PredatorPrey
from rllib_amagail.games.reaching import CooperativeReaching
from rllib_amagail.games.registry import GAME_NAMES, make_game
from rllib_amagail.games.scenario import Scenario

__all__ = [
    "DEFAULT_HORIZON",
    "GAME_NAMES",
    "NULL_ACTION",
    "NUM_ACTIONS",
    "AgentBody",
    "CooperativeNavigation",
    "CooperativeReaching",
    "Landmark",
    "ParticleGame",
    "ParticlePhysics",
    "PredatorPrey",
    "RoundResult",
    "Scenario",
    "episode_score",
    "make_game",
]
