"""The learner: lines 3 to 13 of Algorithm 1, one call per stage."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_amagail.learner.advantage_columns import advantage_columns
from rllib_amagail.learner.agent_module import MAX_SEQ_LEN
from rllib_amagail.learner.behaviour_cloning import (
    Clone,
    clone_behaviours,
    divergences,
    policy_parameters,
)
from rllib_amagail.learner.judging_learner import JudgingLearner
from rllib_amagail.learner.kfac_steps import average_over_learners
from rllib_amagail.learner.mack_generator import (
    POLICY,
    VALUE,
    policy_gradient_loss,
    update_by_mack,
)
from rllib_amagail.learner.optimizers import DEFAULT, agent_optimizers, discriminator_optimizer
from rllib_amagail.learner.ppo_generator import ppo_loss, update_by_ppo
from rllib_amagail.learner.sequences import in_pieces
from rllib_amagail.learner.sharding import episodes_of
from rllib_amagail.learner.step_metrics import log_steps
from rllib_amagail.learner.turns import TurnBatch

_ANCHOR_LOGITS = "anchor_dist_inputs"
_WATCHED = {"value targets": Postprocessing.VALUE_TARGETS, "advantages": Postprocessing.ADVANTAGES}


class AMAGAILTorchLearner(JudgingLearner):
    """PPO's learner with discriminators, and their rewards in place of the game's.

    Its config is an `AMAGAILConfig`.
    """

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
        self._look_at_demonstrations()  # line 3
        turns = self._collect_turns(episodes)  # lines 2, 5 and 10
        judged = self._judge_jointly(turns)  # line 6, if one discriminator sees all agents
        shared = self._share_scarce_rows(judged)
        for module_id, minibatches in self._agree_on_modules(shared):
            module_turns = shared[module_id]
            with self._finite(module_id, module_turns) as watch:
                inputs = self._encode(module_id, module_turns)
                self._update_discriminator(module_id, module_turns, inputs)  # line 6
                rewards = self._relabel(module_id, module_turns, inputs)  # equation 14
                watch.saw({"rewards": rewards})
                batch = self._estimate_advantages(module_id, module_turns, rewards)  # line 9
                watch.saw({name: batch[key] for name, key in _WATCHED.items()})
                watch.saw({"loss": self._update_generator(module_id, batch, minibatches)})
        self._own_rows_drawn()
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
        taught = self.config.taught_modules()
        clones = {
            module_id: Clone(
                module,
                torch.optim.Adam(module.parameters(), lr=self.config.bc_lr, fused=True),
                np.random.default_rng(self.config.seed or 0),  # the same on all learners
            )
            for module_id in self._trained_modules()
            if module_id in taught and self._agents[module_id].anchor is None
            for module in [self.module[module_id].unwrapped()]
        }
        if not clones:
            return {}
        losses = clone_behaviours(
            clones,
            self._all_rows,
            steps=self.config.bc_steps,
            batch_size=self.config.bc_batch_size,
        )
        for module_id in clones:
            self._agents[module_id].drop_anchor()
        self._weights_seq_no += 1
        return losses

    # --- stages --------------------------------------------------------------------------------

    def _collect_turns(self, episodes: list[Any]) -> dict[str, TurnBatch]:
        """X per module, through RLlib's learner connector pipeline."""
        return self._learner_connector(
            rl_module=self.module, batch={}, episodes=episodes, shared_data={}, metrics=self.metrics
        )

    def _estimate_advantages(
        self, module_id: str, turns: TurnBatch, rewards: np.ndarray
    ) -> dict[str, torch.Tensor]:
        """The columns that the generator's loss reads, ``[T, ...]``."""
        config = self.config.get_config_for_module(module_id)
        module = self.module[module_id].unwrapped()
        return advantage_columns(
            turns,
            rewards,
            module,
            self._agents[module_id].value_moments,
            gamma=config.gamma,
            lambda_=config.lambda_,
        )

    def _update_generator(
        self, module_id: str, batch: dict[str, torch.Tensor], minibatches: int
    ) -> torch.Tensor:
        """Improve the policy and the baseline; the last loss."""
        module = self.module[module_id].unwrapped()
        anchor = self._agents[module_id].anchor
        if anchor is not None and self.config.bc_anchor > 0:
            batch[_ANCHOR_LOGITS] = policy_parameters(anchor, batch)
        if self.config.generator == "mack":
            loss = self._update_by_mack(module_id, batch)
        else:
            loss = self._update_by_ppo(module_id, batch, minibatches)
        moved = divergences(module, batch, batch.get(_ANCHOR_LOGITS))
        self.metrics.log_dict(moved, key=module_id, window=1)
        return loss

    def _update_by_ppo(
        self, module_id: str, batch: dict[str, torch.Tensor], minibatches: int
    ) -> torch.Tensor:
        config = self.config.get_config_for_module(module_id)
        module = self.module[module_id]
        self._loss_parts: dict[str, torch.Tensor] = {}  # of the latest minibatch

        def loss_of(minibatch: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.compute_loss_for_module(
                module_id=module_id,
                config=config,
                batch=minibatch,
                fwd_out=module.forward_train(minibatch),
            )

        loss = update_by_ppo(
            loss_of,
            self.get_optimizer(module_id),
            in_pieces(batch, module.unwrapped().model_config.get("max_seq_len", MAX_SEQ_LEN)),
            epochs=config.num_epochs,
            minibatches=minibatches,
            grad_clip=config.grad_clip,
            rng=self._rng,
        )
        parts = {self.TOTAL_LOSS_KEY: loss} | self._loss_parts
        self.metrics.log_dict(parts, key=module_id, window=1)
        return torch.tensor(loss)

    def _update_by_mack(self, module_id: str, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        config = self.config.get_config_for_module(module_id)
        module = self.module[module_id].unwrapped()
        entropy_coeff = self.entropy_coeff_schedulers_per_module[module_id].get_current_value()

        def policy_loss(parameters: torch.Tensor) -> torch.Tensor:
            policy = module.get_train_action_dist_cls().from_logits(parameters)
            loss = policy_gradient_loss(policy, batch, entropy_coeff)
            return loss + self._distance_from_experts(module_id, policy, batch)

        losses = update_by_mack(
            module,
            self.get_optimizer(module_id, POLICY),
            self.get_optimizer(module_id, VALUE),
            batch,
            policy_loss=None if self._only_values_learn(config) else policy_loss,
            value_steps=config.kfac_value_steps,
            all_reduce=average_over_learners if self.distributed else None,
            rng=self._rng,
        )
        self.metrics.log_dict(losses, key=module_id, window=1)
        return torch.stack(list(losses.values()))

    def _only_values_learn(self, config: Any) -> bool:
        """A policy that starts well must not follow the advantages of an untrained baseline."""
        return bool(self._updates < config.value_only_iterations)

    def _distance_from_experts(
        self, module_id: str, policy: Any, batch: dict[str, Any]
    ) -> torch.Tensor | float:
        """``bc_anchor * KL(pi_theta || pi_BC)`` and ``bc_loss_coeff`` times BC's loss."""
        config = self.config.get_config_for_module(module_id)
        distance: torch.Tensor | float = 0.0
        if _ANCHOR_LOGITS in batch:
            anchor = type(policy).from_logits(batch[_ANCHOR_LOGITS])
            distance = config.bc_anchor * policy.kl(anchor).mean()
        if config.bc_loss_coeff > 0 and module_id in self.config.taught_modules():
            cloning_loss = self._agents[module_id].cloning_loss(config.bc_batch_size, self._rng)
            distance = distance + config.bc_loss_coeff * cloning_loss
        return distance

    def compute_loss_for_module(
        self,
        *,
        module_id: str,
        config: Any,
        batch: dict[str, Any],
        fwd_out: dict[str, torch.Tensor],
    ) -> torch.Tensor:
        """PPO's loss, plus what keeps the policy near the experts'.

        During the first ``value_only_iterations`` only the baseline learns (line 11).
        """
        module = self.module[module_id].unwrapped()
        policy = module.get_train_action_dist_cls().from_logits(fwd_out[Columns.ACTION_DIST_INPUTS])
        values = module.compute_values(batch, embeddings=fwd_out.get(Columns.EMBEDDINGS))
        if self._only_values_learn(config):
            value_loss = (values - batch[Postprocessing.VALUE_TARGETS]).square().mean()
            # Times zero, not left out: every parameter must get a gradient on every learner.
            return (
                config.vf_loss_coeff * value_loss + 0.0 * policy.logp(batch[Columns.ACTIONS]).mean()
            )
        loss, self._loss_parts = ppo_loss(
            policy,
            values,
            batch,
            config=config,
            entropy_coeff=self.entropy_coeff_schedulers_per_module[module_id].get_current_value(),
            kl_coeff=self.curr_kl_coeffs_per_module[module_id],
        )
        return loss + self._distance_from_experts(module_id, policy, batch)

    # --- optimizers ------------------------------------------------------------------------------

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """One for all of a module, or with MACK one for pi and one for V; one for D_w."""
        module = self._module[module_id]
        if self._is_agent(module_id):
            optimizers, lr = agent_optimizers(module, self.config), config.lr
        else:
            optimizers = {DEFAULT: discriminator_optimizer(module, self.config)}
            lr = self.config.discriminator_lr
        for name, optimizer in optimizers.items():
            self.register_optimizer(
                module_id=module_id,
                optimizer_name=name,
                optimizer=optimizer,
                params=optimizer.param_groups[0]["params"],
                lr_or_lr_schedule=lr,
            )
