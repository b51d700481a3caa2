"""RLlib and PettingZoo environments in one language: what was observed, who lives, who ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_amagail.envs.aec_rounds import AECRounds

if TYPE_CHECKING:
    from gymnasium.spaces import Space
    from pettingzoo import AECEnv, ParallelEnv


@dataclass(frozen=True)
class WorldView:
    """What the environment tells after a reset or a step, by agent."""

    observations: Mapping[str, Any]
    infos: Mapping[str, Mapping[str, Any]]
    rewards: Mapping[str, float]
    truncated: Mapping[str, bool]  # of the agents that ended in this step; False: terminated


class WrappedEnv:
    """An RLlib MultiAgentEnv or a PettingZoo environment that knows which agents are alive.

    A PettingZoo AECEnv is played in `AECRounds`, whose round is one turn. PettingZoo flags every
    agent; RLlib has "__all__", too, which speaks for all agents without a flag of their own. An
    agent that is flagged both ways has terminated.

    Args:
        env: the environment.
        show_everyone: of an AECEnv, observe those who wait for their turns, too.

    Attributes:
        env: the environment, or the `AECRounds` of it.
        is_one_by_one: whether a round is one agent's turn: it is an AECEnv.
        possible_agents: all agents, in order.
        observation_spaces, action_spaces: by agent, in this order.
        live: the agents that are alive, in this order. Empty when no episode is running.

    Raises:
        TypeError: if `env` is neither kind of environment.
        ValueError: if it does not name its agents and their spaces.
    """

    def __init__(
        self, env: MultiAgentEnv | ParallelEnv | AECEnv, *, show_everyone: bool = False
    ) -> None:
        space_of: tuple[Callable[[str], Space], ...]
        self.is_one_by_one = hasattr(env, "agent_iter")
        if self.is_one_by_one:
            env = AECRounds(env, show_everyone=show_everyone)
        if isinstance(env, MultiAgentEnv):
            space_of = (env.get_observation_space, env.get_action_space)
        elif callable(getattr(env, "observation_space", None)):
            space_of = (env.observation_space, env.action_space)
        else:
            raise TypeError(
                f"env is a {type(env).__name__}, expected an RLlib MultiAgentEnv or a PettingZoo "
                f"ParallelEnv or AECEnv"
            )
        self.env = env
        self.possible_agents: list[str] = list(getattr(env, "possible_agents", None) or [])
        if not self.possible_agents:
            raise ValueError(
                f"{type(env).__name__} has no possible_agents, expected all agents in a fixed "
                f"order: set the attribute"
            )
        self.observation_spaces, self.action_spaces = (
            {agent: self._space(agent, get) for agent in self.possible_agents} for get in space_of
        )
        self.live: list[str] = []
        self._ended: set[str] = set()

    def reset(self, seed: int | None, options: dict[str, Any] | None) -> WorldView:
        """Begin an episode."""
        observations, infos = self.env.reset(seed=seed, options=options)
        self._ended = set()
        # Not all RLlib environments keep `agents`; who is listed here counts as alive, even unseen.
        self.live = self._ordered({*(self.env.agents or self.possible_agents), *observations})
        return WorldView(observations, infos, {}, {})

    def step(self, actions: Mapping[str, Any]) -> WorldView:
        """Play a round with the actions of the agents observed last."""
        observations, rewards, terminateds, truncateds, infos = self.env.step(dict(actions))
        there = {*self.live, *observations} - self._ended
        truncated: dict[str, bool] = {}
        for agent in self._ordered(there):
            # An agent's own flags come before those of all.
            for key in (agent, "__all__"):
                if terminateds.get(key, False) or truncateds.get(key, False):
                    truncated[agent] = not terminateds.get(key, False)
                    break
        self._ended.update(truncated)
        self.live = self._ordered(there - self._ended)
        return WorldView(observations, infos, rewards, truncated)

    def show_everyone(self) -> None:
        """Let an environment that can observe those who wait do so."""
        if hasattr(self.env, "show_everyone"):
            self.env.show_everyone = True

    def abandon(self) -> None:
        """Forget the running episode."""
        self.live = []

    @property
    def has_state(self) -> bool:
        """Whether the environment can save and restore what decides its future."""
        return hasattr(self.env, "get_state") and hasattr(self.env, "set_state")

    def _ordered(self, agents: set[str]) -> list[str]:
        return [agent for agent in self.possible_agents if agent in agents]

    def _space(self, agent: str, get: Callable[[str], Space | None]) -> Space:
        try:
            space = get(agent)
        except (KeyError, AttributeError) as error:
            raise ValueError(self._no_space(agent)) from error
        if space is None:
            raise ValueError(self._no_space(agent))
        return space

    def _no_space(self, agent: str) -> str:
        return (
            f"{type(self.env).__name__} has no observation or action space for agent {agent!r}, "
            f"expected both for each of {self.possible_agents}: set observation_spaces and "
            f"action_spaces"
        )
