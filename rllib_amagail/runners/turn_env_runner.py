"""RLlib's multi-agent env runner with random streams of its own, so that a restore continues them.

Stock `MultiAgentEnvRunner` samples actions from torch's global generator, keeps no environment
state in checkpoints, and in ``complete_episodes`` mode seeds its environments with the same seed
before every `sample()`, which replays the same initial states for ever.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode
from ray.rllib.utils.error import MultiAgentEnvError
from ray.rllib.utils.typing import EpisodeType

from rllib_amagail.envs.past_turns_env import with_history
from rllib_amagail.runners.batched_runner_setup import env_from
from rllib_amagail.runners.env_faults import EnvironmentFaultError, NamesEnvironmentFaults
from rllib_amagail.runners.observed_checks import check_given
from rllib_amagail.runners.open_episodes import (
    EpisodeLog,
    get_open_episodes,
    resume,
    streams_of,
)

RANDOM_STREAMS = "random_streams"


class TurnEnvRunner(NamesEnvironmentFaults, MultiAgentEnvRunner):
    """Samples episodes of `TurnBasedEnv` and other multi-agent environments.

    Its state holds the action sampler's stream and, where environments offer ``get_state`` and
    ``set_state``, theirs. With it, a runner of the same worker index goes on exactly: episodes
    under way are played again from their beginnings, with the actions that were taken. Where that
    does not lead to the same observations, and without ``get_state``, they begin anew.

    Raises:
        EnvironmentFaultError: in `sample`, if an environment fails, see `NamesEnvironmentFaults`.
    """

    config: AlgorithmConfig
    _seed: int | None

    def __init__(self, config: AlgorithmConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        generator = torch.Generator()
        if self._seed is None:
            generator.seed()
        else:
            generator.manual_seed(self._seed)
        self._action_stream = generator.get_state()

    def make_env(self) -> None:
        """As RLlib's, with environments that know how their episodes came about."""
        configured = self.config
        if getattr(configured, "shown_past", None):  # environments are to show the past
            self.config = configured.copy(copy_frozen=False)
            self.config.env = partial(_create_with_history, configured)
        try:
            super().make_env()
        finally:
            self.config = configured
        self.env.envs = [EpisodeLog(env) for env in self.env.envs]

    def sample(self, **kwargs: Any) -> list[MultiAgentEpisode]:
        """As RLlib's, with actions drawn from this runner's own stream."""
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._action_stream)
            try:
                episodes = super().sample(**kwargs)
            except Exception as error:
                self._needs_initial_reset = True  # the episodes under way are of no use any more
                if isinstance(error, MultiAgentEnvError):
                    raise EnvironmentFaultError(self._fault("step()", error)) from error
                raise
            self._action_stream = torch.get_rng_state()
        if self.config.seed is not None:
            self._seed = None  # seeded once; from here on the environments' streams continue
        return episodes

    def _step_env(self, actions: Any) -> Any:
        results = super()._step_env(actions)
        for index, (observations, rewards, *_) in enumerate(zip(*results, strict=True)):
            self._check(index, observations, rewards)
        return results

    def _reset_env(self, seed: int | None, options: dict | None) -> Any:
        observations, infos = super()._reset_env(seed, options)
        for index, shown in enumerate(observations):
            self._check(index, shown)
        return observations, infos

    def _check(self, index: int, observations: Any, rewards: Any = None) -> None:
        try:
            check_given(self.env.envs[index].unwrapped.observation_spaces, observations, rewards)
        except ValueError as error:
            raise ValueError(f"world {index}: {error}") from None

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """RLlib's state and the random streams."""
        state = super().get_state(components, not_components=not_components, **kwargs)
        if self._check_component(RANDOM_STREAMS, components, not_components):
            state[RANDOM_STREAMS] = {
                "of": self._identity(),
                "actions": self._action_stream.numpy().copy(),
                "environments": [
                    streams_of(env) for env in (self.env.envs if self.env is not None else [])
                ],
                "seeded": self._seed is None,
                "open_episodes": get_open_episodes(self),
            }
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue the streams of a state of `get_state`, if it is this runner's own.

        RLlib gives a runner that it had to start anew the state of another one.
        """
        super().set_state(state)
        streams = state.get(RANDOM_STREAMS)
        if streams is None or streams.get("of", self._identity()) != self._identity():
            return
        self._action_stream = torch.tensor(streams["actions"], dtype=torch.uint8)
        if self.env is None or not streams["seeded"]:
            return
        self._seed = None
        self._needs_initial_reset = True
        open_episodes = streams.get("open_episodes")
        if open_episodes and resume(self, open_episodes, streams["environments"]):
            return
        for env, found in zip(self.env.envs, streams["environments"], strict=False):
            if found is not None:
                env.unwrapped.set_state(found)

    def _identity(self) -> list[int]:
        """Whose streams these are: no two runners may have the same."""
        return [self.worker_index or 0, int(self.config.in_evaluation), self.num_envs]


def _create_with_history(config: Any, context: Any) -> Any:
    return with_history(env_from(config.env, context).unwrapped, config)


class SortModules(ConnectorV2):
    """Puts the modules of a forward pass into sorted order.

    RLlib's own order is that of a set of agents and differs between processes; sampled actions
    would differ with it.
    """

    def __call__(
        self,
        *,
        rl_module: RLModule,
        batch: dict[str, Any],
        episodes: list[EpisodeType],
        explore: bool | None = None,
        shared_data: dict | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        return {module_id: batch[module_id] for module_id in sorted(batch)}
