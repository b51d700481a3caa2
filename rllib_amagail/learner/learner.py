"""The learner: lines 3 to 13 of Algorithm 1, one call per stage."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_amagail.learner.agent_state import AgentState
from rllib_amagail.learner.behaviour_cloning import (
    clone_behaviour,
    divergences,
    policy_parameters,
)
from rllib_amagail.learner.discriminator import discriminator_id
from rllib_amagail.learner.discriminator_update import update_discriminator
from rllib_amagail.learner.expert_rows import load_expert_rows
from rllib_amagail.learner.generator_update import (
    agree_on_minibatches,
    ppo_columns,
    update_generator,
)
from rllib_amagail.learner.relabelling import discriminator_rewards
from rllib_amagail.learner.sharding import episodes_of
from rllib_amagail.learner.step_metrics import log_steps
from rllib_amagail.learner.turns import TurnBatch

IMITATION_STATE = "imitation"
_ANCHOR_LOGITS = "anchor_dist_inputs"


class AMAGAILTorchLearner(PPOTorchLearner):
    """PPO's learner with a discriminator per agent module, and its rewards in place of the game's.

    Its config is an `AMAGAILConfig`. Besides RLlib's modules it holds an `AgentState` per policy
    and its own random generator.
    """

    def build(self) -> None:
        """Build modules and optimizers, load the demonstrations, standardise D's inputs."""
        super().build()
        agents = sorted(mid for mid in self.module.keys() if self._is_agent(mid))  # noqa: SIM118
        self._agents = {mid: AgentState(self.module[mid].unwrapped()) for mid in agents}
        # Learners draw different rows of their different shares.
        entropy = None if self.config.seed is None else [self.config.seed, self._learner_index]
        self._rng = np.random.default_rng(entropy)
        self._updates = 0
        if self.config.uses_demonstrations:
            self._take_demonstrations()

    # --- Algorithm 1 ---------------------------------------------------------------------------

    def update(
        self,
        *,
        training_data: TrainingData | None = None,
        episodes: list[Any] | None = None,
        timesteps: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """One epoch u of Algorithm 1 on the rollouts of line 2.

        Args:
            training_data: holds the episodes, as a LearnerGroup passes them.
            episodes: the same, for direct calls.
            timesteps: RLlib's lifetime counters, for schedules.
            **kwargs: ignored; epochs and minibatches come from the config.

        Returns:
            Reduced metrics per module.
        """
        self._check_is_built()
        self.before_gradient_based_update(timesteps=timesteps or {})
        episodes = episodes_of(training_data, episodes)
        turns = self._collect_turns(episodes)  # lines 2, 5 and 10
        for module_id, minibatches in self._agree_on_modules(turns):
            module_turns = turns[module_id]
            inputs = self._encode(module_id, module_turns)
            self._update_discriminator(module_id, inputs)  # lines 3 and 6
            rewards = self._relabel(module_id, module_turns, inputs)  # equation 14
            batch = self._estimate_advantages(module_id, module_turns, rewards)  # line 9
            self._update_generator(module_id, batch, minibatches)  # lines 11 and 12
        log_steps(self.metrics, turns, episodes)
        self._updates += 1
        self._weights_seq_no += 1
        self.after_gradient_based_update(timesteps=timesteps or {})
        return self.metrics.reduce()

    def clone_behaviour(self) -> dict[str, float]:
        """Start the policies from behaviour cloning and keep copies of them as anchors.

        Every learner takes the same steps on all demonstrations, so that replicas stay equal.

        Returns:
            Mean negative log likelihood at the end, per module; none of those cloned before.
        """
        losses = {}
        for module_id in self._trained_modules():
            if self._agents[module_id].anchor is not None:
                continue
            module = self.module[module_id].unwrapped()
            losses[module_id] = clone_behaviour(
                module,
                self._agents[module_id].expert_rows,
                steps=self.config.bc_steps,
                lr=self.config.bc_lr,
                batch_size=self.config.bc_batch_size,
                rng=np.random.default_rng(self.config.seed or 0),  # the same on all learners
            )
            self._agents[module_id].drop_anchor()
        self._weights_seq_no += 1
        return losses

    # --- stages --------------------------------------------------------------------------------

    def _collect_turns(self, episodes: list[Any]) -> dict[str, TurnBatch]:
        """X per module, through RLlib's learner connector pipeline."""
        return self._learner_connector(
            rl_module=self.module, batch={}, episodes=episodes, shared_data={}, metrics=self.metrics
        )

    def _encode(self, module_id: str, turns: TurnBatch) -> torch.Tensor:
        """``[T, D + A]`` discriminator inputs; with phi "executed", of what the game did."""
        actions = turns.actions
        if self.config.phi == "executed" and not turns.participates.all():
            phi_action = self.module[module_id].action_space.n - 1
            actions = np.where(turns.participates, actions, phi_action)
        inputs = self._agents[module_id].encoder.encode(turns.observations, actions)
        return torch.from_numpy(inputs).to(self._device)

    def _update_discriminator(self, module_id: str, inputs: torch.Tensor) -> None:
        if self.config.reward_source != "discriminator":
            return
        name = discriminator_id(module_id)
        diagnostics = update_discriminator(
            self.module[name],
            self.get_optimizer(name),
            self._agents[module_id].expert_inputs,
            inputs,
            steps=self.config.discriminator_steps,
            batch_size=self.config.discriminator_batch_size,
            penalty_coeff=self.config.gradient_penalty,
            rng=self._rng,
        )
        self.metrics.log_dict(diagnostics, key=module_id, window=1)

    def _relabel(self, module_id: str, turns: TurnBatch, inputs: torch.Tensor) -> np.ndarray:
        """``[T]`` rewards to learn from; the environment's stay visible in the results."""
        if self.config.reward_source == "zero":
            return np.zeros_like(turns.rewards)
        rewards = turns.rewards
        if self.config.reward_source == "discriminator":
            discriminator = self.module[discriminator_id(module_id)]
            rewards = discriminator_rewards(discriminator, inputs, self.config.reward_form)
        self.metrics.log_dict(
            {
                "reward_mean": float(rewards.mean()),
                "reward_std": float(rewards.std()),
                "env_reward_mean": float(turns.rewards.mean()),
                "phi_share": turns.phi_share,
            },
            key=module_id,
            window=1,
        )
        if not self.config.normalise_rewards:
            return rewards
        # Not recentred: that would change what the sign of a reward says about ending an episode.
        moments = self._agents[module_id].reward_moments
        moments.update(rewards)
        return rewards / moments.deviation

    def _estimate_advantages(
        self, module_id: str, turns: TurnBatch, rewards: np.ndarray
    ) -> dict[str, torch.Tensor]:
        """The columns that PPO's loss reads, ``[T, ...]``."""
        config = self.config.get_config_for_module(module_id)
        module = self.module[module_id].unwrapped()
        return ppo_columns(
            turns,
            rewards,
            module,
            self._agents[module_id].value_moments,
            gamma=config.gamma,
            lambda_=config.lambda_,
        )

    def _update_generator(
        self, module_id: str, batch: dict[str, torch.Tensor], minibatches: int
    ) -> None:
        config = self.config.get_config_for_module(module_id)
        module = self.module[module_id]
        anchor = self._agents[module_id].anchor
        if anchor is not None and self.config.bc_anchor > 0:
            batch[_ANCHOR_LOGITS] = policy_parameters(anchor, batch)

        def loss_of(minibatch: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.compute_loss_for_module(
                module_id=module_id,
                config=config,
                batch=minibatch,
                fwd_out=module.forward_train(minibatch),
            )

        loss = update_generator(
            loss_of,
            self.get_optimizer(module_id),
            batch,
            epochs=config.num_epochs,
            minibatches=minibatches,
            grad_clip=config.grad_clip,
            rng=self._rng,
        )
        self.metrics.log_value((module_id, self.TOTAL_LOSS_KEY), loss, window=1)
        moved = divergences(module.unwrapped(), batch, batch.get(_ANCHOR_LOGITS))
        self.metrics.log_dict(moved, key=module_id, window=1)

    def compute_loss_for_module(
        self,
        *,
        module_id: str,
        config: Any,
        batch: dict[str, Any],
        fwd_out: dict[str, torch.Tensor],
    ) -> torch.Tensor:
        """PPO's loss, plus ``bc_anchor * KL(pi_theta || pi_BC)`` where there is an anchor.

        During the first ``value_only_iterations`` only the baseline learns (line 11): a policy
        that starts well must not follow the advantages of an untrained one.
        """
        distribution = self.module[module_id].get_train_action_dist_cls()
        policy = distribution.from_logits(fwd_out[Columns.ACTION_DIST_INPUTS])
        if self._updates < config.value_only_iterations:
            values = (
                self.module[module_id]
                .unwrapped()
                .compute_values(batch, embeddings=fwd_out.get(Columns.EMBEDDINGS))
            )
            value_loss = (values - batch[Postprocessing.VALUE_TARGETS]).square().mean()
            # Times zero, not left out: every parameter must get a gradient on every learner.
            return (
                config.vf_loss_coeff * value_loss + 0.0 * policy.logp(batch[Columns.ACTIONS]).mean()
            )
        loss = super().compute_loss_for_module(
            module_id=module_id, config=config, batch=batch, fwd_out=fwd_out
        )
        if _ANCHOR_LOGITS in batch:
            anchor = distribution.from_logits(batch[_ANCHOR_LOGITS])
            loss = loss + config.bc_anchor * policy.kl(anchor).mean()
        return loss

    # --- optimizers, several learners, metrics ---------------------------------------------------

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """Adam for policies and baselines, AdamW with settings of its own for D_w.

        Fused: on small networks the step itself would otherwise cost as much as a forward.
        """
        parameters = self.get_parameters(self._module[module_id])
        if self._is_agent(module_id):
            optimizer, lr = torch.optim.Adam(parameters, fused=True), config.lr
        else:
            optimizer = torch.optim.AdamW(parameters, betas=(0.5, 0.9), fused=True)
            lr = self.config.discriminator_lr
        self.register_optimizer(
            module_id=module_id, optimizer=optimizer, params=parameters, lr_or_lr_schedule=lr
        )

    def _is_agent(self, module_id: str) -> bool:
        return module_id in self.config.policies

    def _trained_modules(self) -> list[str]:
        return [mid for mid in self._agents if self.should_module_be_updated(mid)]

    def _agree_on_modules(self, turns: Mapping[str, TurnBatch]) -> list[tuple[str, int]]:
        """Modules to update and their minibatches per epoch, the same on every learner.

        A module that some learner has no row of is left out this time: a gradient step without it
        would wait for ever.
        """
        rows = [len(turns[mid]) if mid in turns else 0 for mid in self._trained_modules()]
        minibatches = agree_on_minibatches(rows, self.config.minibatch_size, self.distributed)
        return [
            (mid, n) for mid, n in zip(self._trained_modules(), minibatches, strict=True) if n > 0
        ]

    # --- demonstrations and state ----------------------------------------------------------------

    def _take_demonstrations(self) -> None:
        shares = (self._learner_index, self.config.num_learners) if self.distributed else (0, 1)
        everything, share = load_expert_rows(self.config, self.module, *shares)
        for module_id, agent in self._agents.items():
            agent.expert_rows = everything[module_id]
            if self.config.reward_source == "discriminator":
                discriminator = self.module[discriminator_id(module_id)].unwrapped()
                discriminator.standardise_with(everything[module_id].inputs)
                inputs = share[module_id].inputs
                agent.expert_inputs = torch.from_numpy(inputs).to(self._device)

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
                "updates": self._updates,
                "generator": self._rng.bit_generator.state,
                "kl_coeffs": {m: float(c) for m, c in self.curr_kl_coeffs_per_module.items()},
                "agents": {mid: agent.get_state() for mid, agent in self._agents.items()},
            }
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state of `get_state`; parts that are missing stay as they are.

        Raises:
            ValueError: the state is of other agents or spaces.
        """
        imitation = state.get(IMITATION_STATE)
        if imitation is not None:
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
        for module_id, coeff in imitation["kl_coeffs"].items():
            self.curr_kl_coeffs_per_module[module_id].data.fill_(coeff)
        for module_id, agent in imitation["agents"].items():
            self._agents[module_id].set_state(agent)
