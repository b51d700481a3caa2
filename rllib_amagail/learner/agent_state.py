"""What a learner keeps for one policy module besides RLlib's networks and optimizers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.utils.numpy import convert_to_numpy
from ray.rllib.utils.torch_utils import convert_to_torch_tensor

from rllib_amagail.learner.behaviour_cloning import cloning_loss, frozen_copy
from rllib_amagail.learner.expert_rows import ExpertRows
from rllib_amagail.learner.judged_rows import with_log_probabilities
from rllib_amagail.row_encoder import DiscriminatorInputs, RowEncoder
from rllib_amagail.running_moments import RunningMoments


class AgentState:
    """Expert rows, running scales and the anchor policy of one module.

    The expert rows come from the demonstrations; everything else is in `get_state`.

    Args:
        module: the policy module, not wrapped for several learners.
        judged: what the discriminator sees of a turn.
        shaping_discount: gamma of its shaping term; None without one.
    """

    def __init__(
        self,
        module: RLModule,
        judged: DiscriminatorInputs,
        shaping_discount: float | None = None,
    ) -> None:
        self._module = module
        self.spaces = f"{module.observation_space} -> {module.action_space}"
        self.encoder = RowEncoder(
            module.observation_space, module.action_space, judged, shaping_discount
        )
        self.reward_moments = RunningMoments()
        self.value_moments = RunningMoments()
        self.anchor: RLModule | None = None  # pi_BC
        self.expert_rows: ExpertRows | None = None  # of this learner's share
        self.expert_inputs: torch.Tensor  # [K', R] of `expert_rows`, to judge

    def drop_anchor(self) -> None:
        """Keep the policy as it is now as the anchor."""
        self.anchor = frozen_copy(self._module)

    def rows_to_judge(self) -> torch.Tensor:
        """``[K', R]`` this learner's expert rows, with what depends on the policy as it is now."""
        if self.encoder.shaping_discount is None:
            return self.expert_inputs
        assert self.expert_rows is not None
        return with_log_probabilities(self.expert_inputs, self._module, self.expert_rows)

    def cloning_loss(self, batch_size: int, rng: np.random.Generator) -> torch.Tensor:
        """Cross-entropy of random expert rows under the policy as it is now, in nats."""
        assert self.expert_rows is not None
        return cloning_loss(self._module, self.expert_rows, batch_size=batch_size, rng=rng)

    def get_state(self) -> dict[str, Any]:
        """What training depends on, for `set_state`."""
        return {
            "spaces": self.spaces,
            "reward_moments": self.reward_moments.get_state(),
            "value_moments": self.value_moments.get_state(),
            "anchor": None if self.anchor is None else convert_to_numpy(self.anchor.state_dict()),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state of `get_state`."""
        self.reward_moments.set_state(state["reward_moments"])
        self.value_moments.set_state(state["value_moments"])
        if state["anchor"] is None:
            self.anchor = None
            return
        device = next(self._module.parameters()).device
        anchor = frozen_copy(self._module)
        anchor.load_state_dict(convert_to_torch_tensor(state["anchor"], device=device))
        self.anchor = anchor
