"""Write what Algorithm 1 returns (line 15): policies and reward functions, as safe files.

Weights are safetensors, everything needed to use them is JSON beside them; nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ray.rllib.core import COMPONENT_RL_MODULE
from safetensors.numpy import save_file

from rllib_amagail.algorithm.amagail import AMAGAIL
from rllib_amagail.learner.discriminator import discriminator_id
from rllib_amagail.spaces import space_to_dict

FORMAT_VERSION = 1


def export_learned(algorithm: AMAGAIL, folder: str | Path) -> list[Path]:
    """Write ``policies/`` and, unless it learned from the true reward, ``rewards/``.

    Args:
        algorithm: whose learners hold the weights.
        folder: created if it is missing.

    Returns:
        The JSON files; each names its weights.
    """
    state = algorithm.learner_group.get_state()["learner"][COMPONENT_RL_MODULE]
    spec = algorithm.config.get_multi_rl_module_spec(spaces=algorithm.spaces)
    written = []
    for module_id in sorted(algorithm.config.policies):
        shared = _description(algorithm, spec.rl_module_specs[module_id])
        policy = shared | {"kind": "policy", "model": algorithm.config.model_config}
        written.append(_write(Path(folder) / "policies", module_id, state[module_id], policy))
        name = discriminator_id(module_id)
        if name in state:
            reward = shared | {
                "kind": "reward",
                "reward_form": algorithm.config.reward_form,
                "model": dict(spec.rl_module_specs[name].model_config),
            }
            written.append(_write(Path(folder) / "rewards", module_id, state[name], reward))
    return written


def _description(algorithm: AMAGAIL, module_spec: Any) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "observation_space": space_to_dict(module_spec.observation_space),
        "action_space": space_to_dict(module_spec.action_space),
        "phi": algorithm.config.phi,
        "environment": str(algorithm.config.env),
        "iterations": algorithm.iteration,
    }


def _write(
    folder: Path, name: str, weights: Mapping[str, np.ndarray], description: dict[str, Any]
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {key: np.ascontiguousarray(array) for key, array in weights.items()},
        folder / f"{name}.safetensors",
    )
    path = folder / f"{name}.json"
    description = description | {"module": name, "weights": f"{name}.safetensors"}
    path.write_text(json.dumps(description, indent=1, default=str) + "\n")
    return path
