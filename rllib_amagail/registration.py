"""Names that Ray knows after ``import rllib_amagail``."""

from __future__ import annotations

from functools import partial

from ray import tune

from rllib_amagail.algorithm.amagail import AMAGAIL
from rllib_amagail.envs.game_envs import GameEnv
from rllib_amagail.games import GAME_NAMES

ALGORITHM_NAMES = {"AMAGAIL": AMAGAIL}


def register() -> None:
    """Register the algorithm and the games with Ray Tune and RLlib.

    Importing the package calls it. Call it again after ``ray.shutdown()``, which forgets names; to
    call it twice does no harm.
    """
    for name, algorithm in ALGORITHM_NAMES.items():
        tune.register_trainable(name, algorithm)
    for name in GAME_NAMES:
        tune.register_env(name, partial(GameEnv, name))
