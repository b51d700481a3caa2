"""Write what Algorithm 1 returns (line 15): policies and reward functions, as safe files.

Weights are safetensors, everything needed to use them is JSON beside them; nothing is pickled.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from ray.rllib.core import COMPONENT_RL_MODULE
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

from rllib_amagail.algorithm.amagail import AMAGAIL
from rllib_amagail.learned_policy import save_learned
from rllib_amagail.learner.agent_module import OTHERS_SIZE
from rllib_amagail.learner.discriminator import discriminator_id


def export_learned(algorithm: AMAGAIL, folder: str | Path) -> list[Path]:
    """Write ``policies/`` and, unless it learned from the true reward, ``rewards/``.

    `load_policy` reads policies with Discrete actions back. The value function is left out.

    Args:
        algorithm: whose learners hold the weights.
        folder: created if it is missing.

    Returns:
        The JSON files; each names its weights.
    """
    learners = algorithm.learner_group
    state = learners.get_state()["learner"][COMPONENT_RL_MODULE]
    acting = learners.get_state(inference_only=True)["learner"][COMPONENT_RL_MODULE]
    config = algorithm.config
    spec = config.get_multi_rl_module_spec(spaces=algorithm.spaces)
    provenance = {
        "environment": getattr(config.env, "__name__", str(config.env)),
        "phi": config.phi,
        "iterations": algorithm.iteration,
    }
    written = []
    for module_id in sorted(config.policies):
        module_spec = spec.rl_module_specs[module_id]
        shared = {
            "observation_space": module_spec.observation_space,
            "action_space": module_spec.action_space,
            "provenance": provenance,
        }
        # What the user left open is filled in by RLlib's networks, too.
        own = module_spec.model_config
        own = asdict(own) if isinstance(own, DefaultModelConfig) else own
        networks = asdict(DefaultModelConfig()) | own
        networks.pop(OTHERS_SIZE, None)  # of the critic, which is left out
        written.append(
            save_learned(
                Path(folder) / "policies",
                module_id,
                acting[module_id],
                kind="policy",
                model=networks,
                **shared,
            )
        )
        name = discriminator_id(module_id)
        if name in state:
            judge = dict(spec.rl_module_specs[name].model_config)
            written.append(
                save_learned(
                    Path(folder) / "rewards",
                    module_id,
                    state[name],
                    kind="reward",
                    model=judge | {"reward_form": config.reward_form},
                    **shared,
                )
            )
    return written
