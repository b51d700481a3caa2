"""The settings of every method, declared before the seeds of the study were run.

They were chosen on seeds 100 and 101, whose recordings no other seed uses. Lines of results that
were made with other settings do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from paper_settings import Settings
from regimes_cells import ADVERSARIAL, FIRST_RECORDING_SEED, REGIMES, Cell

from rllib_amagail import AMAGAILConfig

# Behaviour cloning: 1,000 steps of 256 rows, step size 1e-3, nothing else.
CLONING: dict[str, Any] = {
    "bc_steps": 1000,
    "bc_lr": 1e-3,
    "bc_batch_size": 256,
    "reward_source": "zero",
}
WEIGHT_DECAY = 1.0  # of AdamW: 1,000 steps of 1e-3 shrink unused weights by 1/e
HELD_OUT_SHARE = 0.2  # of the rows, for the early stop
CHECK_EVERY = 20  # steps

# From scratch: no cloning before, and a discriminator that is kept from learning by heart.
SCRATCH: dict[str, Any] = {
    "bc_steps": 0,
    "value_only_iterations": 0,
    "discriminator_input_noise": 0.5,
    "discriminator_group_lasso": 0.01,
    "bc_loss_coeff": 0.03,
}
MANY_EPISODES = 50  # from here on nothing of that is needed
PLAIN = {"discriminator_input_noise": 0.0, "discriminator_group_lasso": 0.0, "bc_loss_coeff": 0.0}
LEARNING_RATES = (2e-3, 1e-4)  # of the policies, from the first to the last iteration


@dataclass(frozen=True)
class Lengths:
    """How long a cell takes.

    Attributes:
        iterations: of 3,200 rounds each.
        evaluated_episodes: of the learned policies.
        judged_episodes: of each kind of player, to correlate the learned reward with the true one.
    """

    iterations: int = 125
    evaluated_episodes: int = 1000
    judged_episodes: int = 100


QUICK = Lengths(iterations=5, evaluated_episodes=100, judged_episodes=10)


def imitation_settings(cell: Cell) -> dict[str, Any]:
    """What `AMAGAILConfig.imitation` is given besides the demonstrations."""
    if cell.method not in ADVERSARIAL:
        return CLONING
    settings = SCRATCH
    if REGIMES[cell.regime].episodes >= MANY_EPISODES:
        settings = settings | PLAIN
    if cell.method == "observation_alone":
        settings = settings | {"discriminator_inputs": "state", "bc_loss_coeff": 0.0}
    if cell.method == "zero_reward":
        settings = settings | {"reward_source": "zero"}
    return settings


def config_of(cell: Cell, lengths: Lengths) -> AMAGAILConfig:
    """A method's whole configuration, without demonstrations."""
    config = AMAGAILConfig().environment(
        cell.game, env_config={"horizon": REGIMES[cell.regime].horizon}
    )
    config.imitation(**imitation_settings(cell)).debugging(seed=cell.seed, log_level="ERROR")
    if cell.method in ADVERSARIAL:
        rounds = lengths.iterations * config.train_batch_size_per_learner
        first, last = LEARNING_RATES
        config.training(lr=[[0, first], [rounds, last]])
    return config


def settings_of(cell: Cell, lengths: Lengths) -> dict[str, Any]:
    """As JSON: what makes two runs of a cell comparable."""
    regime, adversarial = REGIMES[cell.regime], cell.method in ADVERSARIAL
    described = Settings(
        config_of(cell, lengths),
        lengths.iterations if adversarial else 0,
        lengths.evaluated_episodes,
        recording={
            "episodes": regime.episodes,
            "kept_every": regime.kept_every,
            "horizon": regime.horizon,
            "first_seed": FIRST_RECORDING_SEED,
        },
    ).to_dict()
    if adversarial:
        described["judged_episodes"] = lengths.judged_episodes
    if cell.method == "BC_weight_decay":
        described["weight_decay"] = WEIGHT_DECAY
    if cell.method == "BC_early_stopped":
        described |= {"held_out_share": HELD_OUT_SHARE, "check_every": CHECK_EVERY}
    return described
