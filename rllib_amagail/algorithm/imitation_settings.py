"""The fields that Algorithm 1 adds to RLlib's PPO configuration, and the sections that set them."""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Sequence
from typing import Any, Self

from ray.rllib.algorithms.algorithm_config import NotProvided
from ray.rllib.algorithms.ppo import PPOConfig

from rllib_amagail.adversarial import RewardForm
from rllib_amagail.algorithm.generator_defaults import GENERATOR_DEFAULTS
from rllib_amagail.demonstrations import Demonstrations
from rllib_amagail.learner.expert_rows import Phi
from rllib_amagail.learner.joint_rows import Structure
from rllib_amagail.past_turns import History
from rllib_amagail.row_encoder import DiscriminatorInputs


class ImitationSettings(PPOConfig):
    """Fields with their defaults; `AMAGAILConfig` is what users build."""

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class)
        self.generator = "ppo"
        self.critic = "own"
        self.demonstrations: str | os.PathLike | Demonstrations | None = None
        self.num_demonstrations: int | None = None
        self.imitated_agents: Sequence[str] | None = None
        self.sides: Sequence[Sequence[str]] | None = None
        self.demonstrations_memory = 2 * 2**30
        self.batches_ahead = 0
        self.phi: Phi = "filtered"
        self.reward_source = "discriminator"
        self.reward_form: RewardForm = "gail"
        self.reward_shaping = False
        self.normalise_rewards = True
        self.discriminator_hiddens: Sequence[int]
        self.discriminator_lr: float
        self.discriminator_steps: int
        self.discriminator_batch_size = 1000
        self.gradient_penalty: float
        self.discriminator_inputs: DiscriminatorInputs = "state_action"
        self.discriminator_structure: Structure = "decentralised"
        self.discriminator_input_noise = 0.0
        self.discriminator_group_lasso = 0.0
        self.past_turns = 0
        self.elapsed_rounds: bool | None = None
        for name, value in GENERATOR_DEFAULTS[self.generator].items():
            setattr(self, name, copy.deepcopy(value))
        self.bc_steps = 1000
        self.bc_lr = 1e-3
        self.bc_batch_size = 256
        self.bc_anchor = 1.0
        self.bc_loss_coeff = 0.0
        self.value_only_iterations = 3
        self.kfac_kl_clip = 3e-3
        self.kfac_discriminator_kl_clip = 1e-3
        self.kfac_damping = 0.01
        self.kfac_value_steps = 2

    def imitation(
        self,
        *,
        generator: str = NotProvided,
        critic: str = NotProvided,
        demonstrations: str | os.PathLike | Demonstrations | None = NotProvided,
        num_demonstrations: int | None = NotProvided,
        phi: Phi = NotProvided,
        reward_source: str = NotProvided,
        reward_form: RewardForm = NotProvided,
        reward_shaping: bool = NotProvided,
        normalise_rewards: bool = NotProvided,
        discriminator_hiddens: Sequence[int] = NotProvided,
        discriminator_lr: float = NotProvided,
        discriminator_steps: int = NotProvided,
        discriminator_batch_size: int = NotProvided,
        gradient_penalty: float = NotProvided,
        discriminator_inputs: DiscriminatorInputs = NotProvided,
        discriminator_structure: Structure = NotProvided,
        discriminator_input_noise: float = NotProvided,
        discriminator_group_lasso: float = NotProvided,
        bc_steps: int = NotProvided,
        bc_lr: float = NotProvided,
        bc_batch_size: int = NotProvided,
        bc_anchor: float = NotProvided,
        bc_loss_coeff: float = NotProvided,
        value_only_iterations: int = NotProvided,
    ) -> Self:
        """Set what Algorithm 1 adds to RLlib.

        Args:
            generator: "ppo", or "mack" as in the paper; see `kfac`. Set it first: fields that have
                the default of the one take that of the other (`GENERATOR_DEFAULTS`).
            critic: V sees what the agent sees ("own"), or the other agents, too ("joint").
            demonstrations: Z: a `Demonstrations`, its file, folder or address. None: the game's.
            num_demonstrations: use the first so many episodes of Z. None: all.
            phi: what becomes of phi. "filtered": dropped (lines 5 and 10; AMAGAIL). "chosen": an
                ordinary action that agents see and choose every round (MAGAIL); D_w judges the
                action chosen. "executed": it judges what the game carried out, phi for absentees.
            reward_source: "discriminator"; "environment" to train experts, without Z; "zero".
            reward_form: "gail" -log D_w (equation 14), "airl" logit, "magail" 2 sigmoid - 1.
            reward_shaping: split airl's logit into a reward and a term that only shapes (`Judge`).
            normalise_rewards: divide rewards by their running deviation.
            discriminator_hiddens: widths of the hidden layers of D_w.
            discriminator_lr: step size of w (AdamW; K-FAC with "mack").
            discriminator_steps: steps on w an iteration (line 6 repeated).
            discriminator_batch_size: B, expert rows and policy rows a step.
            gradient_penalty: its weight on standardised inputs of D_w; 0 for none.
            discriminator_inputs: what D_w judges: "state_action" (s, a), "state" s, "state_pair" s
                and s' - s with s' of the next turn. A Z without actions needs the last two.
            discriminator_structure: "decentralised", a D_w per policy; "centralised", one for all;
                "zero_sum", one for two sides. See docs/discriminators.md.
            discriminator_input_noise: deviation of noise on D_w's standardised inputs in line 6.
            discriminator_group_lasso: weight of the norms of D_w's first-layer weights per input.
            bc_steps: steps of behaviour cloning at the start; 0 to start from scratch.
            bc_lr: step size of behaviour cloning (Adam).
            bc_batch_size: rows a step of behaviour cloning.
            bc_anchor: weight of KL(pi_theta || pi_BC) in the policy's loss; needs ``bc_steps``.
            bc_loss_coeff: weight of -E_XE[log pi_theta(a|s)], ``bc_batch_size`` rows a minibatch.
            value_only_iterations: iterations at the start in which only the baseline V_nu learns.

        Returns:
            This config.
        """
        return self._set(locals())

    def roles(
        self,
        *,
        imitated_agents: Sequence[str] | None = NotProvided,
        sides: Sequence[Sequence[str]] | None = NotProvided,
    ) -> Self:
        """Set which agents are experts in Z, and who is on whose side; see docs/discriminators.md.

        Args:
            imitated_agents: whose rows of Z count; Z may hold theirs alone. None: all agents'.
            sides: the agents of the two sides of ``discriminator_structure="zero_sum"``. None: two
                agents, each on a side of its own. Without effect beside other structures.

        Returns:
            This config.
        """
        return self._set(locals())

    def streaming(self, *, demonstrations_memory: int = NotProvided) -> Self:
        """Set what becomes of demonstrations that are larger than memory.

        Args:
            demonstrations_memory: bytes of Z's rows that a learner holds. A Z of part files that
                takes more is streamed in windows; see docs/large_demonstrations.md.

        Returns:
            This config.
        """
        return self._set(locals())

    def sampling(self, *, batches_ahead: int = NotProvided) -> Self:
        """Set whether env runners play while the learners learn.

        Args:
            batches_ahead: how many batches the env runners play ahead; the policies that play are
                as many epochs old (``staleness`` in the results). 0: runners and learners take
                turns. More need remote env runners, and PPO, which reckons with older policies.
                See docs/scaling.md.

        Returns:
            This config.
        """
        return self._set(locals())

    def kfac(
        self,
        *,
        kfac_kl_clip: float = NotProvided,
        kfac_discriminator_kl_clip: float = NotProvided,
        kfac_damping: float = NotProvided,
        kfac_value_steps: int = NotProvided,
    ) -> Self:
        """Set what ``generator="mack"`` needs: K-FAC for policy, baseline and discriminator.

        Without effect beside ``generator="ppo"``, so that a search may try both.

        It takes one step on theta an iteration and reads ``lr`` (theta and nu) and
        ``discriminator_lr``, but not ``num_epochs``, ``minibatch_size``, ``grad_clip`` or PPO's
        own fields.

        Args:
            kfac_kl_clip: largest KL of a step on theta or nu, in nats per row.
            kfac_discriminator_kl_clip: the same of a step on w.
            kfac_damping: damping of the Fisher matrices.
            kfac_value_steps: steps on nu an iteration.

        Returns:
            This config.
        """
        return self._set(locals())

    def history(
        self, *, past_turns: int = NotProvided, elapsed_rounds: bool | None = NotProvided
    ) -> Self:
        """Set what agents are shown of their own past, beside what they see: pi(a|s, h).

        They are shown it in the game and in Z. Policies, V and D_w see the same; see
        docs/history.md.

        Args:
            past_turns: k, how many of an agent's own latest turns: what it saw and what it did.
            elapsed_rounds: how many rounds ago these were (without past turns: the latest one), and
                the episode's beginning. None: if there are past turns.

        Returns:
            This config.
        """
        return self._set(locals())

    @property
    def shown_past(self) -> History:
        """What agents are shown of their own past."""
        elapsed_rounds = self.elapsed_rounds
        if elapsed_rounds is None:
            elapsed_rounds = self.past_turns > 0
        return History(self.past_turns, elapsed_rounds)

    def imitates(self, agent: str) -> bool:
        """Whether an agent of Z is an expert to imitate."""
        return self.imitated_agents is None or agent in self.imitated_agents

    def _set(self, arguments: dict[str, Any]) -> Self:
        given = {k: v for k, v in arguments.items() if k != "self" and v is not NotProvided}
        if given.get("generator") in GENERATOR_DEFAULTS:
            self._take_defaults_of(given["generator"])
        for key, value in given.items():
            setattr(self, key, value)
        return self

    def _take_defaults_of(self, generator: str) -> None:
        before = GENERATOR_DEFAULTS.get(self.generator, {})
        for name, value in GENERATOR_DEFAULTS[generator].items():
            if getattr(self, name) == before.get(name):
                setattr(self, name, copy.deepcopy(value))


def imitation_fields() -> list[str]:
    """The names of all fields that `imitation`, `roles`, `history`, `kfac`, `sampling` set."""
    own = ImitationSettings
    sections = (own.imitation, own.roles, own.history, own.kfac, own.sampling)
    names = [name for section in sections for name in inspect.signature(section).parameters]
    return [name for name in names if name != "self"]
