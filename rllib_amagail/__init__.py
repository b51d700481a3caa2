"""Asynchronous multi-agent generative adversarial imitation learning on Ray RLlib."""

from rllib_amagail.algorithm.amagail import AMAGAIL
from rllib_amagail.algorithm.baselines import (
    GAIL,
    MACK,
    MAGAIL,
    GAILConfig,
    MACKConfig,
    MAGAILConfig,
)
from rllib_amagail.algorithm.config import AMAGAILConfig
from rllib_amagail.algorithm.multi_agent_bc import MultiAgentBC, MultiAgentBCConfig
from rllib_amagail.demonstrations import Demonstrations, DemonstrationsError
from rllib_amagail.envs.turn_based_env import TurnBasedEnv
from rllib_amagail.player_functions import (
    DeterministicPattern,
    HistoryPlayerFunction,
    IndependentStochastic,
    MarkovParticipation,
    PlayerFunction,
    StatePlayerFunction,
    Synchronous,
)
from rllib_amagail.registration import register

__all__ = [
    "AMAGAIL",
    "GAIL",
    "MACK",
    "MAGAIL",
    "AMAGAILConfig",
    "Demonstrations",
    "DemonstrationsError",
    "DeterministicPattern",
    "GAILConfig",
    "HistoryPlayerFunction",
    "IndependentStochastic",
    "MACKConfig",
    "MAGAILConfig",
    "MarkovParticipation",
    "MultiAgentBC",
    "MultiAgentBCConfig",
    "PlayerFunction",
    "StatePlayerFunction",
    "Synchronous",
    "TurnBasedEnv",
    "register",
]

register()
