"""Behaviour cloning by itself, in the variants that could help when rows are few."""

from __future__ import annotations

import copy

import numpy as np
import torch
from regimes_settings import CHECK_EVERY, CLONING, HELD_OUT_SHARE, WEIGHT_DECAY

from rllib_amagail import AMAGAILConfig, Demonstrations
from rllib_amagail.algorithm.policies import sampling_policy
from rllib_amagail.evaluation import Policy
from rllib_amagail.learner.agent_module import AgentModule
from rllib_amagail.learner.behaviour_cloning import cloning_loss
from rllib_amagail.learner.expert_rows import ExpertRows


def cloned_policies(demonstrations: Demonstrations, variant: str, seed: int) -> dict[str, Policy]:
    """One cloned policy per agent, of AMAGAIL's own networks.

    Args:
        demonstrations: with actions.
        variant: "BC"; "BC_weight_decay", with AdamW; "BC_early_stopped", the iterate that is best
            on held-out rows.
        seed: of weights and rows.
    """
    torch.manual_seed(seed)  # weights
    rng = np.random.default_rng(seed)
    policies = {}
    for agent in demonstrations.agents:
        spaces = demonstrations.observation_spaces[agent], demonstrations.action_spaces[agent]
        module = AgentModule(
            observation_space=spaces[0],
            action_space=spaces[1],
            model_config=AMAGAILConfig().model_config,
        )
        rows = ExpertRows.collect(demonstrations, [agent], *spaces, "filtered")
        _clone(module, rows, variant, rng)
        policies[agent] = sampling_policy(module)
    return policies


def _clone(module: AgentModule, rows: ExpertRows, variant: str, rng: np.random.Generator) -> None:
    decay = WEIGHT_DECAY if variant == "BC_weight_decay" else 0.0
    optimizer = torch.optim.AdamW(module.parameters(), lr=CLONING["lr"], weight_decay=decay)
    order = rng.permutation(len(rows))
    held_out = max(1, round(HELD_OUT_SHARE * len(rows))) if variant == "BC_early_stopped" else 0
    unseen, learned = _part(rows, order[:held_out]), _part(rows, order[held_out:])
    best, kept = float("inf"), copy.deepcopy(module.state_dict())
    for step in range(CLONING["steps"] + 1):
        if held_out and step % CHECK_EVERY == 0:
            with torch.no_grad():
                loss = float(
                    cloning_loss(module, unseen, batch_size=CLONING["batch_size"], rng=rng)
                )
            if loss < best:
                best, kept = loss, copy.deepcopy(module.state_dict())
        loss = cloning_loss(module, learned, batch_size=CLONING["batch_size"], rng=rng)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    if held_out:
        module.load_state_dict(kept)


def _part(rows: ExpertRows, chosen: np.ndarray) -> ExpertRows:
    assert rows.actions is not None
    return ExpertRows(rows.observations[chosen], rows.actions[chosen], rows.inputs[chosen])
