"""A value function that sees more than the policy."""

from __future__ import annotations

import torch

from rllib_amagail.learner.agent_module import AgentModule

PRIVILEGED_FEATURES = "privileged_features"


class PrivilegedCriticModule(AgentModule):
    """`AgentModule` whose policy does not see the last features of an observation.

    How many is ``model_config["privileged_features"]``. The policy's weights on them are 0 and
    stay so, because their gradients are 0.
    """

    def setup(self) -> None:
        """Build the networks and blind the policy."""
        super().setup()
        hidden = int(self.model_config[PRIVILEGED_FEATURES])
        weight = next(self.encoder.actor_encoder.parameters())
        with torch.no_grad():
            weight[:, -hidden:] = 0.0
        seen = torch.ones_like(weight)
        seen[:, -hidden:] = 0.0
        weight.register_hook(lambda gradient: gradient * seen)
