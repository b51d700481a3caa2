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
from ray.rllib.core.models.base import ACTOR, CRITIC, ENCODER_OUT
from ray.rllib.core.models.torch.encoder import TorchMLPEncoder
from ray.rllib.core.models.torch.heads import TorchMLPHead

from rllib_amagail.learner.sequences import (
    SEQUENCE_STARTS,
    Sequences,
    nested_states,
    state_size,
)
from rllib_amagail.spaces import ObservationLayout

MAX_SEQ_LEN = 20  # RLlib's default of the model config
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
        if SEQUENCE_STARTS in batch:
            actor = self._encode_sequences(features, batch)[ACTOR]
            outputs = {Columns.ACTION_DIST_INPUTS: self.pi(actor)}
        elif self._policy_layers:
            outputs = {Columns.ACTION_DIST_INPUTS: _through(self._policy_layers, features)}
        else:
            outputs = super()._forward(batch | {Columns.OBS: features}, **kwargs)
        return self._mask_logits(outputs, mask)

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        if self._has_joint_critic:
            return self._forward(batch)
        features, mask = self._split(batch[Columns.OBS])
        if SEQUENCE_STARTS in batch:
            encoded = self._encode_sequences(features, batch)
            outputs = {
                Columns.ACTION_DIST_INPUTS: self.pi(encoded[ACTOR]),
                Columns.EMBEDDINGS: encoded[CRITIC],
            }
        else:
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
            elif SEQUENCE_STARTS in batch:
                embeddings = self._encode_sequences(features, batch)[CRITIC]
            batch = {**batch, Columns.OBS: features}
        return super().compute_values(batch, embeddings)

    def _encode_sequences(
        self, features: torch.Tensor, batch: dict[str, Any]
    ) -> dict[str, torch.Tensor]:
        """``[T, E]`` of actor and critic: a recurrent module goes through sequences of rows.

        Gradients flow through at most ``max_seq_len`` rows; states go on through all.

        Args:
            features: ``[T, D]``.
            batch: has the columns that `sequences` describes.
        """
        sequences, initial = Sequences(batch[SEQUENCE_STARTS]), self.get_initial_state()
        padded = sequences.padded(features)
        flat = padded.new_zeros((len(padded), state_size(initial)))
        if Columns.STATE_IN in batch:
            flat = batch[Columns.STATE_IN][sequences.first_rows]
        states = nested_states(initial, flat)
        encoded: dict[str, list[torch.Tensor]] = {ACTOR: [], CRITIC: []}
        for piece in padded.split(self.model_config.get("max_seq_len", MAX_SEQ_LEN), dim=1):
            found = self.encoder({Columns.OBS: piece, Columns.STATE_IN: states})
            states = tree.map_structure(torch.Tensor.detach, found[Columns.STATE_OUT])
            for name, parts in encoded.items():
                parts.append(found[ENCODER_OUT][name])
        return {name: sequences.rows(torch.cat(parts, dim=1)) for name, parts in encoded.items()}

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
        """Features ``[B, D]`` and mask ``[B, M]`` (None without one).

        What a recurrent policy is given to act has one more axis, time: ``[B, 1, ...]``.
        """
        if self.is_stateful() and not self._are_rows(observations):
            untimed = tree.map_structure(lambda part: part.squeeze(1), observations)
            features, mask = self._split_rows(untimed)
            return features[:, None], None if mask is None else mask[:, None]
        return self._split_rows(observations)

    def _split_rows(self, observations: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        size, mask_size = self._layout.feature_size, self._layout.mask_size
        if not self._are_rows(observations):
            arrays = tree.map_structure(lambda t: t.cpu().numpy(), observations)
            flat = torch.from_numpy(self._layout.flatten(arrays))
            observations = flat.to(next(self.parameters()).device)
        if mask_size == 0:
            return observations.float(), None
        return observations[:, :size], observations[:, size:] > 0.5

    def _are_rows(self, observations: Any) -> bool:
        """Whether these are flat rows ``[B, F]``, as learners have them."""
        width = self._layout.feature_size + self._layout.mask_size
        return isinstance(observations, torch.Tensor) and observations.shape[1:] == (width,)

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
