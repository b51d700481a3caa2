"""AMAGAIL on tic-tac-toe of OpenSpiel, from games of the perfect player.

rllib train file tuned_configs/openspiel_tic_tac_toe.py
"""

from pathlib import Path

from rllib_amagail import AMAGAILConfig
from rllib_amagail.runners.pooled_worlds import PooledEnvRunner

game = "tic_tac_toe"
# The demonstrations are those of `python examples/board_games.py tic_tac_toe --record FILE`.
recording = {"num_games": 200, "noise": 0.5, "seed": 0}

config = (
    AMAGAILConfig()
    .environment("openspiel", env_config={"game": game})
    .imitation(
        demonstrations=Path(__file__).parent / "demonstrations" / f"{game}.parquet",
        bc_steps=1000,
        discriminator_hiddens=(64, 64),
        discriminator_batch_size=256,
    )
    .training(train_batch_size_per_learner=1000, minibatch_size=250, gamma=1.0)
    .env_runners(num_envs_per_env_runner=32, env_runner_cls=PooledEnvRunner)
    .debugging(seed=0)
)

stop = {"training_iteration": 20}
# Both seats together, against the perfect player, when the likeliest action is played.
expected = {"share_lost": 0.0}
