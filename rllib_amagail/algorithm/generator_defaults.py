"""What learned the paper's games, per generator: defaults of `AMAGAILConfig` that depend on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GENERATOR_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "ppo": {
        "num_envs_per_env_runner": 64,
        "train_batch_size_per_learner": 3200,
        "minibatch_size": 400,
        "lr": 1e-3,
        "_model_config": {
            "fcnet_hiddens": [128, 128],
            "fcnet_activation": "tanh",
            "vf_share_layers": False,
        },
        "discriminator_hiddens": (128, 128),
        "discriminator_lr": 1e-3,
        "discriminator_steps": 4,
        "gradient_penalty": 0.02,
    },
    "mack": {
        "num_envs_per_env_runner": 20,
        "train_batch_size_per_learner": 1000,
        "minibatch_size": None,  # not read; RLlib wants batches of no fewer rounds
        "lr": 0.3,
        "_model_config": {
            "fcnet_hiddens": [64, 64],
            "fcnet_activation": "tanh",
            "vf_share_layers": False,
        },
        "discriminator_hiddens": (64, 64),
        "discriminator_lr": 0.1,
        "discriminator_steps": 2,
        "gradient_penalty": 0.0,
    },
}
