"""Line 6 of Algorithm 1 and equation 14 on a learner, whatever the discriminators' structure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from rllib_amagail.judge import JOINT
from rllib_amagail.learner.discriminator import discriminator_id
from rllib_amagail.learner.discriminator_update import update_discriminator
from rllib_amagail.learner.finite import require_finite
from rllib_amagail.learner.joint_rows import JointRows
from rllib_amagail.learner.judged_rows import comparable_rows, encode_turns
from rllib_amagail.learner.learner_base import LearnerBase
from rllib_amagail.learner.relabelling import discriminator_rewards
from rllib_amagail.learner.scarce_rows import gather_from_learners, share_rows
from rllib_amagail.learner.true_rewards import CORRELATION, correlations_of_turns
from rllib_amagail.learner.turns import TurnBatch


class JudgingLearner(LearnerBase):
    """Improves discriminators and takes rewards from them.

    A discriminator per module sees that module's rows, when its turn comes in the loop over the
    modules. One that sees joint rows is improved before the loop, once for all modules, and its
    rewards travel with the turns.
    """

    def _judge_jointly(self, turns: dict[str, TurnBatch]) -> dict[str, TurnBatch]:
        """Line 6 and equation 14 for a discriminator of joint rows; without one, nothing."""
        if self._structure is None:
            return turns
        rows = JointRows.of_turns(self._structure, turns)
        inputs = rows.inputs
        if self.distributed:
            inputs = share_rows(inputs, gather_from_learners)
        rewards = np.zeros(0, np.float32)  # if no imitated agent had a turn
        if len(inputs) > 0:
            with require_finite(JOINT, self.distributed) as watch:
                weights = {"weights of the discriminator": self.module[JOINT]}
                watch.saw({"joint rows": inputs} | weights)
                to_learn = torch.from_numpy(inputs).to(self._device)
                self._improve(JOINT, self._joint_expert_inputs, to_learn, log_as=JOINT)
                rewards = discriminator_rewards(
                    self.module[JOINT],
                    torch.from_numpy(rows.inputs).to(self._device),
                    self.config.reward_form,
                )
                watch.saw({"rewards": rewards})
        gammas = {m: self.config.get_config_for_module(m).gamma for m in turns}
        earned = rows.credit(self._structure, turns, rewards, gammas)
        return {m: replace(turns[m], learned_rewards=earned[m]) for m in turns}

    def _encode(self, module_id: str, turns: TurnBatch) -> torch.Tensor:
        """``[T, R]`` discriminator rows."""
        inputs = encode_turns(self._agents[module_id].encoder, turns, self.config.phi)
        return torch.from_numpy(inputs).to(self._device)

    def _update_discriminator(self, module_id: str, turns: TurnBatch, inputs: torch.Tensor) -> None:
        if self.config.reward_source != "discriminator" or self._structure is not None:
            return
        agent = self._agents[module_id]
        comparable = inputs[torch.from_numpy(comparable_rows(agent.encoder, turns))]
        name = discriminator_id(module_id)
        self._improve(name, agent.rows_to_judge(), comparable, log_as=module_id)

    def _improve(
        self, name: str, expert_inputs: torch.Tensor, policy_inputs: torch.Tensor, log_as: str
    ) -> None:
        """Line 6: the steps of discriminator ``name`` on ``[K, R]`` and ``[T, R]`` rows."""
        diagnostics = update_discriminator(
            self.module[name],
            self.get_optimizer(name),
            expert_inputs,
            policy_inputs,
            steps=self.config.discriminator_steps,
            batch_size=self.config.discriminator_batch_size,
            penalty_coeff=self.config.gradient_penalty,
            input_noise=self.config.discriminator_input_noise,
            group_lasso_coeff=self.config.discriminator_group_lasso,
            rng=self._rng,
        )
        self.metrics.log_dict(diagnostics, key=log_as, window=1)

    def _relabel(self, module_id: str, turns: TurnBatch, inputs: torch.Tensor) -> np.ndarray:
        """``[T]`` rewards to learn from; the environment's stay visible in the results."""
        if self.config.reward_source == "zero":
            return np.zeros_like(turns.rewards)
        rewards = turns.rewards
        if self.config.reward_source == "discriminator":
            rewards = self._learned_rewards(module_id, turns, inputs)
            found = correlations_of_turns(turns, rewards)
            self.metrics.log_dict({CORRELATION: found}, key=module_id, window=1)
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

    def _learned_rewards(
        self, module_id: str, turns: TurnBatch, inputs: torch.Tensor
    ) -> np.ndarray:
        if turns.learned_rewards is not None:
            return turns.learned_rewards
        discriminator = self.module[discriminator_id(module_id)]
        return discriminator_rewards(discriminator, inputs, self.config.reward_form)
