"""Names that Ray knows after ``import rllib_amagail``."""

from __future__ import annotations

from functools import partial

from ray import tune

from rllib_amagail.algorithm.amagail import AMAGAIL
from rllib_amagail.algorithm.baselines import GAIL, MACK, MAGAIL
from rllib_amagail.algorithm.multi_agent_bc import MultiAgentBC
from rllib_amagail.envs.board_games import BOARD_GAME_NAMES, BoardGame
from rllib_amagail.envs.game_envs import GameEnv
from rllib_amagail.games import GAME_NAMES

# "BC" would be RLlib's algorithm or ours, whichever Ray Tune has registered last.
ALGORITHM_NAMES: dict[str, type[AMAGAIL]] = {
    "AMAGAIL": AMAGAIL,
    "MAGAIL": MAGAIL,
    "GAIL": GAIL,
    "MACK": MACK,
    "MultiAgentBC": MultiAgentBC,
}


def register() -> None:
    """Register the algorithms and the games with Ray Tune and RLlib.

    Importing the package calls it. Call it again after ``ray.shutdown()``, which forgets names; to
    call it twice does no harm.
    """
    for name, algorithm in ALGORITHM_NAMES.items():
        tune.register_trainable(name, algorithm)
    for name in GAME_NAMES:
        tune.register_env(name, partial(GameEnv, name))
    for name in BOARD_GAME_NAMES:
        tune.register_env(name, partial(BoardGame, name))
