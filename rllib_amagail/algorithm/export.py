"""Write what Algorithm 1 returns (line 15): policies and reward functions, as safe files.

Weights are safetensors, everything needed to use them is JSON beside them; nothing is pickled.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from ray.rllib.core import COMPONENT_RL_MODULE
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from rllib_amagail.algorithm.amagail import AMAGAIL
from rllib_amagail.demonstrations.metadata import checksum
from rllib_amagail.judge import JOINT
from rllib_amagail.learned_files import FOLDERS, save_index, save_learned
from rllib_amagail.learned_policy import LearnedPolicy
from rllib_amagail.learner.agent_module import OTHERS_SIZE
from rllib_amagail.learner.discriminator import discriminator_id
from rllib_amagail.learner.joint_rows import JointStructure
from rllib_amagail.learner.learner_base import IMITATION_STATE
from rllib_amagail.running_moments import RunningMoments


def export_learned(algorithm: AMAGAIL, folder: str | os.PathLike[str]) -> list[Path]:
    """Write ``policies/``, ``rewards/`` unless it learned from the true reward, and an index.

    `LearnedPolicy.load` and `LearnedReward.load` read the folder, or `LearnedReward.load_joint` if
    one discriminator saw all agents. The value function is left out.

    Args:
        algorithm: whose learners hold the weights.
        folder: created if it is missing.

    Returns:
        The JSON files of the modules; each names its weights.

    Raises:
        ValueError: recurrent policies, whose states the files have no place for.
    """
    if algorithm.config.model_config.get("use_lstm"):
        raise ValueError(
            "use_lstm is True; expected policies without states, which is what the files hold. "
            "Keep recurrent policies as checkpoints: algorithm.save_to_path(...)"
        )
    learners, config = algorithm.learner_group, algorithm.config
    state = learners.get_state()["learner"]
    acting = learners.get_state(inference_only=True)["learner"][COMPONENT_RL_MODULE]
    specs = config.get_multi_rl_module_spec(spaces=algorithm.spaces).rl_module_specs
    provenance = _provenance(algorithm)
    written = []
    for module_id in sorted(config.policies):
        weights = {"policy": acting[module_id]}
        models = {"policy": _policy_model(config, specs[module_id].model_config)}
        judge = discriminator_id(module_id)
        if judge in state[COMPONENT_RL_MODULE]:
            weights["reward"] = state[COMPONENT_RL_MODULE][judge]
            moments = state[IMITATION_STATE]["agents"][module_id]["reward_moments"]
            models["reward"] = _reward_model(config, specs[judge].model_config, moments)
        written += [
            save_learned(
                Path(folder) / FOLDERS[kind],
                module_id,
                weights[kind],
                kind=kind,
                observation_space=specs[module_id].observation_space,
                action_space=specs[module_id].action_space,
                model=models[kind],
                provenance=provenance,
            )
            for kind in weights
        ]
    if JOINT in state[COMPONENT_RL_MODULE]:
        written.append(_save_joint(config, specs, folder, state[COMPONENT_RL_MODULE], provenance))
    save_index(folder, config.modules_of_agents())
    return written


def learned_policy(algorithm: AMAGAIL) -> LearnedPolicy:
    """The present policies as those who read the exported files have them, without files."""
    with tempfile.TemporaryDirectory() as folder:
        export_learned(algorithm, folder)
        return LearnedPolicy.load(folder)


def _save_joint(
    config: Any,
    specs: Mapping[str, RLModuleSpec],
    folder: str | os.PathLike[str],
    weights: Mapping[str, Any],
    provenance: dict[str, Any],
) -> Path:
    """The reward of joint rows, and which of their columns are whose."""
    spaces = {m: (specs[m].observation_space, specs[m].action_space) for m in config.policies}
    structure = JointStructure.from_config(config, spaces)
    assert structure is not None
    joint = {
        "structure": config.discriminator_structure,
        "judged": config.discriminator_inputs,
        "columns": structure.columns,
        "sides": structure.sides,
    }
    model = {"reward_form": config.reward_form, "phi": config.phi, "reward_deviation": 1.0}
    return save_learned(
        Path(folder) / FOLDERS["reward"],
        JOINT,
        weights[JOINT],
        kind="reward",
        observation_space=specs[JOINT].observation_space,
        action_space=specs[JOINT].action_space,
        model={**specs[JOINT].model_config, **model},
        provenance=provenance | {"joint_rows": joint},
    )


def _policy_model(config: Any, model_config: Any) -> dict[str, Any]:
    """Networks and, for Box actions, what becomes of them before the environment gets them."""
    own = asdict(model_config) if isinstance(model_config, DefaultModelConfig) else model_config
    networks = asdict(DefaultModelConfig()) | own  # what the user left open, RLlib fills in
    networks.pop(OTHERS_SIZE, None)  # of the critic, which is left out
    rules = ("normalize_actions", "clip_actions")
    return networks | {name: bool(getattr(config, name)) for name in rules}


def _reward_model(config: Any, judge: dict[str, Any], moments: dict[str, float]) -> dict[str, Any]:
    running = RunningMoments()
    running.set_state(moments)
    return {
        **judge,
        "reward_form": config.reward_form,
        "phi": config.phi,
        "reward_deviation": running.deviation if config.normalise_rewards else 1.0,
    }


def _provenance(algorithm: AMAGAIL) -> dict[str, Any]:
    """Where it comes from; of the demonstrations the SHA-256 of their rows."""
    config = algorithm.config
    demonstrations = config.load_demonstrations() if config.uses_demonstrations else None
    return {
        "algorithm": type(algorithm).__name__,
        "environment": getattr(config.env, "__name__", str(config.env)),
        "phi": config.phi,
        "iterations": algorithm.iteration,
        "seed": config.seed,
        "demonstrations": None if demonstrations is None else checksum({}, demonstrations.records),
        "versions": {
            "ray": ray.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
