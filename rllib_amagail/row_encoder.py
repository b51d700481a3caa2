"""What a discriminator sees of a turn: (s, a), s alone, or s and the agent's next s'."""

from __future__ import annotations

from typing import Literal, get_args

import gymnasium as gym
import numpy as np

from rllib_amagail.spaces import ActionLayout, ObservationLayout

DiscriminatorInputs = Literal["state_action", "state", "state_pair"]
DISCRIMINATOR_INPUTS: tuple[str, ...] = get_args(DiscriminatorInputs)
SHAPING_COLUMNS = 2  # discount and log pi(a|s), the last of a row with a shaping term


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
        shaping_discount: gamma of a shaping term (`Judge`), or None without one.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        judged: DiscriminatorInputs = "state_action",
        shaping_discount: float | None = None,
    ) -> None:
        self.judged = judged
        self.shaping_discount = shaping_discount
        self.feature_size = ObservationLayout.from_space(observation_space).feature_size
        self._actions = ActionLayout.from_space(action_space)
        widths = {
            "state_action": self._actions.feature_size,
            "state": 0,
            "state_pair": self.feature_size,
        }
        self.input_size = self.feature_size + widths[judged]
        self.row_size = self.input_size
        if shaping_discount is not None:
            self.row_size += self.feature_size + SHAPING_COLUMNS

    @property
    def joins_turns(self) -> bool:
        """Whether a row needs what the agent saw next."""
        return self.judged == "state_pair" or self.shaping_discount is not None

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
            inputs[:, self.feature_size :] = self._actions.features(actions)
        elif self.judged == "state_pair":
            assert next_observations is not None
            inputs[:, self.feature_size :] = next_observations[:, : self.feature_size] - features
        return inputs

    def append_shaping(
        self,
        inputs: np.ndarray,
        next_observations: np.ndarray,
        elapsed_rounds: np.ndarray,
        terminated: np.ndarray,
        action_logp: np.ndarray,
    ) -> np.ndarray:
        """Rows ``[B, R]`` that `Judge` needs for a shaping term.

        They are the inputs, the next observation's features, the discount of its potential and
        the logarithm of the probability of the action.

        Args:
            inputs: ``[B, W]`` of `encode`.
            next_observations: ``[B, F]`` at the agent's next turn, or its final observation.
            elapsed_rounds: ``[B]`` rounds until then.
            terminated: ``[B]`` bool: the agent has ended, so the next potential is 0.
            action_logp: ``[B]`` log pi(a|s).
        """
        assert self.shaping_discount is not None
        discounts = np.where(terminated, 0.0, np.power(self.shaping_discount, elapsed_rounds))
        columns = [discounts[:, None], np.reshape(action_logp, (-1, 1))]
        rows = [inputs, next_observations[:, : self.feature_size], *columns]
        return np.concatenate(rows, axis=1, dtype=np.float32)

    def action_columns(self, actions: np.ndarray) -> np.ndarray:
        """``[B, A]`` float32: the part of "state_action" inputs that follows the features."""
        return self._actions.features(actions)
