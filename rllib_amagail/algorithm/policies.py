"""Trained policies as plain functions of observations."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium.spaces import Discrete
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import COMPONENT_RL_MODULE
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModule

from rllib_amagail.evaluation import Policy, sample_softmax


def policies_of(algorithm: Algorithm) -> dict[str, Policy]:
    """One sampling policy per agent, with a copy of the learners' current weights.

    Args:
        algorithm: of any multi-agent game with Discrete actions.

    Raises:
        ValueError: other actions.
    """
    config = algorithm.config
    state = algorithm.learner_group.get_state(inference_only=True)["learner"][COMPONENT_RL_MODULE]
    modules = config.get_multi_rl_module_spec(spaces=algorithm.spaces, inference_only=True).build()
    modules.set_state({module_id: state[module_id] for module_id in modules.keys()})  # noqa: SIM118
    agents = algorithm.spaces["__env_single__"][0].spaces
    return {
        agent: sampling_policy(modules[config.policy_mapping_fn(agent, None)]) for agent in agents
    }


def sampling_policy(module: RLModule) -> Policy:
    """Samples from a policy module's Discrete actions; raises ValueError for other actions."""
    if not isinstance(module.action_space, Discrete):
        raise ValueError(f"found actions in {module.action_space}; expected Discrete ones")

    def act(observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        outputs = module.forward_inference({Columns.OBS: torch.from_numpy(observations)})
        return sample_softmax(outputs[Columns.ACTION_DIST_INPUTS].numpy(), rng)

    return act
