"""Behaviour cloning by itself, in the variants that could help when rows are few."""

from __future__ import annotations

import copy

import numpy as np
import torch
from regimes_settings import CHECK_EVERY, HELD_OUT_SHARE, WEIGHT_DECAY

from rllib_amagail import AMAGAILConfig, Demonstrations
from rllib_amagail.algorithm.policies import sampling_policy
from rllib_amagail.evaluation import Policy
from rllib_amagail.learner.agent_module import AgentModule
from rllib_amagail.learner.behaviour_cloning import LOSS, clone_behaviour, measure_fit
from rllib_amagail.learner.expert_rows import ExpertRows


def cloned_policies(
    demonstrations: Demonstrations, variant: str, config: AMAGAILConfig
) -> dict[str, Policy]:
    """One cloned policy per agent, of AMAGAIL's own networks.

    Args:
        demonstrations: with actions.
        variant: "BC"; "BC_weight_decay", with AdamW; "BC_early_stopped", the iterate that is best
            on held-out rows.
        config: its ``bc_...`` settings, networks and seed.
    """
    torch.manual_seed(config.seed)  # weights
    rng = np.random.default_rng(config.seed)
    policies = {}
    for agent in demonstrations.agents:
        spaces = demonstrations.observation_spaces[agent], demonstrations.action_spaces[agent]
        module = AgentModule(
            observation_space=spaces[0], action_space=spaces[1], model_config=config.model_config
        )
        rows = ExpertRows.collect(demonstrations, [agent], *spaces, "filtered")
        decay = WEIGHT_DECAY if variant == "BC_weight_decay" else 0.0
        optimizer = torch.optim.AdamW(module.parameters(), lr=config.bc_lr, weight_decay=decay)
        if variant == "BC_early_stopped":
            clone_until_best(module, rows, optimizer, config, rng)
        else:
            size = config.bc_batch_size
            clone_behaviour(
                module, rows, optimizer, steps=config.bc_steps, batch_size=size, rng=rng
            )
        policies[agent] = sampling_policy(module)
    return policies


def clone_until_best(
    module: AgentModule,
    rows: ExpertRows,
    optimizer: torch.optim.Optimizer,
    config: AMAGAILConfig,
    rng: np.random.Generator,
) -> None:
    """Clone a share of the rows; what fits the others best, looked at every few steps, stays."""
    order, held_out = rng.permutation(len(rows)), max(1, round(HELD_OUT_SHARE * len(rows)))
    unseen, learned = _part(rows, order[:held_out]), _part(rows, order[held_out:])
    best, kept = measure_fit(module, unseen)[LOSS], copy.deepcopy(module.state_dict())
    size = config.bc_batch_size
    for _ in range(config.bc_steps // CHECK_EVERY):
        clone_behaviour(module, learned, optimizer, steps=CHECK_EVERY, batch_size=size, rng=rng)
        loss = measure_fit(module, unseen)[LOSS]
        if loss < best:
            best, kept = loss, copy.deepcopy(module.state_dict())
    module.load_state_dict(kept)


def _part(rows: ExpertRows, chosen: np.ndarray) -> ExpertRows:
    assert rows.actions is not None
    return ExpertRows(
        rows.observations[chosen], rows.actions[chosen], rows.inputs[chosen], rows.is_judged[chosen]
    )
