"""AMAGAIL on connect four of OpenSpiel, from games of Monte Carlo tree search.

rllib train file tuned_configs/openspiel_connect_four.py
"""

from pathlib import Path

from rllib_amagail import AMAGAILConfig
from rllib_amagail.runners.pooled_worlds import PooledEnvRunner

game = "connect_four"
# Recorded by `python examples/board_games.py connect_four --record FILE`.
recording = {"num_games": 50, "noise": None, "seed": 0}
# How learned players play: the likeliest action, after random ones that tell games apart.
playing = {"explores": False, "random_moves": 4}
# The best behaviour cloning that was found, to compare with.
cloning = {"bc_steps": 20, "validation_share": 0.2}

config = (
    AMAGAILConfig()
    .environment("openspiel", env_config={"game": game})
    .imitation(
        demonstrations=Path(__file__).parent / "demonstrations" / f"{game}.parquet",
        discriminator_hiddens=(64, 64),
        discriminator_batch_size=256,
        gradient_penalty=1.0,
        reward_form="airl",  # either sign: a positive reward for every move would prolong games
        bc_steps=300,
        bc_anchor=0.3,
    )
    .training(train_batch_size_per_learner=1500, minibatch_size=250, lr=5e-4, gamma=0.99)
    .env_runners(num_envs_per_env_runner=32, env_runner_cls=PooledEnvRunner)
    .debugging(seed=0)
)

stop = {"training_iteration": 30}
