"""AMAGAIL on Leduc poker of OpenSpiel, from a few games of a near-equilibrium (CFR+).

Fifty games hold few hands, and whoever is sure of itself elsewhere is exploited. Therefore:
- Players see ranks, a pair and chips instead of every card and bet, and both seats share a policy.
- From scratch, with much entropy, and only until the recorded games are learned.
- With a discount of 0 the reward of a move is its value. Cards decide how long a hand goes on.

rllib train file tuned_configs/openspiel_leduc_poker.py
"""

from pathlib import Path

from rllib_amagail import AMAGAILConfig
from rllib_amagail.runners.pooled_worlds import PooledEnvRunner

game, observer = "leduc_poker", "leduc_table"
# Recorded by `python examples/board_games.py leduc_poker --record FILE`.
recording = {"num_games": 50, "noise": None, "seed": 0}
# How learned players play: mixed strategies are the point of cards.
playing = {"explores": True, "random_moves": 0}
# The best behaviour cloning that was found, to compare with.
cloning = {"bc_steps": 20, "validation_share": 0.2}
rounds, iterations = 1000, 30

config = (
    AMAGAILConfig()
    .environment("openspiel", env_config={"game": game, "observer": observer})
    .imitation(
        demonstrations=Path(__file__).parent / "demonstrations" / f"{game}.parquet",
        bc_steps=0,
        value_only_iterations=0,
        discriminator_hiddens=(64, 64),
        discriminator_batch_size=256,
        discriminator_steps=20,
        gradient_penalty=3.0,
    )
    .training(
        train_batch_size_per_learner=rounds,
        minibatch_size=500,
        gamma=0.0,
        lr=[[0, 1e-3], [rounds * iterations, 2e-4]],
        entropy_coeff=0.3,
    )
    .multi_agent(policies={"player"}, policy_mapping_fn=lambda agent, *_, **__: "player")
    .rl_module(model_config={"fcnet_hiddens": [64, 64]})
    .env_runners(num_envs_per_env_runner=32, env_runner_cls=PooledEnvRunner)
    .debugging(seed=0)
)

stop = {"training_iteration": iterations}
