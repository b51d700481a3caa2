"""`AMAGAIL`: Algorithm 1 of the paper as an RLlib algorithm."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ray.rllib.core import ALL_MODULES
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    ENV_RUNNER_SAMPLING_TIMER,
    LEARNER_RESULTS,
    LEARNER_UPDATE_TIMER,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_MODULE_STEPS_TRAINED_LIFETIME,
    SYNCH_WORKER_WEIGHTS_TIMER,
    TIMERS,
)

from rllib_amagail.algorithm.config import AMAGAILConfig
from rllib_amagail.algorithm.lifecycle import Lifecycle
from rllib_amagail.algorithm.played_rounds import sample_rounds
from rllib_amagail.algorithm.sampling import PlayedBatch, policies_of
from rllib_amagail.algorithm.scores import normalised, scale_name, score
from rllib_amagail.learner.sharding import EpisodeShards
from rllib_amagail.learner.true_rewards import CORRELATION

BC_LOSS = "bc_loss"
STALENESS = "staleness"


class AMAGAIL(Lifecycle):
    """Asynchronous multi-agent generative adversarial imitation learning."""

    config: AMAGAILConfig

    @classmethod
    def get_default_config(cls) -> AMAGAILConfig:
        """Settings that learn the paper's games."""
        return AMAGAILConfig()

    def training_step(self) -> None:
        """One epoch u of Algorithm 1 (line 1); lines 3 to 13 are `AMAGAILTorchLearner.update`."""
        if self.iteration == 0:
            self.clone_behaviour()
        episodes = self._sample_episodes()  # line 2
        if episodes:
            self._update_learners(episodes)  # lines 3 to 13
            self._send_policies()
            self._log_scores()
            self._log_correlations()

    def clone_behaviour(self) -> dict[str, float]:
        """Start the policies from the demonstrations, once.

        `training_step` does so before anything else. Call it by hand for behaviour cloning alone.

        Returns:
            Mean negative log likelihood per module; empty when it was done before, when
            ``bc_steps`` is 0, or when the true reward is the teacher.
        """
        if not (self.config.uses_demonstrations and self.config.bc_steps):
            return {}
        losses: dict[str, float] = self._on_learners(lambda learner: learner.clone_behaviour())
        for module_id, loss in losses.items():
            self.metrics.log_value((BC_LOSS, module_id), loss, window=1)
        self._send_policies()
        return losses

    def _on_learners(self, function: Callable[[Any], Any]) -> Any:
        """Call a function of every learner; what the first gives, since replicas are equal."""
        return self.learner_group.results_of(function)[0]

    def _sample_episodes(self) -> list[Any]:
        with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER)):
            if self.config.batches_ahead:
                if not self._ahead.has_policies:
                    self._send_policies()
                batch = self._ahead.next_batch(self.config)
            else:
                group = self.env_runner_group
                batch = PlayedBatch(
                    *sample_rounds(group, self.config, self.bring_back_runners), staleness=0
                )
            self.metrics.aggregate(batch.results, key=ENV_RUNNER_RESULTS)
            self.metrics.log_value(STALENESS, batch.staleness, window=1)
        return batch.episodes

    def _update_learners(self, episodes: list[Any]) -> None:
        trained = (LEARNER_RESULTS, ALL_MODULES, NUM_MODULE_STEPS_TRAINED_LIFETIME)
        sampled = (ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME)
        with self.metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER)):
            results = self.learner_group.update(
                training_data=EpisodeShards(episodes=episodes),
                timesteps={
                    NUM_ENV_STEPS_SAMPLED_LIFETIME: self.metrics.peek(sampled, default=0),
                    NUM_MODULE_STEPS_TRAINED_LIFETIME: self.metrics.peek(trained, default=0),
                },
            )
            self.metrics.aggregate(results, key=LEARNER_RESULTS)

    def _send_policies(self) -> None:
        """Weights of the agents' modules to the env runners; discriminators stay at home."""
        policies = sorted(self.config.policies)
        with self.metrics.log_time((TIMERS, SYNCH_WORKER_WEIGHTS_TIMER)):
            if self.config.batches_ahead:
                self._ahead.take_policies(policies_of(self.learner_group, policies))
            else:
                self.env_runner_group.sync_weights(
                    from_worker_or_learner_group=self.learner_group,
                    policies=policies,
                    inference_only=True,
                )

    def _log_scores(self) -> None:
        """The true reward's score of the latest episodes that ended; NaN until one has."""
        game = scale_name(self.config.env, self.config.env_config)
        returns = self.metrics.peek((ENV_RUNNER_RESULTS, "agent_episode_returns_mean"), default={})
        found = score(returns, game) if returns else math.nan
        if math.isfinite(found):
            self._latest_score = found
        self.metrics.log_value("score", self._latest_score, window=1)
        relative = normalised(self._latest_score, game)
        if relative is not None:
            self.metrics.log_value("normalised_score", relative, window=1)

    def _log_correlations(self) -> None:
        """How the learned rewards of this iteration's turns go with the environment's, by agent."""
        for agent, module_id in self.config.modules_of_agents().items():
            for name in ("pearson", "spearman"):
                key = (LEARNER_RESULTS, module_id, CORRELATION, agent, name)
                found = self.metrics.peek(key, default=math.nan)
                if math.isfinite(found):
                    self.metrics.log_value((CORRELATION, agent, name), found, window=1)
