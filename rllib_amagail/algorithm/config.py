"""`AMAGAILConfig`: RLlib's PPO configuration plus one section, ``.imitation(...)``."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from typing import Any, Self

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig, NotProvided
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.typing import AgentID

from rllib_amagail.adversarial import RewardForm
from rllib_amagail.algorithm.demonstration_checks import check_teaching
from rllib_amagail.algorithm.env_check import inspect_environment
from rllib_amagail.algorithm.field_checks import check_fields
from rllib_amagail.algorithm.runner_choice import choose_env_runner
from rllib_amagail.demonstrations import Demonstrations, bundled_path
from rllib_amagail.learner.agent_module import AgentModule
from rllib_amagail.learner.discriminator import Discriminator, discriminator_id
from rllib_amagail.learner.expert_rows import Phi
from rllib_amagail.learner.learner import AMAGAILTorchLearner
from rllib_amagail.learner.phi_filter import FilterPhi
from rllib_amagail.learner.row_encoder import DiscriminatorInputs
from rllib_amagail.learner.turns import EpisodesToTurns
from rllib_amagail.runners.turn_env_runner import SortModules


def own_policy(agent_id: AgentID, episode: Any, **kwargs: Any) -> str:
    """The default mapping: every agent has a policy of its own, named like the agent."""
    return str(agent_id)


class AMAGAILConfig(PPOConfig):
    """Configuration of `AMAGAIL`.

    Defaults learn the paper's games. Every field of `PPOConfig` works as in RLlib; those of
    Algorithm 1 are in `imitation`. Policies are one per agent unless ``.multi_agent(...)`` says
    otherwise.

    Example:
        >>> config = AMAGAILConfig().environment("stochastic_cooperative_navigation")
        >>> config.imitation(reward_form="airl").reward_form
        'airl'
    """

    env_config: dict[str, Any]
    env_runner_cls: type | None

    def __init__(self, algo_class: type | None = None) -> None:
        if algo_class is None:
            from rllib_amagail.algorithm.amagail import AMAGAIL

            algo_class = AMAGAIL
        super().__init__(algo_class=algo_class)
        # RLlib's own fields
        self.framework_str = "torch"
        self.env_runner_cls = None  # chosen when the environment is known
        # RLlib's check plays random actions, which games with action masks rightly refuse.
        self.disable_env_checking = True
        self.num_env_runners = 0
        self.num_envs_per_env_runner = 64
        self.train_batch_size_per_learner = 3200
        self.batch_mode = "truncate_episodes"
        self.add_default_connectors_to_learner_pipeline = False
        self.gamma = 0.95
        self.lambda_ = 0.95
        self.lr = 1e-3
        self.num_epochs = 4
        self.minibatch_size = 400
        self.clip_param = 0.2
        self.vf_clip_param = float("inf")
        self.entropy_coeff = 1e-3
        self.use_kl_loss = False
        self.grad_clip = None
        self._model_config = {
            "fcnet_hiddens": [128, 128],
            "fcnet_activation": "tanh",
            "vf_share_layers": False,
        }
        # Algorithm 1
        self.demonstrations: str | os.PathLike | Demonstrations | None = None
        self.num_demonstrations: int | None = None
        self.phi: Phi = "filtered"
        self.reward_source = "discriminator"
        self.reward_form: RewardForm = "gail"
        self.normalise_rewards = True
        self.discriminator_hiddens: Sequence[int] = (128, 128)
        self.discriminator_lr = 1e-3
        self.discriminator_steps = 4
        self.discriminator_batch_size = 1000
        self.gradient_penalty = 0.02
        self.discriminator_inputs: DiscriminatorInputs = "state_action"
        self.discriminator_input_noise = 0.0
        self.discriminator_group_lasso = 0.0
        self.bc_steps = 1000
        self.bc_lr = 1e-3
        self.bc_batch_size = 256
        self.bc_anchor = 1.0
        self.bc_loss_coeff = 0.0
        self.value_only_iterations = 3

    def imitation(
        self,
        *,
        demonstrations: str | os.PathLike | Demonstrations | None = NotProvided,
        num_demonstrations: int | None = NotProvided,
        phi: Phi = NotProvided,
        reward_source: str = NotProvided,
        reward_form: RewardForm = NotProvided,
        normalise_rewards: bool = NotProvided,
        discriminator_hiddens: Sequence[int] = NotProvided,
        discriminator_lr: float = NotProvided,
        discriminator_steps: int = NotProvided,
        discriminator_batch_size: int = NotProvided,
        gradient_penalty: float = NotProvided,
        discriminator_inputs: DiscriminatorInputs = NotProvided,
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
            demonstrations: Z, a Parquet file or a `Demonstrations`. None: the episodes that come
                with the game.
            num_demonstrations: use the first so many episodes of Z. None: all.
            phi: what becomes of phi. "filtered": dropped (lines 5 and 10; AMAGAIL). "chosen": an
                ordinary action that agents see and choose every round (MAGAIL); the discriminator
                judges the action chosen. "executed": the same, but it judges what the game
                carried out, which is phi for everybody who did not participate.
            reward_source: "discriminator"; "environment" to train on the true reward (experts;
                no demonstrations needed); "zero" for the control without any reward.
            reward_form: "gail" -log D_w (equation 14), "airl" logit, "magail" 2 sigmoid - 1.
            normalise_rewards: divide rewards by their running deviation.
            discriminator_hiddens: widths of the hidden layers of D_w.
            discriminator_lr: step size of w (AdamW).
            discriminator_steps: steps on w an iteration (line 6 repeated).
            discriminator_batch_size: B, expert rows and policy rows a step.
            gradient_penalty: its weight on standardised inputs of D_w; 0 for none.
            discriminator_inputs: what D_w judges. "state_action" (s, a); "state" s; "state_pair" s
                and s' - s, s' being what the agent sees at its next turn. The last two imitate
                from observation alone; a Z without actions needs them, and ``bc_steps=0``.
            discriminator_input_noise: deviation of noise on D_w's standardised inputs in line 6.
            discriminator_group_lasso: weight of the norms of D_w's first-layer weights per input.
            bc_steps: steps of behaviour cloning before the first iteration; 0 to start from
                scratch.
            bc_lr: step size of behaviour cloning (Adam).
            bc_batch_size: rows a step of behaviour cloning.
            bc_anchor: weight of KL(pi_theta || pi_BC) in the policy's loss, so that adversarial
                steps do no harm; without effect when ``bc_steps`` is 0.
            bc_loss_coeff: weight of -E_XE[log pi_theta(a|s)] in the policy's loss, on
                ``bc_batch_size`` expert rows a minibatch; needs no cloned policy.
            value_only_iterations: iterations at the start in which only the baseline V_nu learns.

        Returns:
            This config.
        """
        for key, value in locals().items():
            if key != "self" and value is not NotProvided:
                setattr(self, key, value)
        return self

    def update_from_dict(self, config_dict: dict[str, Any]) -> Self:
        """Take settings from a flat dict, as Tune and the command line give them.

        Raises:
            ValueError: a key that no section knows; names the nearest known ones.
        """
        known = set(vars(self)) | {"multiagent", "model_config", "train_batch_size_per_learner"}
        for key in config_dict:
            if key.startswith("__"):  # Tune's own
                continue
            if self._translate_special_keys(key, warn_deprecated=False) in known:
                continue
            close = difflib.get_close_matches(key, known, n=3)
            raise ValueError(
                f"unknown config key {key!r}"
                + (f"; did you mean {' or '.join(map(repr, close))}?" if close else "")
                + " AMAGAIL's own keys are the arguments of AMAGAILConfig.imitation(), the others "
                "those of RLlib's PPOConfig."
            )
        config_dict = {k: v for k, v in config_dict.items() if not k.startswith("__")}
        if "model_config" in config_dict:  # RLlib keeps it under a private name
            self.rl_module(model_config=self._model_config | config_dict.pop("model_config"))
        return super().update_from_dict(config_dict)

    @property
    def uses_demonstrations(self) -> bool:
        """Whether Z is needed: not to train on the true reward."""
        return self.reward_source != "environment"

    def load_demonstrations(self) -> Demonstrations:
        """Z as configured.

        Raises:
            DemonstrationsError: an unreadable or invalid file.
            ValueError: none given and none come with the environment, or fewer episodes than
                ``num_demonstrations``.
        """
        source = self.demonstrations
        if source is None:
            source = bundled_path(str(self.env))
            if source is None:
                raise ValueError(
                    f"no demonstrations: none are given and none come with environment "
                    f"{self.env!r}. Set .imitation(demonstrations='file.parquet'), or "
                    "reward_source='environment' to train on the true reward."
                )
        if not isinstance(source, Demonstrations):
            source = Demonstrations.load(source)
        if self.num_demonstrations is None:
            return source
        if self.num_demonstrations > source.num_episodes:
            raise ValueError(
                f"num_demonstrations is {self.num_demonstrations}, but the demonstrations have "
                f"{source.num_episodes} episodes"
            )
        return source.head(self.num_demonstrations)

    def validate(self) -> None:
        """Check every field, look at the environment once, and check Z against it.

        Raises:
            ValueError: a field out of its range, an environment that does not fit, or
                demonstrations that do not fit the environment.
        """
        check_fields(self)
        if self.env is not None and not self.in_evaluation:
            if self.phi != "filtered":
                self.env_config = {**self.env_config, "phi_is_action": True}
            game = inspect_environment(self, self.phi)
            if set(self.policies) == {DEFAULT_MODULE_ID}:
                self.multi_agent(policies=list(game.agents), policy_mapping_fn=own_policy)
            # In one order in every process: seeded weights depend on it.
            self.multi_agent(policies={mid: self.policies[mid] for mid in sorted(self.policies)})
            if self.env_runner_cls is None:
                self.env_runner_cls = choose_env_runner(self, game.is_batched)
            if self.uses_demonstrations:
                demonstrations = self.load_demonstrations()
                game.check_demonstrations(demonstrations)
                check_teaching(self, demonstrations)
        super().validate()

    # --- what RLlib asks for ---------------------------------------------------------------------

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """The policy module of every agent."""
        return RLModuleSpec(module_class=AgentModule)

    def get_default_learner_class(self) -> type:
        """The learner that plays Algorithm 1."""
        return AMAGAILTorchLearner

    def get_multi_rl_module_spec(self, **kwargs: Any) -> MultiRLModuleSpec:
        """The agents' modules and, for learners, a discriminator beside each."""
        spec = super().get_multi_rl_module_spec(**kwargs)
        if kwargs.get("inference_only") or self.reward_source != "discriminator":
            return spec
        discriminators = {
            discriminator_id(module_id): RLModuleSpec(
                module_class=Discriminator,
                observation_space=module_spec.observation_space,
                action_space=module_spec.action_space,
                model_config={
                    "hiddens": list(self.discriminator_hiddens),
                    "judged": self.discriminator_inputs,
                },
                learner_only=True,
            )
            for module_id, module_spec in spec.rl_module_specs.items()
        }
        spec.add_modules(discriminators)
        return spec

    def build_env_to_module_connector(self, *args: Any, **kwargs: Any) -> ConnectorV2:
        """RLlib's pipeline, with the modules in one order in every process."""
        pipeline = super().build_env_to_module_connector(*args, **kwargs)
        pipeline.append(SortModules())
        return pipeline

    def build_learner_connector(self, *args: Any, **kwargs: Any) -> ConnectorV2:
        """Custom connectors first, then episodes to turns, then the phi filter."""
        pipeline = AlgorithmConfig.build_learner_connector(self, *args, **kwargs)
        pipeline.append(EpisodesToTurns())
        if self.phi == "filtered":
            pipeline.append(FilterPhi())
        return pipeline
