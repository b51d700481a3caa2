"""What values the fields of `AMAGAILConfig.imitation` may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rllib_amagail.adversarial import REWARD_FORMS
from rllib_amagail.algorithm.generator_defaults import GENERATOR_DEFAULTS
from rllib_amagail.algorithm.structure_checks import check_structure
from rllib_amagail.learner.expert_rows import PHI_MODES
from rllib_amagail.learner.joint_rows import STRUCTURES
from rllib_amagail.row_encoder import DISCRIMINATOR_INPUTS

REWARD_SOURCES = ("discriminator", "environment", "zero")

CRITICS = ("own", "joint")

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "generator": tuple(GENERATOR_DEFAULTS),
    "critic": CRITICS,
    "reward_source": REWARD_SOURCES,
    "reward_form": REWARD_FORMS,
    "phi": PHI_MODES,
    "discriminator_inputs": DISCRIMINATOR_INPUTS,
    "discriminator_structure": STRUCTURES,
}
_SMALLEST: Mapping[str, float] = {
    "demonstrations_memory": 1,
    "batches_ahead": 0,
    "discriminator_steps": 1,
    "discriminator_batch_size": 2,
    "gradient_penalty": 0.0,
    "discriminator_input_noise": 0.0,
    "discriminator_group_lasso": 0.0,
    "bc_steps": 0,
    "bc_lr": 0.0,
    "bc_batch_size": 1,
    "bc_anchor": 0.0,
    "bc_loss_coeff": 0.0,
    "value_only_iterations": 0,
    "past_turns": 0,
    "kfac_damping": 0.0,
    "kfac_value_steps": 1,
}
# What a shaping term makes sense beside: it is a part of AIRL's logit, in which the policy's own
# probability stands; K-FAC has no statistics for a network that is called twice.
_BESIDE_SHAPING: Mapping[str, tuple[str, ...]] = {
    "reward_form": ("airl",),
    "reward_source": ("discriminator",),
    "generator": ("ppo",),
    "discriminator_inputs": ("state_action", "state"),
    "phi": ("filtered", "chosen"),
}
# Recurrent policies learn from sequences: K-FAC has no statistics for recurrent layers, a joint
# critic and a shaping term none of the states that they would need. Where an episode is cut RLlib's
# runner drops the states of agents that did not act in the last round.
_BESIDE_LSTM: Mapping[str, tuple[Any, ...]] = {
    "generator": ("ppo",),
    "critic": ("own",),
    "reward_shaping": (False,),
    "batch_mode": ("complete_episodes",),
}
_POSITIVE = ("kfac_kl_clip", "kfac_discriminator_kl_clip")


def check_fields(config: Any) -> None:
    """Check every field by itself.

    Raises:
        ValueError: a field out of its range; says what was found and what is expected.
    """
    for name, allowed in _CHOICES.items():
        found = getattr(config, name)
        if found not in allowed:
            raise ValueError(f"{name} is {found!r}; expected one of {', '.join(allowed)}")
    for name, smallest in _SMALLEST.items():
        found = getattr(config, name)
        if not found >= smallest:
            raise ValueError(f"{name} is {found}; expected >= {smallest}")
    for name in _POSITIVE:
        found = getattr(config, name)
        if not found > 0:
            raise ValueError(f"{name} is {found}; expected > 0")
    for name, allowed in _BESIDE_SHAPING.items() if config.reward_shaping else ():
        found = getattr(config, name)
        if found not in allowed:
            raise ValueError(
                f"reward_shaping is True and {name} is {found!r}; expected {name} "
                f"{' or '.join(map(repr, allowed))}, or reward_shaping=False"
            )
    check_structure(config)
    if config.shown_past and config.phi != "filtered":
        raise ValueError(
            f"past_turns is {config.past_turns}, elapsed_rounds {config.elapsed_rounds} and phi "
            f"{config.phi!r}, with which every round is a turn; expected phi='filtered', or "
            "past_turns=0 and elapsed_rounds=False"
        )
    if config.batches_ahead and not config.in_evaluation:
        _check_sampling_ahead(config)
    if config.num_demonstrations is not None and config.num_demonstrations < 1:
        raise ValueError(f"num_demonstrations is {config.num_demonstrations}; expected >= 1")
    if config.bc_loss_coeff > 0 and not config.uses_demonstrations:
        raise ValueError(
            f"bc_loss_coeff is {config.bc_loss_coeff} and reward_source is "
            f"{config.reward_source!r}, which trains without demonstrations; expected "
            "bc_loss_coeff=0, or another reward_source"
        )
    widths = config.discriminator_hiddens
    if not widths or min(widths) < 1:
        raise ValueError(f"discriminator_hiddens is {widths}; expected positive widths")
    for name, allowed in _BESIDE_LSTM.items() if config.model_config.get("use_lstm") else ():
        found = getattr(config, name)
        if found not in allowed:
            raise ValueError(
                f"use_lstm is True and {name} is {found!r}; expected {name} "
                f"{' or '.join(map(repr, allowed))}, or use_lstm=False, with past turns in its "
                "place: .history(past_turns=...)"
            )
    if config.model_config.get("vf_share_layers"):
        for name, found in (("generator", config.generator), ("critic", config.critic)):
            if found in ("mack", "joint"):
                raise ValueError(
                    f"{name} is {found!r} and vf_share_layers is True; expected policy and value "
                    "networks of their own. Set model_config vf_share_layers=False."
                )


def _check_sampling_ahead(config: Any) -> None:
    found = f"batches_ahead is {config.batches_ahead} and "
    if config.num_env_runners < 1:
        raise ValueError(
            f"{found}num_env_runners is {config.num_env_runners}; expected >= 1: the runner of the "
            "driver cannot play while the driver learns. Set .env_runners(num_env_runners=...), or "
            "batches_ahead=0"
        )
    if config.generator != "ppo":
        raise ValueError(
            f"{found}generator is {config.generator!r}; expected 'ppo': MACK's gradient takes the "
            "rollouts for those of the policy as it is. Set batches_ahead=0"
        )
