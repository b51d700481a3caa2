"""One look at the environment in the driver, so that its real error comes first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import gymnasium as gym
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.env.env_context import EnvContext
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_amagail.demonstrations import Demonstrations
from rllib_amagail.envs.past_turns_env import with_history
from rllib_amagail.learner.expert_rows import Phi


@dataclass(frozen=True)
class GameDescription:
    """Agents and spaces of an environment, without the phi that a setting may have added."""

    agents: tuple[str, ...]
    observation_spaces: Mapping[str, gym.Space]
    action_spaces: Mapping[str, gym.Space]
    is_batched: bool  # can be played as arrays of worlds

    def check_demonstrations(self, demonstrations: Demonstrations) -> None:
        """Raise `DemonstrationsError` unless policies of this game can learn from them."""
        demonstrations.check_compatible(self.agents, self.observation_spaces, self.action_spaces)
        demonstrations.check_trainable(min_rows=2)


def inspect_environment(config: AlgorithmConfig, phi: Phi) -> GameDescription:
    """Create the configured environment once and describe it.

    Args:
        config: names the environment and has its settings.
        phi: what becomes of phi; the environment must offer it as an action unless "filtered".

    Raises:
        ValueError: it is no `MultiAgentEnv`, lacks agents or spaces, or offers no phi although phi
            is to be an action. What the environment itself raises comes through.
    """
    _, create = Algorithm._get_env_id_and_creator(config.env, config)
    env = create(EnvContext(config.env_config, worker_index=0))
    try:
        env = env.unwrapped
        if not isinstance(env, MultiAgentEnv):
            raise ValueError(
                f"environment {config.env!r} is a {type(env).__name__}; expected an RLlib "
                "MultiAgentEnv. Wrap a PettingZoo parallel environment in "
                "rllib_amagail.TurnBasedEnv."
            )
        agents = tuple(env.possible_agents or ())
        if not agents or not env.observation_spaces or not env.action_spaces:
            raise ValueError(
                f"environment {config.env!r} must set possible_agents, observation_spaces and "
                f"action_spaces; found agents {agents}"
            )
        env = with_history(env, config)
        for agent in agents:
            space = env.action_spaces[agent]
            if isinstance(space, gym.spaces.Discrete) and space.start != 0:
                raise ValueError(f"agent {agent!r} acts in {space}; expected actions from 0 on")
        phi_is_action = getattr(env, "phi_is_action", False)
        if phi_is_action != (phi != "filtered"):
            raise ValueError(
                f"phi is {phi!r}, but the environment has phi_is_action="
                f"{phi_is_action}. Pass the environment's config key phi_is_action on to "
                "TurnBasedEnv(phi_is_action=...)."
            )
        return GameDescription(
            agents,
            dict(getattr(env, "base_observation_spaces", env.observation_spaces)),
            dict(getattr(env, "base_action_spaces", env.action_spaces)),
            hasattr(env, "batched"),
        )
    finally:
        env.close()
