"""What the learner holds from one epoch to the next: agents, demonstrations, random stream."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from rllib_amagail.actor_errors import TellsErrors
from rllib_amagail.demonstrations import DemonstrationsError
from rllib_amagail.judge import JOINT
from rllib_amagail.learner.agent_state import AgentState
from rllib_amagail.learner.coefficients import follow_schedules, settings_kept
from rllib_amagail.learner.discriminator import discriminator_id
from rllib_amagail.learner.expert_rows import ExpertRows
from rllib_amagail.learner.expert_source import ExpertSource, expert_sources
from rllib_amagail.learner.finite import FiniteWatch, require_finite
from rllib_amagail.learner.joint_rows import JointStructure
from rllib_amagail.learner.ppo_generator import agree_on_minibatches
from rllib_amagail.learner.scarce_rows import deal_scarce_rows, gather_from_learners
from rllib_amagail.learner.shared_demonstrations import explain_missing_file
from rllib_amagail.learner.turns import TurnBatch

IMITATION_STATE = "imitation"
STATE_VERSION = 1  # of what is under it; checkpoints without a number are older


class LearnerBase(TellsErrors, PPOTorchLearner):
    """An `AgentState` per policy and an own random generator besides RLlib's modules.

    All of it is in the checkpoint. The stages of Algorithm 1 are in `AMAGAILTorchLearner`.
    """

    def build(self) -> None:
        """Build modules and optimizers, load the demonstrations, standardise D's inputs."""
        super().build()
        agents = sorted(mid for mid in self.module.keys() if self._is_agent(mid))  # noqa: SIM118
        modules = {mid: self.module[mid].unwrapped() for mid in agents}
        self._agents = {
            mid: AgentState(
                module, self.config.discriminator_inputs, self.config.shaping_discount(mid)
            )
            for mid, module in modules.items()
        }
        spaces = {mid: (m.observation_space, m.action_space) for mid, m in modules.items()}
        self._structure = JointStructure.from_config(self.config, spaces)
        self._joint_expert_rows: ExpertRows | None = None  # of this learner's share
        self._joint_expert_inputs: torch.Tensor  # [K, R] of them
        # Learners draw different rows of their different shares.
        entropy = None if self.config.seed is None else [self.config.seed, self._learner_index]
        self._rng = np.random.default_rng(entropy)
        self._updates = 0
        self._rounds_scheduled = 0  # what schedules were last set for
        self._expert_sources: tuple[ExpertSource, ...] = ()
        self._follow_schedules()
        if self.config.uses_demonstrations:
            self._take_demonstrations()

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """As of RLlib; remembers where in their schedules the coefficients are."""
        super().after_gradient_based_update(timesteps=timesteps)
        self._rounds_scheduled = timesteps.get(NUM_ENV_STEPS_SAMPLED_LIFETIME, 0)

    def _follow_schedules(self) -> None:
        """Learning rates and entropy coefficients as the config wants them at this round."""
        follow_schedules(
            self._optimizer_lr_schedules.items(),
            [self.entropy_coeff_schedulers_per_module[mid] for mid in self._agents],
            self._rounds_scheduled,
        )

    def _set_optimizer_state(self, state: dict[str, Any]) -> None:
        """As of RLlib, but learning rates and other settings are those of this config."""
        with settings_kept(self._named_optimizers.values()):
            super()._set_optimizer_state(state)

    # --- modules, several learners ---------------------------------------------------------------

    def _is_agent(self, module_id: str) -> bool:
        return module_id in self.config.policies

    def _trained_modules(self) -> list[str]:
        return [mid for mid in self._agents if self.should_module_be_updated(mid)]

    def _share_scarce_rows(self, turns: dict[str, TurnBatch]) -> dict[str, TurnBatch]:
        """Let every learner have rows of every module that somebody has rows of."""
        if not self.distributed:
            return turns
        return deal_scarce_rows(
            turns, self._trained_modules(), self._learner_index, gather_from_learners
        )

    def _agree_on_modules(self, turns: Mapping[str, TurnBatch]) -> list[tuple[str, int]]:
        """Modules to update and their minibatches per epoch, the same on every learner.

        A module that nobody has rows of is left out this time.
        """
        rows = [len(turns[mid]) if mid in turns else 0 for mid in self._trained_modules()]
        minibatches = agree_on_minibatches(rows, self.config.minibatch_size, self.distributed)
        return [
            (mid, n) for mid, n in zip(self._trained_modules(), minibatches, strict=True) if n > 0
        ]

    @contextmanager
    def _finite(self, module_id: str, turns: TurnBatch) -> Iterator[FiniteWatch]:
        """Watch a module's update; see `require_finite`."""
        judge = discriminator_id(module_id)
        with require_finite(module_id, self.distributed) as watch:
            watch.saw(
                {
                    "observations": turns.observations,
                    "log-probabilities": turns.action_logp,
                    "environment's rewards": turns.rewards,
                }
            )
            if judge in self.module:
                watch.saw({"weights of the discriminator": self.module[judge]})
            try:
                yield watch
            finally:
                watch.saw({"weights of the policy": self.module[module_id]})

    # --- demonstrations and state ----------------------------------------------------------------

    def _take_demonstrations(self) -> None:
        """Line 3: all rows, which every learner clones alike, and this learner's own share."""
        shares = (self._learner_index, self.config.num_learners) if self.distributed else (0, 1)
        try:
            self._expert_sources = expert_sources(self.config, self.module, *shares)
        except DemonstrationsError as error:
            raise explain_missing_file(self.config.demonstrations, error) from error
        if self.config.reward_source == "discriminator":
            for judge, rows_id in self._judges().items():
                discriminator = self.module[judge].unwrapped()
                discriminator.standardise_with(self._all_rows.rows[rows_id].inputs)

    def _judges(self) -> dict[str, str]:
        """Discriminator to where its expert rows are."""
        if self._structure is not None:
            return {JOINT: JOINT}
        return {
            discriminator_id(module_id): module_id for module_id in self.config.taught_modules()
        }

    def _own_rows_drawn(self) -> None:
        """Count what the discriminators have drawn in an epoch."""
        if self.config.reward_source == "discriminator":
            self._own_rows.drawn(
                self.config.discriminator_steps * self.config.discriminator_batch_size
            )

    @property
    def _all_rows(self) -> ExpertSource:
        """Of all episodes."""
        return self._expert_sources[0]

    @property
    def _own_rows(self) -> ExpertSource:
        """Of this learner's share of the episodes."""
        return self._expert_sources[-1]

    def _look_at_demonstrations(self) -> None:
        """Give every agent the expert rows that are to be drawn from now."""
        if self.config.reward_source != "discriminator" and not self.config.bc_loss_coeff:
            return
        for module_id in self.config.taught_modules():
            agent, rows = self._agents[module_id], self._own_rows.rows[module_id]
            if agent.expert_rows is not rows:
                agent.expert_rows = rows
                agent.expert_inputs = torch.from_numpy(rows.inputs).to(self._device)
        if self._structure is not None:
            joint = self._own_rows.rows[JOINT]
            if self._joint_expert_rows is not joint:
                self._joint_expert_rows = joint
                self._joint_expert_inputs = torch.from_numpy(joint.inputs).to(self._device)

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """RLlib's state, and under "imitation" everything else that training depends on."""
        state = super().get_state(components, not_components=not_components, **kwargs)
        if self._check_component(IMITATION_STATE, components, not_components):
            state[IMITATION_STATE] = {
                "version": STATE_VERSION,
                "updates": self._updates,
                "rounds_scheduled": self._rounds_scheduled,
                "generator": self._rng.bit_generator.state,
                "kl_coeffs": {m: float(c) for m, c in self.curr_kl_coeffs_per_module.items()},
                "agents": {mid: agent.get_state() for mid, agent in self._agents.items()},
                "demonstrations": [source.get_state() for source in self._expert_sources],
            }
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state of `get_state`; parts that are missing stay as they are.

        Learning rates and coefficients are the present config's, at the state's place in their
        schedules.

        Raises:
            ValueError: the state is of other agents or spaces, or of a newer release.
        """
        imitation = state.get(IMITATION_STATE)
        if imitation is not None:
            version = imitation.get("version", 0)
            if version > STATE_VERSION:
                raise ValueError(
                    f"the checkpoint's learner state has version {version}, expected at most "
                    f"{STATE_VERSION}: a newer release of rllib_amagail saved it. Update this one"
                )
            found = {mid: agent["spaces"] for mid, agent in imitation["agents"].items()}
            expected = {mid: agent.spaces for mid, agent in self._agents.items()}
            if found != expected:
                raise ValueError(
                    f"this is the checkpoint of another game: found modules {found}, expected "
                    f"{expected}. Restore it into an algorithm with the environment and policies "
                    "it was saved with."
                )
        super().set_state(state)
        if imitation is None:
            return
        self._updates = imitation["updates"]
        self._rng.bit_generator.state = imitation["generator"]
        if self._learner_index:  # the state is the first learner's
            entropy = [self._learner_index, int(self._rng.integers(2**62))]
            self._rng = np.random.default_rng(entropy)
        self._rounds_scheduled = imitation.get("rounds_scheduled", 0)
        self._follow_schedules()
        for module_id, coeff in imitation["kl_coeffs"].items():
            self.curr_kl_coeffs_per_module[module_id].data.fill_(coeff)
        for module_id, agent in imitation["agents"].items():
            self._agents[module_id].set_state(agent)
        for source, position in zip(
            self._expert_sources, imitation.get("demonstrations", ()), strict=False
        ):
            source.set_state(position)
