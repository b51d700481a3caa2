"""Asynchronous multi-agent generative adversarial imitation learning on Ray RLlib.

Data, player functions and what was learned need no Ray; without it the rest raises an ImportError.
"""

from importlib.util import find_spec
from typing import Any

from rllib_amagail.demonstrations import Demonstrations, DemonstrationsError
from rllib_amagail.learned_files import LearnedFileError
from rllib_amagail.learned_policy import LearnedPolicy
from rllib_amagail.learned_reward import LearnedReward
from rllib_amagail.player_functions import (
    DeterministicPattern,
    HistoryPlayerFunction,
    IndependentStochastic,
    LogisticParticipation,
    MarkovParticipation,
    PlayerFunction,
    StatePlayerFunction,
    Synchronous,
)

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
    "LearnedFileError",
    "LearnedPolicy",
    "LearnedReward",
    "LearnedRewardEnv",
    "LogisticParticipation",
    "MACKConfig",
    "MAGAILConfig",
    "MarkovParticipation",
    "MultiAgentBC",
    "MultiAgentBCConfig",
    "PlayerFunction",
    "StatePlayerFunction",
    "Synchronous",
    "TrueScore",
    "TurnBasedEnv",
    "register",
]


def _has_ray() -> bool:
    try:
        return find_spec("ray") is not None
    except ImportError:
        return False


if _has_ray():
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
    from rllib_amagail.envs.learned_reward_env import LearnedRewardEnv, TrueScore
    from rllib_amagail.envs.turn_based_env import TurnBasedEnv
    from rllib_amagail.registration import register

    register()


def __getattr__(name: str) -> Any:
    """Asked for what is not here: with Ray nothing of ours, without it all that needs Ray."""
    if name in __all__:
        raise ImportError(
            f'rllib_amagail.{name} needs Ray, which is not installed: pip install "ray[rllib]"'
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
