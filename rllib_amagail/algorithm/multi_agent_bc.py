"""`MultiAgentBC`: multi-agent behaviour cloning from demonstrations, with or without a game."""

from __future__ import annotations

import os
from typing import Any, Self

import numpy as np
from ray.rllib.algorithms.algorithm_config import NotProvided
from ray.rllib.utils.metrics import LEARNER_RESULTS

from rllib_amagail.algorithm.amagail import AMAGAIL
from rllib_amagail.algorithm.config import AMAGAILConfig
from rllib_amagail.algorithm.imitation_settings import imitation_fields
from rllib_amagail.demonstrations import Catalogue, Demonstrations
from rllib_amagail.envs.demonstrated_spaces import DemonstratedSpaces
from rllib_amagail.learner.cloning_learner import CloningTorchLearner
from rllib_amagail.learner.expert_rows import Phi
from rllib_amagail.runners.turn_env_runner import TurnEnvRunner

LOG_LIKELIHOOD = "log_likelihood"

_OWN_FIELDS = {
    "demonstrations",
    "num_demonstrations",
    "imitated_agents",
    "phi",
    "bc_steps",
    "bc_batch_size",
    "past_turns",
    "elapsed_rounds",
}


class MultiAgentBCConfig(AMAGAILConfig):
    """Configuration of `MultiAgentBC`.

    Needs demonstrations and nothing else: without an environment agents and spaces are those of
    the demonstrations. With one, every iteration also plays ``train_batch_size_per_learner`` rounds
    and reports the score, without learning from them.

    RLlib's ``entropy_coeff`` is the weight of the policies' entropy on the expert's observations,
    0 by default and no schedule. RLlib's ``lr`` is the step size; a schedule
    ``[[0, 1e-3], [5000, 1e-5]]`` counts gradient steps.

    Example:
        >>> config = MultiAgentBCConfig().imitation(demonstrations="experts.parquet")
        >>> config.phi, config.bc_steps
        ('filtered', 100)
    """

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class or MultiAgentBC)
        self.reward_source = "zero"  # no discriminators
        self.bc_steps = 100
        self.bc_anchor = 0.0
        self.entropy_coeff = 0.0
        self.training(minibatch_size=None)  # PPO's, which must not exceed the rounds to play
        self.weight_decay = 0.0
        self.validation_share = 0.0

    def imitation(
        self,
        *,
        demonstrations: str | os.PathLike | Demonstrations | None = NotProvided,
        num_demonstrations: int | None = NotProvided,
        phi: Phi = NotProvided,
        bc_steps: int = NotProvided,
        bc_batch_size: int = NotProvided,
        weight_decay: float = NotProvided,
        validation_share: float = NotProvided,
        **others: Any,
    ) -> Self:
        """Set what to clone and how.

        Args:
            demonstrations: a `Demonstrations`, a file, folder or address of some; see
                `AMAGAILConfig.imitation`. None: the episodes that come with the game.
            num_demonstrations: use the first so many episodes. None: all.
            phi: "filtered" drops phi; "chosen" (or "executed", which is the same here) makes it
                the last action of every agent that may abstain (the paper's BC).
            bc_steps: gradient steps an iteration.
            bc_batch_size: rows a step.
            weight_decay: of AdamW.
            validation_share: share of the episodes, drawn by the seed, on which likelihood and
                accuracy are reported without learning from them. Never a reason to stop: with few
                episodes the return still improves when this likelihood no longer does.
            **others: of `AMAGAILConfig.imitation`; `validate` refuses what has no effect here.

        Returns:
            This config.
        """
        own = {"weight_decay": weight_decay, "validation_share": validation_share}
        for key, value in own.items():
            if value is not NotProvided:
                setattr(self, key, value)
        return super().imitation(
            demonstrations=demonstrations,
            num_demonstrations=num_demonstrations,
            phi=phi,
            bc_steps=bc_steps,
            bc_batch_size=bc_batch_size,
            **others,
        )

    @property
    def has_environment(self) -> bool:
        """Whether there is a game to play, besides the demonstrations."""
        return self.env is not None and self.env is not DemonstratedSpaces

    def load_demonstrations(self) -> Demonstrations:
        """The episodes to clone, those for validation left out; raises as `AMAGAILConfig`'s."""
        whole = super().load_demonstrations()
        return whole.select(self._split(whole)[0]) if self.validation_share else whole

    def streamed_demonstrations(self) -> Catalogue | None:
        """As of `AMAGAILConfig`; raises ValueError if episodes are to be held out of a stream."""
        catalogue = super().streamed_demonstrations()
        if catalogue is not None and self.validation_share:
            raise ValueError(
                f"validation_share is {self.validation_share}, but the demonstrations are streamed "
                f"because they take more than demonstrations_memory, {self.demonstrations_memory} "
                "bytes; expected 0. Raise demonstrations_memory, or do without"
            )
        return catalogue

    def load_validation_demonstrations(self) -> Demonstrations | None:
        """The episodes held out, if any are."""
        if not self.validation_share:
            return None
        whole = super().load_demonstrations()
        return whole.select(self._split(whole)[1])

    def validate(self) -> None:
        """As of `AMAGAILConfig`; without an environment the demonstrations tell the spaces.

        Raises:
            ValueError: also for settings of `AMAGAILConfig` that have no effect or another name
                here.
        """
        if self.bc_lr != AMAGAILConfig().bc_lr:
            raise ValueError(f"bc_lr is {self.bc_lr}; set lr, the step size of MultiAgentBC")
        self._refuse_what_has_no_effect()
        if self.bc_steps < 1:
            raise ValueError(f"bc_steps is {self.bc_steps}; expected >= 1 gradient steps")
        if not (isinstance(self.entropy_coeff, float | int) and self.entropy_coeff >= 0):
            raise ValueError(f"entropy_coeff is {self.entropy_coeff}; expected a number >= 0")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay is {self.weight_decay}; expected >= 0")
        if not 0 <= self.validation_share < 1:
            raise ValueError(
                f"validation_share is {self.validation_share}; expected 0 <= share < 1"
            )
        self._forget_demonstrated_spaces()  # an evaluation may have an environment of its own
        if not self.has_environment and not self.in_evaluation:
            self._do_without_environment()
        super().validate()

    def get_default_learner_class(self) -> type:
        """The learner that clones."""
        return CloningTorchLearner

    def environment(self, *args: Any, **kwargs: Any) -> Self:
        """As of RLlib's `AlgorithmConfig`."""
        super().environment(*args, **kwargs)
        self._forget_demonstrated_spaces()
        return self

    def _refuse_what_has_no_effect(self) -> None:
        unchanged = MultiAgentBCConfig()
        for name in imitation_fields():  # the generator first, which changes others
            found, expected = getattr(self, name), getattr(unchanged, name)
            if name not in _OWN_FIELDS and found != expected:
                raise ValueError(
                    f"{name} is {found!r}; expected {expected!r}: it has no effect on behaviour "
                    "cloning. Leave it out, or use AMAGAIL"
                )

    def _forget_demonstrated_spaces(self) -> None:
        if self.has_environment:
            options = {k: v for k, v in self.env_config.items() if k != DemonstratedSpaces.SPACES}
            self.env_config = options

    def _do_without_environment(self) -> None:
        if self.demonstrations is None:
            raise ValueError(
                "found neither an environment nor demonstrations to clone; expected "
                ".imitation(demonstrations='file.parquet')"
            )
        described = DemonstratedSpaces.describe(super().sample_demonstrations())
        self.env = DemonstratedSpaces
        self.env_config = {**self.env_config, **described}
        self.env_runner_cls = TurnEnvRunner
        self.num_env_runners, self.num_envs_per_env_runner = 0, 1  # nothing to play

    def _split(self, whole: Demonstrations) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the episodes to clone, and of those held out, both in order."""
        held_out = max(1, round(self.validation_share * whole.num_episodes))
        if held_out >= whole.num_episodes:
            raise ValueError(
                f"validation_share {self.validation_share} of {whole.num_episodes} episodes leaves "
                "none to clone; hold fewer out or use more"
            )
        order = np.random.default_rng(self.seed or 0).permutation(whole.num_episodes)
        return np.sort(order[held_out:]), np.sort(order[:held_out])


class MultiAgentBC(AMAGAIL):
    """Multi-agent behaviour cloning: every policy by maximum likelihood of its experts' actions.

    RLlib's own algorithm "BC" is for one agent and RLlib's offline data.
    """

    config: MultiAgentBCConfig

    @classmethod
    def get_default_config(cls) -> MultiAgentBCConfig:
        """Ten iterations of these settings clone the paper's experts."""
        return MultiAgentBCConfig()

    def training_step(self) -> None:
        """Some gradient steps on every policy, then a look at how they play."""
        self.clone_behaviour()
        if self.config.has_environment:
            self._sample_episodes()
            self._log_scores()

    def clone_behaviour(self) -> dict[str, float]:
        """Take the gradient steps of one iteration.

        Returns:
            Mean negative log likelihood per module, of the held-out episodes if there are any.
        """
        losses, results = self._on_learners(lambda learner: learner.clone_further())
        self.metrics.aggregate([results], key=LEARNER_RESULTS)
        self.metrics.log_value(LOG_LIKELIHOOD, -float(np.mean(list(losses.values()))), window=1)
        self._send_policies()
        return dict(losses)
