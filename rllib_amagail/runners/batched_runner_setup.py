"""What a `BatchedEnvRunner` can be configured to do, and the environment that it plays."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.callbacks.utils import make_callback
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModule
from ray.rllib.env.env_context import EnvContext
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.env.utils import _gym_env_creator
from ray.rllib.utils import force_list
from ray.tune.registry import ENV_CREATOR, _global_registry

from rllib_amagail.envs.past_turns_env import with_history

INSTEAD = "set env_runner_cls=TurnEnvRunner for that"


def check_config(config: AlgorithmConfig) -> None:
    """Raise ValueError for what `BatchedEnvRunner` would ignore."""
    if not config.is_multi_agent:
        raise ValueError(
            "no policies are configured, expected one or more: call "
            "config.multi_agent(policies=..., policy_mapping_fn=...)"
        )
    for name in ("env_to_module_connector", "module_to_env_connector"):
        if getattr(config, f"_{name}") is not None:
            raise ValueError(
                f"{name} is set, expected none: BatchedEnvRunner has no connectors between "
                f"environment and module; {INSTEAD}"
            )


def check_module(module: MultiRLModule) -> None:
    """Raise ValueError for policies that must not be asked one by one, or that have states."""
    own_forward = type(module)._forward_exploration is not MultiRLModule._forward_exploration
    if own_forward or module.is_stateful():
        found = f"{type(module).__name__} has its own forward" if own_forward else "it is recurrent"
        raise ValueError(
            f"the module cannot be played by BatchedEnvRunner because {found}, expected policies "
            f"without states in a MultiRLModule: {INSTEAD}"
        )


def create_env(config: AlgorithmConfig, worker_index: int | None) -> tuple[Any, EnvContext]:
    """The environment of ``config.env``, unwrapped, as RLlib's runners create it."""
    context = EnvContext(
        config.env_config,
        worker_index=worker_index or 0,
        num_workers=config.num_env_runners,
        remote=config.remote_worker_envs,
    )
    return with_history(env_from(config.env, context).unwrapped, config), context


def env_from(env: str | type, context: EnvContext) -> Any:
    """An environment by a name that Ray Tune or Gymnasium knows, or by its class."""
    if isinstance(env, str) and _global_registry.contains(ENV_CREATOR, env):
        return _global_registry.get(ENV_CREATOR, env)(context)
    return _gym_env_creator(context, env)


def policies_of_agents(config: AlgorithmConfig, env: Any) -> dict[str, str]:
    """Agent to the id of its policy, in order.

    Raises:
        ValueError: if agents with different spaces share a policy.
    """
    mapping = config.policy_mapping_fn
    module_of: dict[str, str] = {agent: mapping(agent, None) for agent in env.possible_agents}
    spaces: dict[str, tuple[Any, Any]] = {}
    for agent, module_id in module_of.items():
        own = (env.observation_spaces[agent], env.action_spaces[agent])
        shared = spaces.setdefault(module_id, own)
        if own != shared:
            raise ValueError(
                f"agent {agent!r} has spaces {own}, expected {shared} like the other agents of "
                f"policy {module_id!r}: give it a policy of its own in policy_mapping_fn"
            )
    return module_of


class RunnerCallbacks:
    """Calls the hooks that `BatchedEnvRunner` has; see there what they are given."""

    def __init__(self, env_runner: Any) -> None:
        self._env_runner = env_runner
        self._config = env_runner.config
        self._objects = [callback() for callback in force_list(self._config.callbacks_class)]

    def environment_created(self, env: Any, context: EnvContext) -> None:
        """After an environment has been created."""
        self._call("on_environment_created", env=env, env_context=context)

    def sample_end(self, samples: list[SingleAgentEpisode], env: Any) -> None:
        """After sampling: one call for every episode that ended, one for all samples."""
        if self._is_defined("on_episode_end"):
            ended: dict[str, list[SingleAgentEpisode]] = defaultdict(list)
            for episode in samples:
                if episode.is_done:
                    ended[episode.multi_agent_episode_id].append(episode)
            for episodes in ended.values():
                self._call(
                    "on_episode_end",
                    episode=episodes,
                    prev_episode_chunks=[],
                    env=env,
                    env_index=episodes[0].custom_data["world"],
                    rl_module=self._env_runner.module,
                )
        self._call("on_sample_end", samples=samples)

    def _is_defined(self, hook: str) -> bool:
        default = getattr(RLlibCallback, hook)
        has_method = any(getattr(type(o), hook) is not default for o in self._objects)
        return has_method or bool(getattr(self._config, f"callbacks_{hook}"))

    def _call(self, hook: str, **kwargs: Any) -> None:
        runner = {"env_runner": self._env_runner, "metrics_logger": self._env_runner.metrics}
        functions = getattr(self._config, f"callbacks_{hook}")
        make_callback(hook, self._objects, functions, kwargs={**runner, **kwargs})


@contextmanager
def paused_garbage_collection() -> Iterator[None]:
    """No garbage collection: thousands of small arrays would set off full ones, of no use."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def sampling_stream(state: torch.Tensor) -> Iterator[torch.Tensor]:
    """Let torch draw from a stream of its own, on one thread.

    One, because the few rows of a round are not worth the others: these wait for each other longer
    than they calculate.

    Args:
        state: of the stream; brought up to date at the end.
    """
    num_threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(state)
        torch.set_num_threads(1)
        try:
            yield state
        finally:
            torch.set_num_threads(num_threads)
            state.copy_(torch.get_rng_state())
