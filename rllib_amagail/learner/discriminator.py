"""The discriminator D_{w_i} as an RLModule that lives on the learners only."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.core.rl_module.torch import TorchRLModule

from rllib_amagail.spaces import ActionLayout, ObservationLayout

LOGITS_EXPERT_IS_HIGH = "logits_expert_is_high"
INPUTS = "inputs"
_SUFFIX = "_discriminator"


def discriminator_id(module_id: str) -> str:
    """The id of the discriminator that judges the rows of policy module ``module_id``."""
    return module_id + _SUFFIX


class RowEncoder:
    """Turns state-action rows into discriminator inputs ``[B, D + A]``.

    Features come first. Then the action: one-hot per choice, or clipped to its bounds for a Box,
    because that is what the environment executes.

    Args:
        observation_space: the policy module's; its action mask is no input.
        action_space: the policy module's; phi, where it is an action, is its last choice.
    """

    def __init__(self, observation_space: gym.Space, action_space: gym.Space) -> None:
        self.feature_size = ObservationLayout.from_space(observation_space).feature_size
        self._actions = ActionLayout.from_space(action_space)
        width = sum(self._actions.sizes) or self._actions.low.size
        self.input_size = self.feature_size + width

    def encode(self, observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """``[B, F]`` flat observations and ``[B, ...]`` actions to ``[B, D + A]`` float32."""
        rows = len(observations)
        inputs = np.zeros((rows, self.input_size), np.float32)
        inputs[:, : self.feature_size] = observations[:, : self.feature_size]
        if self._actions.sizes:
            starts = np.cumsum([0, *self._actions.sizes[:-1]])
            hot = actions.reshape(rows, -1) - self._actions.low + starts + self.feature_size
            np.put_along_axis(inputs, hot.astype(np.int64), 1.0, axis=1)
        else:
            inputs[:, self.feature_size :] = np.clip(
                actions.reshape(rows, -1), self._actions.low, self._actions.high
            )
        return inputs


class Discriminator(TorchRLModule):
    """A tanh network on standardised inputs; its output is `LOGITS_EXPERT_IS_HIGH`, ``[B]``.

    ``model_config`` needs ``hiddens``: the widths of the hidden layers.
    """

    def setup(self) -> None:
        encoder = RowEncoder(self.observation_space, self.action_space)
        layers: list[torch.nn.Module] = []
        width = encoder.input_size
        for hidden in self.model_config["hiddens"]:
            layers += [torch.nn.Linear(width, hidden), torch.nn.Tanh()]
            width = hidden
        self.network = torch.nn.Sequential(*layers, torch.nn.Linear(width, 1))
        self.register_buffer("input_mean", torch.zeros(encoder.input_size))
        self.register_buffer("input_scale", torch.ones(encoder.input_size))

    def standardise_with(self, expert_inputs: np.ndarray) -> None:
        """Take mean and standard deviation of the inputs from the demonstrations ``[K, D + A]``.

        An input that never varies keeps scale 1, so that a policy row that differs in it stays
        finite.
        """
        scale = expert_inputs.std(axis=0)
        self.input_mean.copy_(torch.from_numpy(expert_inputs.mean(axis=0)))
        self.input_scale.copy_(torch.from_numpy(np.where(scale > 1e-6, scale, 1.0)))

    def standardise(self, inputs: torch.Tensor) -> torch.Tensor:
        """``[B, D + A]`` inputs to standardised ones."""
        return (inputs - self.input_mean) / self.input_scale

    def logits_of_standardised(self, inputs: torch.Tensor) -> torch.Tensor:
        """``[B, D + A]`` standardised inputs to ``[B]`` logits."""
        return self.network(inputs).squeeze(-1)

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
