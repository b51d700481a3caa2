"""Which env runner plays: the batched one where it can, RLlib's own elsewhere."""

from __future__ import annotations

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.utils import force_list

from rllib_amagail.runners.batched_env_runner import BatchedEnvRunner
from rllib_amagail.runners.batched_runner_setup import check_config
from rllib_amagail.runners.turn_env_runner import TurnEnvRunner

# Hooks that are called in the middle of an episode, which only exists in RLlib's own runner.
_STEPWISE_HOOKS = ("on_episode_created", "on_episode_start", "on_episode_step")


def choose_env_runner(config: AlgorithmConfig, is_batched: bool) -> type[EnvRunner]:
    """`BatchedEnvRunner` for batched environments, unless something needs RLlib's own runner.

    Connectors between environment and module do, as do recurrent policies, modules of the user's
    and callbacks in the middle of episodes.
    """
    is_recurrent = config.model_config.get("use_lstm", False)
    if not is_batched or is_recurrent or config._rl_module_spec is not None:
        return TurnEnvRunner
    callbacks = force_list(config.callbacks_class)
    for hook in _STEPWISE_HOOKS:
        overridden = any(getattr(c, hook) is not getattr(RLlibCallback, hook) for c in callbacks)
        if overridden or getattr(config, f"callbacks_{hook}"):
            return TurnEnvRunner
    try:
        check_config(config)
    except ValueError:
        return TurnEnvRunner
    return BatchedEnvRunner
