"""What a discriminator sees of a turn: (s, a), s alone, or s and the agent's next s'."""

from __future__ import annotations

from typing import Literal, get_args

import gymnasium as gym
import numpy as np

from rllib_amagail.spaces import ActionLayout, ObservationLayout

DiscriminatorInputs = Literal["state_action", "state", "state_pair"]
DISCRIMINATOR_INPUTS: tuple[str, ...] = get_args(DiscriminatorInputs)


class RowEncoder:
    """Turns rows into discriminator inputs ``[B, W]``.

    Features of the observation come first. Then, for "state_action", the action: one-hot per
    choice, or clipped to its bounds for a Box, because that is what the environment executes. Or,
    for "state_pair", what changed: the next observation's features minus the present ones. A
    change is small beside the features; as an input of its own it is standardised to weigh as much.

    Args:
        observation_space: the policy module's; its action mask is no input.
        action_space: the policy module's; phi, where it is an action, is its last choice.
        judged: which of a turn's parts are inputs.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        judged: DiscriminatorInputs = "state_action",
    ) -> None:
        self.judged = judged
        self.feature_size = ObservationLayout.from_space(observation_space).feature_size
        self._actions = ActionLayout.from_space(action_space)
        widths = {
            "state_action": sum(self._actions.sizes) or self._actions.low.size,
            "state": 0,
            "state_pair": self.feature_size,
        }
        self.input_size = self.feature_size + widths[judged]

    @property
    def last_choice(self) -> int:
        """The last action of a Discrete space: phi, where it is an action."""
        return int(self._actions.high[0])

    def encode(
        self,
        observations: np.ndarray,
        actions: np.ndarray | None = None,
        next_observations: np.ndarray | None = None,
    ) -> np.ndarray:
        """Rows of turns to ``[B, W]`` float32.

        Args:
            observations: ``[B, F]`` flat, features and then the action mask.
            actions: ``[B, ...]``; read for "state_action" only.
            next_observations: ``[B, F]``; read for "state_pair" only.
        """
        inputs = np.zeros((len(observations), self.input_size), np.float32)
        features = observations[:, : self.feature_size]
        inputs[:, : self.feature_size] = features
        if self.judged == "state_action":
            assert actions is not None
            self._write_actions(actions, inputs)
        elif self.judged == "state_pair":
            assert next_observations is not None
            inputs[:, self.feature_size :] = next_observations[:, : self.feature_size] - features
        return inputs

    def _write_actions(self, actions: np.ndarray, inputs: np.ndarray) -> None:
        rows = actions.reshape(len(inputs), -1)
        if self._actions.sizes:
            starts = np.cumsum([0, *self._actions.sizes[:-1]])
            hot = rows - self._actions.low + starts + self.feature_size
            np.put_along_axis(inputs, hot.astype(np.int64), 1.0, axis=1)
        else:
            bounded = np.clip(rows, self._actions.low, self._actions.high)
            inputs[:, self.feature_size :] = bounded
