"""The phi filter: lines 5 and 10 of Algorithm 1 as a learner connector.

Sources differ in what they record. Sparse ones (`TurnBasedEnv` as it comes) hold turns only; dense
ones show every agent in every round and carry rows (s, phi). After the filter both are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.utils.typing import EpisodeType

from rllib_amagail.learner.expert_rows import Phi
from rllib_amagail.learner.turns import TurnBatch
from rllib_amagail.row_encoder import RowEncoder


def filter_phi(turns: TurnBatch, gamma: float = 1.0) -> TurnBatch:
    """Drop the rows (s, phi) of a batch.

    A reward received while absent goes to the agent's preceding turn, discounted by the rounds in
    between, as in sparse episodes; before the first turn there is nobody to credit.

    Args:
        turns: of one module.
        gamma: the discount of a round.
    """
    keep = turns.participates
    if keep.all():
        return turns
    segment = np.repeat(np.arange(len(turns.segment_starts) - 1), np.diff(turns.segment_starts))
    latest_turn = np.maximum.accumulate(np.where(keep, np.arange(len(keep)), -1))
    credited = (latest_turn >= 0) & (segment[latest_turn] == segment)
    rewards = np.zeros_like(turns.rewards)
    waited = (turns.rounds - turns.rounds[latest_turn])[credited]
    np.add.at(rewards, latest_turn[credited], gamma**waited * turns.rewards[credited])
    return turns.keep_rows(keep, rewards)


def judged_actions(encoder: RowEncoder, turns: TurnBatch, phi: Phi) -> np.ndarray:
    """``[T, ...]`` what was chosen, or with ``phi="executed"`` what was carried out."""
    if phi == "executed" and not turns.participates.all():
        return np.where(turns.participates, turns.actions, encoder.last_choice)
    return turns.actions


class FilterPhi(ConnectorV2):
    """Applies `filter_phi` to every module's turns.

    Args:
        gammas: discount of a round by module; 1 for modules that are left out.
    """

    def __init__(
        self, *args: Any, gammas: Mapping[str, float] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._gammas = dict(gammas or {})

    def __call__(
        self,
        *,
        rl_module: RLModule,
        batch: dict[str, Any],
        episodes: Sequence[EpisodeType],
        explore: bool | None = None,
        shared_data: dict | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        filtered = {
            module_id: filter_phi(turns, self._gammas.get(module_id, 1.0))
            for module_id, turns in batch.items()
        }
        return {module_id: turns for module_id, turns in filtered.items() if len(turns) > 0}
