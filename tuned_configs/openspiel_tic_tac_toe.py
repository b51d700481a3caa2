"""AMAGAIL on tic-tac-toe of OpenSpiel, from games of the perfect player.

rllib train file tuned_configs/openspiel_tic_tac_toe.py
"""

from pathlib import Path

from rllib_amagail import AMAGAILConfig
from rllib_amagail.runners.pooled_worlds import PooledEnvRunner

game = "tic_tac_toe"
# Recorded by `python examples/board_games.py tic_tac_toe --record FILE`.
recording = {"num_games": 1500, "noise": 0.5, "seed": 0}
# How learned players play: the likeliest action.
playing = {"explores": False, "random_moves": 0}
# The best behaviour cloning that was found, to compare with.
cloning = {"bc_steps": 30, "validation_share": 0.2}

config = (
    AMAGAILConfig()
    .environment("openspiel", env_config={"game": game})
    .imitation(
        demonstrations=Path(__file__).parent / "demonstrations" / f"{game}.parquet",
        bc_steps=3000,
        discriminator_hiddens=(64, 64),
        discriminator_batch_size=256,
        discriminator_steps=20,
    )
    .training(
        train_batch_size_per_learner=1000,
        minibatch_size=250,
        gamma=1.0,  # a game is its ending
        lr=3e-4,
    )
    .env_runners(num_envs_per_env_runner=32, env_runner_cls=PooledEnvRunner)
    .debugging(seed=0)
)

stop = {"training_iteration": 10}
