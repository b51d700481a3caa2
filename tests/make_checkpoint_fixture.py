"""Writes the checkpoint that later releases must be able to load: run once per release.

``python -m tests.make_checkpoint_fixture`` from the project's folder. Do not write those of earlier
releases anew.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import ray
from safetensors.numpy import save_file

import rllib_amagail
from rllib_amagail import AMAGAILConfig
from rllib_amagail.local_ray import start_local_ray

FIXTURES = Path(__file__).parent / "fixtures"
ITERATIONS = 2


def fixture_config() -> AMAGAILConfig:
    """A bundled game with networks of four hidden units; iterations cut episodes."""
    return (
        AMAGAILConfig()
        .environment("stochastic_cooperative_navigation", env_config={"horizon": 7})
        .env_runners(num_envs_per_env_runner=2)
        .training(train_batch_size_per_learner=20, minibatch_size=None, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": [4]})
        .imitation(num_demonstrations=3, discriminator_hiddens=(4,), bc_steps=2)
        .imitation(value_only_iterations=1, discriminator_batch_size=16)
        .debugging(seed=0, log_level="ERROR")
    )


def make_fixture(folder: Path, release: str) -> None:
    """Train, save, and write beside the checkpoint what a restored one must have."""
    algorithm = fixture_config().build_algo()
    for _ in range(ITERATIONS):
        result = algorithm.train()
    algorithm.save_to_path(str(folder / "checkpoint"))
    learner = algorithm.learner_group._learner
    weights = {
        f"{module_id}/{name}": array
        for module_id, arrays in learner.get_state()["rl_module"].items()
        for name, array in arrays.items()
    }
    save_file(weights, folder / "weights.safetensors")
    told = {
        "release": release,
        "ray": ray.__version__,
        "iterations": ITERATIONS,
        "rounds": int(result["env_runners"]["num_env_steps_sampled_lifetime"]),
        "updates": ITERATIONS,
    }
    (folder / "expected.json").write_text(json.dumps(told, indent=1) + "\n")
    algorithm.stop()


if __name__ == "__main__":
    start_local_ray(num_cpus=1)
    rllib_amagail.register()
    release = version("rllib_amagail")
    make_fixture(FIXTURES / f"checkpoint_{release}", release)
