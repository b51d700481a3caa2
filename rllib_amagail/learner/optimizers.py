"""The optimizers of a module: PPO's or MACK's, and the discriminator's beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from rllib_amagail.kfac import KFAC
from rllib_amagail.learner.agent_module import AgentModule
from rllib_amagail.learner.kfac_steps import average_over_learners
from rllib_amagail.learner.mack_generator import POLICY, VALUE

DEFAULT = "default_optimizer"  # RLlib's name of a module's only optimizer


def agent_optimizers(module: AgentModule, config: Any) -> Mapping[str, torch.optim.Optimizer]:
    """By name; RLlib sets their learning rates.

    Fused: on small networks Adam's step itself would otherwise cost as much as a forward.
    """
    if config.generator == "ppo":
        return {DEFAULT: torch.optim.Adam(module.parameters(), fused=True)}
    networks = {POLICY: module.policy_network(), VALUE: module.value_network()}
    return {name: _kfac(network, config, config.kfac_kl_clip) for name, network in networks.items()}


def discriminator_optimizer(module: torch.nn.Module, config: Any) -> torch.optim.Optimizer:
    """AdamW beside PPO, K-FAC beside MACK."""
    if config.generator == "ppo":
        return torch.optim.AdamW(module.parameters(), betas=(0.5, 0.9), fused=True)
    return _kfac(module, config, config.kfac_discriminator_kl_clip)


def _kfac(network: torch.nn.Module, config: Any, kl_clip: float) -> KFAC:
    return KFAC(
        network,
        lr=0.0,
        kl_clip=kl_clip,
        damping=config.kfac_damping,
        all_reduce=average_over_learners if config.num_learners > 1 else None,
    )
