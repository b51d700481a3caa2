"""The discriminator D_{w_i} as an RLModule that lives on the learners only."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.core.rl_module.torch import TorchRLModule

from rllib_amagail.learner.row_encoder import RowEncoder

LOGITS_EXPERT_IS_HIGH = "logits_expert_is_high"
INPUTS = "inputs"
_SUFFIX = "_discriminator"


def discriminator_id(module_id: str) -> str:
    """The id of the discriminator that judges the rows of policy module ``module_id``."""
    return module_id + _SUFFIX


class Discriminator(TorchRLModule):
    """A tanh network on standardised inputs; its output is `LOGITS_EXPERT_IS_HIGH`, ``[B]``.

    ``model_config`` needs ``hiddens``, the widths of the hidden layers, and ``judged``, which parts
    of a turn it sees (`RowEncoder`).
    """

    def setup(self) -> None:
        encoder = RowEncoder(self.observation_space, self.action_space, self.model_config["judged"])
        layers: list[torch.nn.Module] = []
        width = encoder.input_size
        for hidden in self.model_config["hiddens"]:
            layers += [torch.nn.Linear(width, hidden), torch.nn.Tanh()]
            width = hidden
        self.network = torch.nn.Sequential(*layers, torch.nn.Linear(width, 1))
        self.register_buffer("input_mean", torch.zeros(encoder.input_size))
        self.register_buffer("input_scale", torch.ones(encoder.input_size))

    def standardise_with(self, expert_inputs: np.ndarray) -> None:
        """Take mean and standard deviation of the inputs from the demonstrations ``[K, W]``.

        An input that never varies keeps scale 1, so that a policy row that differs in it stays
        finite.
        """
        scale = expert_inputs.std(axis=0)
        self.input_mean.copy_(torch.from_numpy(expert_inputs.mean(axis=0)))
        self.input_scale.copy_(torch.from_numpy(np.where(scale > 1e-6, scale, 1.0)))

    def standardise(self, inputs: torch.Tensor) -> torch.Tensor:
        """``[B, W]`` inputs to standardised ones."""
        return (inputs - self.input_mean) / self.input_scale

    def logits_of_standardised(self, inputs: torch.Tensor) -> torch.Tensor:
        """``[B, W]`` standardised inputs to ``[B]`` logits."""
        return self.network(inputs).squeeze(-1)

    @property
    def input_weights(self) -> torch.Tensor:
        """``[H, W]`` weights of the first layer, one column per input."""
        weights = self.network[0].weight
        assert isinstance(weights, torch.Tensor)
        return weights

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
