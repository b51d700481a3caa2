"""Policy rows as the discriminator sees them."""

from __future__ import annotations

import numpy as np

from rllib_amagail.learner.expert_rows import Phi
from rllib_amagail.learner.row_encoder import RowEncoder
from rllib_amagail.learner.turns import TurnBatch


def encode_turns(encoder: RowEncoder, turns: TurnBatch, phi: Phi) -> np.ndarray:
    """``[T, W]`` inputs of all turns; with ``phi="executed"``, of what the game carried out."""
    actions = turns.actions
    if phi == "executed" and not turns.participates.all():
        actions = np.where(turns.participates, actions, encoder.last_choice)
    return encoder.encode(turns.observations, actions, turns.next_observations)


def comparable_rows(encoder: RowEncoder, turns: TurnBatch) -> np.ndarray:
    """``[T]`` bool: rows of the kind that expert rows are, for the discriminator to learn from.

    Expert pairs (s, s') join two turns. A pair that ends with an episode's final observation is
    judged, but would give itself away as the policy's if it were learned from. Where no other rows
    are left, all are.
    """
    if encoder.judged == "state_pair" and turns.has_next_turn.any():
        return turns.has_next_turn
    return np.ones(len(turns), bool)
