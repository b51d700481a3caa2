"""Policy rows as the discriminator sees them."""

from __future__ import annotations

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModule

from rllib_amagail.learner.behaviour_cloning import policy_parameters
from rllib_amagail.learner.expert_rows import ExpertRows, Phi
from rllib_amagail.learner.phi_filter import judged_actions
from rllib_amagail.learner.turns import TurnBatch
from rllib_amagail.row_encoder import RowEncoder


def encode_turns(encoder: RowEncoder, turns: TurnBatch, phi: Phi) -> np.ndarray:
    """``[T, R]`` rows of all turns; with ``phi="executed"``, of what the game carried out."""
    actions = judged_actions(encoder, turns, phi)
    inputs = encoder.encode(turns.observations, actions, turns.next_observations)
    if encoder.shaping_discount is None:
        return inputs
    ends = np.zeros(len(turns), bool)
    ends[turns.segment_starts[1:] - 1] = turns.terminated
    return encoder.append_shaping(
        inputs, turns.next_observations, turns.elapsed_rounds, ends, turns.action_logp
    )


def with_log_probabilities(
    rows: torch.Tensor, module: RLModule, expert_rows: ExpertRows
) -> torch.Tensor:
    """Expert rows ``[K', R]`` of a shaped discriminator, with log pi(a|s) of the policy as it is.

    Args:
        rows: whose last column is to be filled.
        module: the policy, not wrapped for several learners.
        expert_rows: what the rows were made of.
    """
    assert expert_rows.actions is not None
    observations, actions = (
        torch.from_numpy(column[expert_rows.is_judged]).to(rows.device)
        for column in (expert_rows.observations, expert_rows.actions)
    )
    inputs = policy_parameters(module, {Columns.OBS: observations})
    policy = module.get_train_action_dist_cls().from_logits(inputs)
    return torch.cat([rows[:, :-1], policy.logp(actions)[:, None]], dim=1)


def comparable_rows(encoder: RowEncoder, turns: TurnBatch) -> np.ndarray:
    """``[T]`` bool: rows of the kind that expert rows are, for the discriminator to learn from.

    Expert rows with s' join two turns. A pair that ends with an episode's final observation is
    judged, but would give itself away as the policy's if it were learned from. Where no other rows
    are left, all are.
    """
    if encoder.joins_turns and turns.has_next_turn.any():
        return turns.has_next_turn
    return np.ones(len(turns), bool)
