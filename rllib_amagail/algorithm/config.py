"""`AMAGAILConfig`: RLlib's PPO configuration plus ``.imitation(...)`` and ``.kfac(...)``."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

from gymnasium.spaces import Discrete, Space
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.typing import AgentID

from rllib_amagail.algorithm.demonstration_checks import check_teaching
from rllib_amagail.algorithm.env_check import GameDescription, inspect_environment
from rllib_amagail.algorithm.field_checks import check_fields
from rllib_amagail.algorithm.imitation_settings import ImitationSettings, imitation_fields
from rllib_amagail.algorithm.runner_choice import choose_env_runner
from rllib_amagail.algorithm.structure_checks import check_agents
from rllib_amagail.demonstrations import Catalogue, Demonstrations, bundled_path
from rllib_amagail.demonstrations.imitated import imitated
from rllib_amagail.demonstrations.past_turns import with_history
from rllib_amagail.judge import JOINT
from rllib_amagail.learner.agent_module import OTHERS_SIZE, AgentModule
from rllib_amagail.learner.discriminator import Discriminator, discriminator_id
from rllib_amagail.learner.joint_critic import AddOthers
from rllib_amagail.learner.joint_rows import JointStructure
from rllib_amagail.learner.joint_view import JointView
from rllib_amagail.learner.learner import AMAGAILTorchLearner
from rllib_amagail.learner.learner_group import JointLearnerGroup
from rllib_amagail.learner.phi_filter import FilterPhi
from rllib_amagail.learner.shared_demonstrations import SharedDemonstrations
from rllib_amagail.learner.turns import EpisodesToTurns
from rllib_amagail.row_encoder import DiscriminatorInputs
from rllib_amagail.runners.turn_env_runner import SortModules


def own_policy(agent_id: AgentID, episode: Any, **kwargs: Any) -> str:
    """The default mapping: every agent has a policy of its own, named like the agent."""
    return str(agent_id)


class AMAGAILConfig(ImitationSettings):
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
        # Policies choose what the environment executes, as experts do in their demonstrations, and
        # not numbers from -1 to 1 that are stretched to the bounds of a Box.
        self.normalize_actions = False
        self.clip_actions = True
        self.num_env_runners = 0
        self.batch_mode = "truncate_episodes"
        self.add_default_connectors_to_learner_pipeline = False
        self.gamma = 0.95
        self.lambda_ = 0.95
        self.num_epochs = 4
        self.clip_param = 0.2
        self.vf_clip_param = float("inf")
        self.entropy_coeff = 1e-3
        self.use_kl_loss = False
        self.grad_clip = None
        self._possible_agents: tuple[str, ...] = ()  # known when validated

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
                + " AMAGAIL's own keys are the arguments of AMAGAILConfig.imitation() and "
                ".kfac(), the others those of RLlib's PPOConfig."
            )
        config_dict = {k: v for k, v in config_dict.items() if not k.startswith("__")}
        if "generator" in config_dict:  # before the rest, which may override its defaults
            self.imitation(generator=config_dict["generator"])
        if "model_config" in config_dict:  # RLlib keeps it under a private name
            self.rl_module(model_config=self._model_config | config_dict.pop("model_config"))
        return super().update_from_dict(config_dict)

    def get_state(self) -> dict[str, Any]:
        """As of RLlib, which leaves out what is -1: it takes that for a setting of the past."""
        return {name: getattr(self, name) for name in imitation_fields()} | super().get_state()

    @property
    def uses_demonstrations(self) -> bool:
        """Whether Z is needed: not to train on the true reward."""
        return self.reward_source != "environment"

    def shaping_discount(self, module_id: str) -> float | None:
        """Gamma of the shaping term in a module's rewards; None without one."""
        return self.get_config_for_module(module_id).gamma if self.reward_shaping else None

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
        if isinstance(source, SharedDemonstrations):
            source = source.get()
        elif not isinstance(source, Demonstrations):
            source = Demonstrations.load(source)
        if self.num_demonstrations is None:
            return imitated(source, self.imitated_agents)
        if self.num_demonstrations > source.num_episodes:
            raise ValueError(
                f"num_demonstrations is {self.num_demonstrations}, but the demonstrations have "
                f"{source.num_episodes} episodes"
            )
        return imitated(source.head(self.num_demonstrations), self.imitated_agents)

    def streamed_demonstrations(self) -> Catalogue | None:
        """The files of Z, if it is larger than ``demonstrations_memory``; None if it fits.

        Raises:
            DemonstrationsError: files that are no demonstrations, or of different games.
            ValueError: fewer episodes than ``num_demonstrations``.
        """
        source = self.demonstrations
        if source is None or isinstance(source, Demonstrations | SharedDemonstrations):
            return None
        catalogue = Catalogue.read(source)
        if self.num_demonstrations is not None:
            catalogue = catalogue.head(self.num_demonstrations)
        return catalogue if catalogue.num_bytes > self.demonstrations_memory else None

    def sample_demonstrations(self) -> Demonstrations:
        """Z, or the first file of it where it is streamed, as policies see it.

        Raises as `load_demonstrations` and `with_past_turns`.
        """
        catalogue = self.streamed_demonstrations()
        if catalogue is None:
            return with_history(self.load_demonstrations(), self.shown_past)
        first = imitated(catalogue.parts[0].load(), self.imitated_agents)
        return with_history(first, self.shown_past)

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
            self._possible_agents = game.agents
            self.check_game(game)
            if set(self.policies) == {DEFAULT_MODULE_ID}:
                self.multi_agent(policies=list(game.agents), policy_mapping_fn=own_policy)
            # In one order in every process: seeded weights depend on it.
            self.multi_agent(policies={mid: self.policies[mid] for mid in sorted(self.policies)})
            check_agents(self, game.agents)
            if self.env_runner_cls is None:
                self.env_runner_cls = choose_env_runner(self, game.is_batched)
            if self.uses_demonstrations:
                demonstrations = self.sample_demonstrations()
                taught = tuple(filter(self.imitates, game.agents))
                replace(game, agents=taught).check_demonstrations(demonstrations)
                check_teaching(self, demonstrations)
        super().validate()

    def check_game(self, game: GameDescription) -> None:
        """Refuse, by a ValueError, a game that the algorithm is not for: a hook for baselines."""

    # --- what RLlib asks for ---------------------------------------------------------------------

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """The policy module of every agent."""
        return RLModuleSpec(module_class=AgentModule)

    def get_default_learner_class(self) -> type:
        """The learner that plays Algorithm 1."""
        return AMAGAILTorchLearner

    def build_learner_group(
        self,
        *,
        env: Any = None,
        spaces: dict[str, tuple[Space, Space]] | None = None,
        rl_module_spec: MultiRLModuleSpec | None = None,
        placement_group: Any = None,
    ) -> JointLearnerGroup:
        """RLlib's group of learners, whose errors tell the cause."""
        spec = rl_module_spec or self.get_multi_rl_module_spec(env=env, spaces=spaces)
        return JointLearnerGroup(
            config=self.copy(), module_spec=spec, placement_group=placement_group
        )

    def get_multi_rl_module_spec(self, **kwargs: Any) -> MultiRLModuleSpec:
        """The agents' modules and, for learners, discriminators."""
        spec = super().get_multi_rl_module_spec(**kwargs)
        if self.critic == "joint" and not kwargs.get("inference_only"):
            self._widen_critics(spec.rl_module_specs)
        if kwargs.get("inference_only") or self.reward_source != "discriminator":
            return spec
        spec.add_modules(self._discriminators(spec.rl_module_specs))
        return spec

    def _discriminators(self, specs: Mapping[str, RLModuleSpec]) -> dict[str, RLModuleSpec]:
        """One beside each of these modules, or one for all."""
        spaces = {m: (s.observation_space, s.action_space) for m, s in specs.items()}
        structure = JointStructure.from_config(self, spaces)
        if structure is not None:  # joint rows are all it sees, actions included
            return {JOINT: self._discriminator(structure.row_space, Discrete(1), "state", None)}
        judged = self.discriminator_inputs
        return {
            discriminator_id(m): self._discriminator(*spaces[m], judged, self.shaping_discount(m))
            for m in self.taught_modules()
        }

    def _discriminator(
        self, seen: Space, actions: Space, judged: DiscriminatorInputs, discount: float | None
    ) -> RLModuleSpec:
        return RLModuleSpec(
            module_class=Discriminator,
            observation_space=seen,
            action_space=actions,
            model_config={
                "hiddens": list(self.discriminator_hiddens),
                "judged": judged,
                "shaping_discount": discount,
            },
            learner_only=True,
        )

    def _widen_critics(self, specs: Mapping[str, RLModuleSpec]) -> None:
        spaces = {m: (s.observation_space, s.action_space) for m, s in specs.items()}
        view = JointView.from_spaces(self.modules_of_agents(), spaces)
        for module_id, spec in specs.items():
            spec.model_config = {**spec.model_config, OTHERS_SIZE: view.size(module_id)}

    def modules_of_agents(self) -> dict[str, str]:
        """Agent to the id of its policy module; known when the config is validated."""
        return {agent: self.policy_mapping_fn(agent, None) for agent in self._possible_agents}

    def taught_modules(self) -> list[str]:
        """Ids of the policies that have an expert to imitate."""
        modules = self.modules_of_agents()
        return sorted({module for agent, module in modules.items() if self.imitates(agent)})

    def build_env_to_module_connector(self, *args: Any, **kwargs: Any) -> ConnectorV2:
        """RLlib's pipeline, with the modules in one order in every process."""
        pipeline = super().build_env_to_module_connector(*args, **kwargs)
        pipeline.append(SortModules())
        return pipeline

    def build_learner_connector(self, *args: Any, **kwargs: Any) -> ConnectorV2:
        """Custom connectors, episodes to turns, the phi filter, what a joint critic sees."""
        pipeline = AlgorithmConfig.build_learner_connector(self, *args, **kwargs)
        gammas = {mid: self.get_config_for_module(mid).gamma for mid in self.policies}
        pipeline.append(EpisodesToTurns(gammas=gammas))
        if self.phi == "filtered":
            pipeline.append(FilterPhi(gammas=gammas))
        if self.critic == "joint":
            pipeline.append(AddOthers(modules=self.modules_of_agents()))
        return pipeline
