"""The discriminator D_{w_i} as an RLModule that lives on the learners only."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.core.rl_module.torch import TorchRLModule

from rllib_amagail.judge import Judge
from rllib_amagail.row_encoder import SHAPING_COLUMNS, RowEncoder

LOGITS_EXPERT_IS_HIGH = "logits_expert_is_high"
INPUTS = "inputs"
_SUFFIX = "_discriminator"


def discriminator_id(module_id: str) -> str:
    """The id of the discriminator that judges the rows of policy module ``module_id``."""
    return module_id + _SUFFIX


class Discriminator(TorchRLModule, Judge):
    """A `Judge`; its output is `LOGITS_EXPERT_IS_HIGH`, ``[B]``.

    ``model_config`` needs ``hiddens``, the widths of the hidden layers, ``judged``, which parts of
    a turn it sees, and may have ``shaping_discount`` (`RowEncoder`).
    """

    model_config: dict[str, Any]

    def setup(self) -> None:
        encoder = RowEncoder(
            self.observation_space,
            self.action_space,
            self.model_config["judged"],
            self.model_config.get("shaping_discount"),
        )
        self.build(encoder, self.model_config["hiddens"])

    def standardise_with(self, expert_rows: np.ndarray) -> None:
        """Take mean and standard deviation of the inputs from the demonstrations ``[K, R]``.

        An input that never varies keeps scale 1, so that a policy row that differs in it stays
        finite.
        """
        mean, scale = expert_rows.mean(axis=0), expert_rows.std(axis=0)
        if self._is_shaped:
            # s and s' are seen by the same network; discount and probability are no inputs.
            later = slice(self._inputs, self._inputs + self._features)
            mean[later], scale[later] = mean[: self._features], scale[: self._features]
            mean[-SHAPING_COLUMNS:], scale[-SHAPING_COLUMNS:] = 0.0, 1.0
        self.input_mean.copy_(torch.from_numpy(mean))
        self.input_scale.copy_(torch.from_numpy(np.where(scale > 1e-6, scale, 1.0)))

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        logits = self.logits_of_standardised(self.standardise(batch[INPUTS]))
        return {LOGITS_EXPERT_IS_HIGH: logits}

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._forward(batch)

    def get_state(self, *args: Any, inference_only: bool = False, **kwargs: Any) -> dict[str, Any]:
        """Weights and standardisation; nothing for env runners, which have no discriminator."""
        if inference_only:
            return {}
        return TorchRLModule.get_state(self, *args, **kwargs)
