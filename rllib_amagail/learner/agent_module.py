"""The policy pi_{theta_i} and its value baseline V_{nu_i} as an RLModule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import gymnasium as gym
import numpy as np
import torch
import tree
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.models.base import ENCODER_OUT
from ray.rllib.core.models.torch.encoder import TorchMLPEncoder
from ray.rllib.core.models.torch.heads import TorchMLPHead

from rllib_amagail.spaces import ObservationLayout

OTHERS = "others"  # column: what a joint critic sees of the other agents
OTHERS_SIZE = "others_size"  # key of the model config: J, its width; 0 for no joint critic


class AgentModule(DefaultPPOTorchRLModule):
    """RLlib's actor-critic on flat observations, with action masks.

    It takes what the environment gives (Box, Discrete, Dict with an ``action_mask``, ...) as well
    as flat rows ``[B, F]``. Logits of masked actions are the smallest finite number.

    With ``others_size`` J in the model config the critic is a network of its own on the features
    and J columns `OTHERS`. Acting never needs them.
    """

    def __init__(
        self,
        *,
        observation_space: gym.Space,
        action_space: gym.Space,
        **kwargs: Any,
    ) -> None:
        self._layout = ObservationLayout.from_space(observation_space)
        features = gym.spaces.Box(-np.inf, np.inf, (self._layout.feature_size,), np.float32)
        super().__init__(observation_space=features, action_space=action_space, **kwargs)
        # Networks are built for the features; to everybody else the space is the environment's.
        self.observation_space = observation_space

    def setup(self) -> None:
        """Build RLlib's networks."""
        others_size = self.model_config.get(OTHERS_SIZE, 0)
        self._has_joint_critic = others_size > 0
        encoders = self.catalog.actor_critic_encoder_config
        if self._has_joint_critic:
            encoders.inference_only = True  # no critic on the own features
        super().setup()
        if self._has_joint_critic and not self.inference_only:
            seen = self._layout.feature_size + others_size
            wider = replace(encoders.base_encoder_config, input_dims=[seen])
            self.joint_encoder = wider.build(framework="torch")
        self._policy_layers = self._layers_of_policy()

    def train(self, mode: bool = True) -> Self:
        """As of PyTorch; RLlib calls it before every forward, and usually nothing changes."""
        return self if self.training == mode else super().train(mode)

    def policy_network(self) -> torch.nn.ModuleList:
        """The layers of pi alone; of a module with ``vf_share_layers=False``."""
        return torch.nn.ModuleList([self.encoder.actor_encoder, self.pi])

    def value_network(self) -> torch.nn.ModuleList:
        """The layers of V alone; of a module with ``vf_share_layers=False``."""
        encoder = self.joint_encoder if self._has_joint_critic else self.encoder.critic_encoder
        return torch.nn.ModuleList([encoder, self.vf])

    def get_non_inference_attributes(self) -> list[str]:
        """What env runners do without."""
        return [*super().get_non_inference_attributes(), "joint_encoder"]

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        features, mask = self._split(batch[Columns.OBS])
        if self._policy_layers:
            outputs = {Columns.ACTION_DIST_INPUTS: _through(self._policy_layers, features)}
        else:
            outputs = super()._forward(batch | {Columns.OBS: features}, **kwargs)
        return self._mask_logits(outputs, mask)

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        if self._has_joint_critic:
            return self._forward(batch)
        features, mask = self._split(batch[Columns.OBS])
        outputs = super()._forward_train(batch | {Columns.OBS: features}, **kwargs)
        return self._mask_logits(outputs, mask)

    def compute_values(
        self, batch: dict[str, Any], embeddings: torch.Tensor | None = None
    ) -> torch.Tensor:
        """``[B]`` V_nu(s); a joint critic needs the column `OTHERS` ``[B, J]``."""
        if embeddings is None:
            features, _ = self._split(batch[Columns.OBS])
            if self._has_joint_critic:
                seen = {Columns.OBS: torch.cat([features, batch[OTHERS]], dim=1)}
                embeddings = self.joint_encoder(seen)[ENCODER_OUT]
            batch = {**batch, Columns.OBS: features}
        return super().compute_values(batch, embeddings)

    def _layers_of_policy(self) -> list[torch.nn.Module]:
        """The layers from features to action distribution, if they are a plain chain; else none.

        To call them directly takes half the time of RLlib's models, which pass dicts from one to
        the next: what they do besides costs as much as the layers of a small network.
        """
        encoder = getattr(self.encoder, "actor_encoder", None)
        if not isinstance(encoder, TorchMLPEncoder) or type(self.pi) is not TorchMLPHead:
            return []
        if self.pi.clip_log_std:
            return []
        return [*encoder.net.mlp, *self.pi.net.mlp]  # a list: they are registered already

    def _split(self, observations: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Features ``[B, D]`` and mask ``[B, M]`` (None without one)."""
        size, mask_size = self._layout.feature_size, self._layout.mask_size
        if not (
            isinstance(observations, torch.Tensor)
            and observations.ndim == 2
            and observations.shape[1] == size + mask_size
        ):
            arrays = tree.map_structure(lambda t: t.cpu().numpy(), observations)
            flat = torch.from_numpy(self._layout.flatten(arrays))
            observations = flat.to(next(self.parameters()).device)
        if mask_size == 0:
            return observations.float(), None
        return observations[:, :size], observations[:, size:] > 0.5

    @staticmethod
    def _mask_logits(outputs: dict[str, Any], mask: torch.Tensor | None) -> dict[str, Any]:
        if mask is not None:
            logits = outputs[Columns.ACTION_DIST_INPUTS]
            smallest = torch.finfo(logits.dtype).min
            outputs[Columns.ACTION_DIST_INPUTS] = torch.where(mask, logits, smallest)
        return outputs


def _through(layers: list[torch.nn.Module], features: torch.Tensor) -> torch.Tensor:
    for layer in layers:
        features = layer(features)
    return features
