"""Agents and spaces of demonstrations in the place of an environment that nobody has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_amagail.demonstrations import Demonstrations
from rllib_amagail.envs.null_actions import action_space_with_phi, observation_space_with_phi


class DemonstratedSpaces(MultiAgentEnv):
    """Tells agents and spaces, as RLlib needs them to build policies, and cannot be played.

    Args:
        env_config: under `SPACES` what `describe` gave; ``phi_is_action`` adds phi as the last
            action of the agents that the demonstrations show abstaining.

    Raises:
        ValueError: phi cannot extend an action space.
    """

    SPACES = "demonstrated_spaces"

    def __init__(self, env_config: Mapping[str, Any]) -> None:
        super().__init__()
        described = env_config[self.SPACES]
        self.base_observation_spaces = dict(described["observation_spaces"])
        self.base_action_spaces = dict(described["action_spaces"])
        self.phi_is_action = bool(env_config.get("phi_is_action", False))
        self.possible_agents = list(self.base_action_spaces)
        self.agents = list(self.possible_agents)
        self.observation_spaces = dict(self.base_observation_spaces)
        self.action_spaces = dict(self.base_action_spaces)
        for agent in described["abstaining"] if self.phi_is_action else ():
            self.action_spaces[agent] = action_space_with_phi(agent, self.action_spaces[agent])
            extended = observation_space_with_phi(self.observation_spaces[agent])
            self.observation_spaces[agent] = extended

    @classmethod
    def describe(cls, demonstrations: Demonstrations) -> dict[str, Any]:
        """The env_config for the spaces of `demonstrations`."""
        records = demonstrations.records
        return {
            cls.SPACES: {
                "observation_spaces": dict(demonstrations.observation_spaces),
                "action_spaces": dict(demonstrations.action_spaces),
                "abstaining": [a for a in records if not records[a].participates.all()],
            }
        }

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> NoReturn:
        """Raise RuntimeError: there is nothing to play."""
        raise RuntimeError(
            "these policies learned from demonstrations alone, without an environment; name one "
            "to play (config.environment(...), rllib evaluate --env NAME)"
        )

    def step(self, action_dict: Mapping[str, Any]) -> NoReturn:
        """Raise RuntimeError: there is nothing to play."""
        self.reset()
