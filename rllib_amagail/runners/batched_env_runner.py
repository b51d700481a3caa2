"""RLlib's EnvRunner for environments whose worlds are arrays.

`TurnEnvRunner` steps B environments one by one, in Python. `BatchedEnvRunner` steps B worlds at
once, asks each policy once a round, and makes the same episodes of them.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import ray
import torch
from gymnasium.spaces import Dict, Space
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import (
    COMPONENT_ENV_TO_MODULE_CONNECTOR,
    COMPONENT_MODULE_TO_ENV_CONNECTOR,
    COMPONENT_RL_MODULE,
)
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES, INPUT_ENV_SPACES
from ray.rllib.env.env_context import EnvContext
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.checkpoints import Checkpointable
from ray.rllib.utils.framework import get_device
from ray.rllib.utils.metrics import (
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    SAMPLE_TIMER,
    TIME_BETWEEN_SAMPLING,
    WEIGHTS_SEQ_NO,
)

from rllib_amagail.runners.batched_policies import BatchedPolicies, UniformPolicies
from rllib_amagail.runners.batched_rollout import ActionRules, BatchedRollout, Goal
from rllib_amagail.runners.batched_runner_setup import (
    RunnerCallbacks,
    check_config,
    check_module,
    create_env,
    paused_garbage_collection,
    policies_of_agents,
    sampling_stream,
)
from rllib_amagail.runners.batched_worlds import AutoResetWorlds, PlayedRound
from rllib_amagail.runners.env_faults import NamesEnvironmentFaults

ROLLOUT = "rollout"  # what is in the state besides RLlib's components


class BatchedEnvRunner(NamesEnvironmentFaults, Checkpointable):
    """Plays B = ``num_envs_per_env_runner`` worlds of an environment with a method ``batched``.

    The environment of ``config.env`` tells agents and spaces, and its ``batched(batch_size, seed)``
    gives the `BatchedWorlds` to play. As in `TurnBasedEnv`, ``phi_is_action`` or ``show_everyone``
    make all agents act in every round, and an agent that chooses ``phi_action(agent)`` executes the
    null action 0. Otherwise only participants act.

    The state holds the random streams, the worlds and the open turns. With it, a runner of the same
    worker index and B goes on exactly, in the middle of episodes, or with new ones if the worlds
    have ``resumes_episodes = False``. One of another kind takes over weights and counters only.

    Callbacks: ``on_environment_created`` gets the environment, ``on_sample_end`` the episodes.
    ``on_episode_end`` gets a list as ``episode``: the agents' SingleAgentEpisodes that ended, of
    episodes cut before their last chunks. The other hooks of episodes are not called.

    Raises:
        TypeError: if the environment has no ``batched``; see `AutoResetWorlds`.
        ValueError: for worlds, policies or settings that are not supported; use `TurnEnvRunner`
            for recurrent policies and for connectors between environment and module.
    """

    def __init__(self, config: AlgorithmConfig, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        check_config(self.config)
        self.spaces: dict[str, tuple[Space, Space]] = kwargs.get("spaces") or {}
        self._callbacks = RunnerCallbacks(self)
        num_gpus = self.config.num_gpus_per_env_runner if self.worker_index else 0
        self._device = get_device(self.config, num_gpus)
        self._seeds = np.random.SeedSequence(self._seed)
        self._rng = np.random.default_rng(self._next_seed())
        self._torch_stream = torch.Generator().manual_seed(self._next_seed()).get_state()
        self._acted_randomly = False
        self._weights_seq_no = 0
        self._end_of_sample: float | None = None
        self.env: Any = None  # AutoResetWorlds
        self.num_envs = 0
        self._rollout: Any = None  # BatchedRollout
        only_for_remote_runners = self.worker_index == 0 and self.config.num_env_runners > 0
        if not only_for_remote_runners or self.config.create_env_on_local_worker:
            self.make_env()
        # Algorithm saves, merges and restores these pipelines; nothing passes through them.
        spaces = self._env_spaces()
        self._env_to_module = self.config.build_env_to_module_connector(
            spaces=spaces, device=self._device
        )
        self._module_to_env = self.config.build_module_to_env_connector(spaces=spaces)
        self.module: Any = None  # MultiRLModule
        self.make_module()

    def sample(
        self,
        *,
        num_timesteps: float | None = None,
        num_episodes: int | None = None,
        explore: bool | None = None,
        random_actions: bool = False,
        force_reset: bool = False,
    ) -> list[SingleAgentEpisode]:
        """Play on. Without a number: a rollout fragment of every world, or else B episodes.

        Args:
            num_timesteps: the rounds of worlds to play at least, at most B - 1 more. With
                ``count_steps_by="agent_steps"`` turns are counted.
            num_episodes: how many new episodes to play and return. Each world plays its share of
                them, so that short episodes are not preferred.
            explore: draw actions, or take the likeliest. None: as configured.
            random_actions: act without policies, and record no ``action_logp``. Such an episode is
                not continued with policies, nor the other way round.
            force_reset: begin with new episodes.

        Returns:
            Episodes that ended, and unless whole ones were asked for, chunks of those under way;
            see `TurnRecorder`.

        Raises:
            ValueError: if both numbers are given, or there is no environment.
            EnvironmentFaultError: if the environment fails, see `NamesEnvironmentFaults`.
        """
        if num_timesteps is not None and num_episodes is not None:
            raise ValueError(
                f"num_timesteps is {num_timesteps} and num_episodes is {num_episodes}, expected "
                f"one of them at most"
            )
        if self._rollout is None:
            raise ValueError("this runner has no environment: sample from the remote runners")
        if self._end_of_sample is not None:
            pause = time.perf_counter() - self._end_of_sample
            self.metrics.log_value(TIME_BETWEEN_SAMPLING, pause)
        self.metrics.log_value(WEIGHTS_SEQ_NO, self._weights_seq_no, window=1)
        goal = self._goal(num_timesteps, num_episodes)
        with (
            self.metrics.log_time(SAMPLE_TIMER),
            sampling_stream(self._torch_stream),
            paused_garbage_collection(),
        ):
            other_kind = random_actions != self._acted_randomly
            if force_reset or other_kind or not goal.cuts_episodes or self._rollout.needs_reset:
                self._rollout.reset()
            self._acted_randomly = random_actions
            policies = self._policies(explore, random_actions)
            samples = self._rollout.collect(policies, self._step, goal)
            num_env_steps = self._rollout.metrics.log_steps(self.metrics)
            if num_env_steps:
                self._log_env_steps(self._metrics_num_env_steps_sampled, num_env_steps)
            self._callbacks.sample_end(samples, self.env.unwrapped)
        self._end_of_sample = time.perf_counter()
        return samples

    def get_spaces(self) -> dict[str, tuple[Space, Space]]:
        """Observation and action spaces of the environment and of every policy."""
        if self.env is None:
            return self.spaces
        action_spaces = self._env_to_module.action_space
        return self._env_spaces() | {
            module_id: (space, action_spaces[module_id])
            for module_id, space in self._env_to_module.observation_space.spaces.items()
        }

    def get_metrics(self) -> dict[str, Any]:
        """Steps, and means over the episodes that ended since the last call."""
        if self._rollout is not None:
            smoothing = self.config.metrics_num_episodes_for_smoothing
            window = max(1, math.ceil(smoothing / (self.config.num_env_runners or 1)))
            self._rollout.metrics.log_episodes(self.metrics, window)
        return self.metrics.reduce()

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Weights, counters, connectors, and the component "rollout"."""
        state: dict[str, Any] = {
            NUM_ENV_STEPS_SAMPLED_LIFETIME: self.num_env_steps_sampled_lifetime
        }

        def wanted(name: str) -> bool:
            return self._check_component(name, components, not_components)

        if wanted(COMPONENT_RL_MODULE):
            state[COMPONENT_RL_MODULE] = self.module.get_state(
                components=self._get_subcomponents(COMPONENT_RL_MODULE, components),
                not_components=self._get_subcomponents(COMPONENT_RL_MODULE, not_components),
                **kwargs,
            )
            state[WEIGHTS_SEQ_NO] = self._weights_seq_no
        if wanted(COMPONENT_ENV_TO_MODULE_CONNECTOR):
            state[COMPONENT_ENV_TO_MODULE_CONNECTOR] = self._env_to_module.get_state()
        if wanted(COMPONENT_MODULE_TO_ENV_CONNECTOR):
            state[COMPONENT_MODULE_TO_ENV_CONNECTOR] = self._module_to_env.get_state()
        if wanted(ROLLOUT) and self._rollout is not None:
            state[ROLLOUT] = {
                "of": self._identity(),
                "generator": copy.deepcopy(self._rng.bit_generator.state),
                "torch_stream": self._torch_stream.numpy().copy(),
                "acted_randomly": self._acted_randomly,
                "worlds": self._rollout.get_state(),
            }
        return state

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` has; weights only if they are newer than the present ones."""
        if COMPONENT_ENV_TO_MODULE_CONNECTOR in state:
            self._env_to_module.set_state(state[COMPONENT_ENV_TO_MODULE_CONNECTOR])
        if COMPONENT_MODULE_TO_ENV_CONNECTOR in state:
            self._module_to_env.set_state(state[COMPONENT_MODULE_TO_ENV_CONNECTOR])
        if COMPONENT_RL_MODULE in state:
            number = state.get(WEIGHTS_SEQ_NO, 0)  # 0: to be taken in any case
            if number == 0 or number > self._weights_seq_no:
                weights = state[COMPONENT_RL_MODULE]
                is_reference = isinstance(weights, ray.ObjectRef)
                self.module.set_state(ray.get(weights) if is_reference else weights)
            self._weights_seq_no = number or self._weights_seq_no
        if NUM_ENV_STEPS_SAMPLED_LIFETIME in state:
            self.num_env_steps_sampled_lifetime = state[NUM_ENV_STEPS_SAMPLED_LIFETIME]
        rollout = state.get(ROLLOUT)
        if rollout and self._rollout is not None and rollout["of"] == self._identity():
            self._rng.bit_generator.state = copy.deepcopy(rollout["generator"])
            self._torch_stream = torch.tensor(rollout["torch_stream"], dtype=torch.uint8)
            self._acted_randomly = rollout["acted_randomly"]
            self._rollout.set_state(rollout["worlds"])

    def get_ctor_args_and_kwargs(self) -> tuple[tuple, dict[str, Any]]:
        """As of RLlib's runners: the configuration."""
        return (), {"config": self.config}

    def get_checkpointable_components(self) -> list[tuple[str, Any]]:
        """The policies and the connectors."""
        return [
            (COMPONENT_RL_MODULE, self.module),
            (COMPONENT_ENV_TO_MODULE_CONNECTOR, self._env_to_module),
            (COMPONENT_MODULE_TO_ENV_CONNECTOR, self._module_to_env),
        ]

    def assert_healthy(self) -> None:
        """Raise AssertionError unless there are an environment and policies."""
        assert self.env is not None
        assert self.module is not None

    def make_env(self) -> None:
        """Create the environment and its worlds anew; episodes under way are forgotten."""
        with self._making_env():
            self.stop()
            env, context = self._create_env()
        self.num_envs = self.config.num_envs_per_env_runner
        self.env = AutoResetWorlds(env, self.num_envs, self._next_seed())
        self._module_of = policies_of_agents(self.config, env)
        self._rollout = BatchedRollout(
            self.env,
            self._module_of,
            {m: self.config.get_config_for_module(m).gamma for m in self._module_of.values()},
            ActionRules(self.config.normalize_actions, self.config.clip_actions),
            self._reset_worlds,
            count_agent_steps=self.config.count_steps_by == "agent_steps",
        )
        self._callbacks.environment_created(env, context)

    def make_module(self) -> None:
        """Build the policies for inference."""
        spec = self.config.get_multi_rl_module_spec(spaces=self.get_spaces(), inference_only=True)
        self.module = spec.build()
        check_module(self.module)
        self.module.foreach_module(lambda _, module: module.to(self._device))

    def stop(self) -> None:
        """Close the environment."""
        if self.env is not None:
            self.env.close()

    def _create_env(self) -> tuple[Any, EnvContext]:
        """The environment whose ``batched`` gives the worlds."""
        return create_env(self.config, self.worker_index)

    def _next_seed(self) -> int:
        return int(self._seeds.spawn(1)[0].generate_state(1)[0])

    def _identity(self) -> list[int]:
        """Whose rollout it is: streams are not to be shared by training and evaluation runners."""
        return [self.worker_index or 0, int(self.config.in_evaluation), self.num_envs]

    def _env_spaces(self) -> dict[str, tuple[Space, Space]]:
        if self.env is None:
            return self.spaces
        env = self.env.unwrapped
        spaces = (Dict(dict(env.observation_spaces)), Dict(dict(env.action_spaces)))
        return {INPUT_ENV_SPACES: spaces, INPUT_ENV_SINGLE_SPACES: spaces}

    def _goal(self, num_timesteps: float | None, num_episodes: int | None) -> Goal:
        if num_timesteps is None and num_episodes is None:
            if self.config.batch_mode == "truncate_episodes":
                fragment = self.config.get_rollout_fragment_length(self.worker_index or 0)
                num_timesteps = fragment * self.num_envs
            else:
                num_episodes = self.num_envs
        if num_timesteps is not None:
            return Goal.of_steps(num_timesteps, self.num_envs)
        return Goal.of_episodes(num_episodes or 0, self.num_envs)

    def _policies(
        self, explore: bool | None, random_actions: bool
    ) -> BatchedPolicies | UniformPolicies:
        if random_actions:
            return UniformPolicies(self.env.unwrapped.action_spaces, self._rng)
        return BatchedPolicies(
            self.module,
            self._module_of,
            self._device,
            self._rng,
            explore=self.config.explore if explore is None else explore,
            timestep=self.num_env_steps_sampled_lifetime,
            timesteps_per_step=self.config.num_env_runners or 1,
        )

    def _step(self, actions: np.ndarray) -> PlayedRound | None:
        rollout, played = self._rollout, self._try_env_step(actions)
        if isinstance(played, PlayedRound):
            return played
        self._keep(rollout)
        return None

    def _reset_worlds(self) -> None:
        rollout = self._rollout
        self._try_env_reset()
        self._keep(rollout)

    def _reset_env(self, seed: int | None, options: dict | None) -> None:
        self.env.reset()

    def _keep(self, rollout: BatchedRollout) -> None:
        """Go on with a rollout: `make_env` may not cost the episodes that ended before."""
        rollout.worlds, self._rollout = self.env, rollout
