"""The learner of `MultiAgentBC`: behaviour cloning alone, some steps at a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from ray.rllib.core import ALL_MODULES
from ray.rllib.utils.metrics import (
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_MODULE_STEPS_TRAINED,
    NUM_MODULE_STEPS_TRAINED_LIFETIME,
)

from rllib_amagail.learner.behaviour_cloning import LOSS, Clone, clone_behaviours, measure_fit
from rllib_amagail.learner.expert_rows import ExpertRows
from rllib_amagail.learner.expert_source import held_rows
from rllib_amagail.learner.learner_base import LearnerBase

_CLONING_STATE = "cloning_generators"


class CloningTorchLearner(LearnerBase):
    """Fits every policy to its expert rows; its config is a `MultiAgentBCConfig`.

    Each module has an optimizer and a random generator that go on from iteration to iteration and
    are in the checkpoint. Several learners take the same steps on the same rows, so that replicas
    stay equal without exchanging gradients.
    """

    def build(self) -> None:
        """Build modules and optimizers and load the demonstrations."""
        super().build()
        # The same on all learners.
        self._cloning_rngs = {
            module_id: np.random.default_rng(self.config.seed or 0) for module_id in self._agents
        }
        held_out = self.config.load_validation_demonstrations()
        self._validation_rows: Mapping[str, ExpertRows] = (
            {} if held_out is None else held_rows(self.config, self.module, held_out).rows
        )

    def clone_further(self) -> tuple[dict[str, float], dict[str, Any]]:
        """Take the ``bc_steps`` gradient steps of an iteration on every policy and measure it.

        A schedule of ``lr`` is read in gradient steps, once an iteration.

        Returns:
            Negative log likelihood per module, of held-out episodes if there are any; and reduced
            metrics per module, see `measure_fit`, those of held-out episodes with "validation_" in
            front.
        """
        self._check_is_built()
        config = self.config
        clones = {
            module_id: Clone(
                self.module[module_id].unwrapped(),
                self.get_optimizer(module_id),
                self._cloning_rngs[module_id],
                config.entropy_coeff,
            )
            for module_id in self._trained_modules()
        }
        clone_behaviours(
            clones, self._all_rows, steps=config.bc_steps, batch_size=config.bc_batch_size
        )
        losses = {}
        for module_id, clone in clones.items():
            module = clone.module
            fit = measure_fit(module, self._all_rows.rows[module_id])
            losses[module_id] = fit[LOSS]
            held_out = self._validation_rows.get(module_id)
            if held_out is not None:
                on_held_out = measure_fit(module, held_out)
                losses[module_id] = on_held_out[LOSS]
                fit |= {f"validation_{name}": value for name, value in on_held_out.items()}
            self.metrics.log_dict(fit, key=module_id, window=1)
            self._log_rows(module_id, config.bc_steps * config.bc_batch_size)
        self._updates += 1
        self._weights_seq_no += 1
        steps_taken = self._updates * config.bc_steps
        self.after_gradient_based_update(timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: steps_taken})
        return losses, self.metrics.reduce()

    def _log_rows(self, module_id: str, rows: int) -> None:
        for key in (module_id, ALL_MODULES):
            self.metrics.log_value((key, NUM_MODULE_STEPS_TRAINED), rows, reduce="sum")
            lifetime = (key, NUM_MODULE_STEPS_TRAINED_LIFETIME)
            self.metrics.log_value(lifetime, rows, reduce="lifetime_sum")

    # --- what RLlib asks for ---------------------------------------------------------------------

    @classmethod
    def rl_module_required_apis(cls) -> list[type]:
        """None: policies need no value function, so any RLModule will do."""
        return []

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """AdamW; without weight decay it is the Adam of AMAGAIL's start."""
        parameters = self.get_parameters(self._module[module_id])
        optimizer = torch.optim.AdamW(parameters, weight_decay=self.config.weight_decay, fused=True)
        self.register_optimizer(
            module_id=module_id,
            optimizer=optimizer,
            params=parameters,
            lr_or_lr_schedule=config.lr,
        )

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """As of `LearnerBase`, with the generators that draw rows."""
        state = super().get_state(components, not_components=not_components, **kwargs)
        if self._check_component(_CLONING_STATE, components, not_components):
            state[_CLONING_STATE] = {
                module_id: rng.bit_generator.state for module_id, rng in self._cloning_rngs.items()
            }
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state of `get_state`; see `LearnerBase`."""
        super().set_state(state)
        for module_id, generator in state.get(_CLONING_STATE, {}).items():
            self._cloning_rngs[module_id].bit_generator.state = generator
