"""PettingZoo's games of turns (AEC): board games, cards, whatever one agent plays at a time.

A round is one turn. RLlib's own adapter ends an episode only when all agents end in one way; here
agents die one by one, terminated or truncated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Box, Dict, MultiBinary, Space
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_amagail.envs.results import ResetResult, StepResult
from rllib_amagail.spaces import MASK_KEY, ActionLayout

if TYPE_CHECKING:
    from pettingzoo import AECEnv

_OBSERVATION = "observation"


class AECRounds(MultiAgentEnv):
    """A PettingZoo AECEnv in rounds of one turn; `TurnBasedEnv` wraps AEC games in it by itself.

    In each round the selected agent participates. After its step every live agent is paid what
    ``env.rewards`` says, which is what PettingZoo adds to the sums that ``env.last()`` returns.
    An agent that dies is observed once more; the empty steps that PettingZoo wants of dead agents
    are no rounds.

    An action mask may be part of an observation Dict, under "action_mask". If it comes in the
    infos instead, observations become Dicts of "observation" and "action_mask". That is found out
    by a reset.

    Args:
        env: the game.
        show_everyone: observe all live agents in every round, and tell by
            ``infos[agent]["participates"]`` whose turn it is. False: only the selected agent and
            those that die are observed.

    Raises:
        ValueError: if the game names no agents.
    """

    def __init__(self, env: AECEnv, *, show_everyone: bool = False) -> None:
        super().__init__()
        self.env = env
        self.metadata = dict(getattr(env, "metadata", {}))
        self.render_mode = getattr(env, "render_mode", None)
        self.possible_agents = list(getattr(env, "possible_agents", None) or [])
        if not self.possible_agents:
            raise ValueError(
                f"{env} has no possible_agents, expected all agents in a fixed order: set the "
                "attribute"
            )
        self.show_everyone = show_everyone
        self.action_spaces = {agent: env.action_space(agent) for agent in self.possible_agents}
        self.observation_spaces = {a: env.observation_space(a) for a in self.possible_agents}
        self._mask_sizes: dict[str, int] = {}  # of those whose masks come in the infos
        self._find_masks_in_infos()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> ResetResult:
        """Begin a game; observations and infos, by agent."""
        self.env.reset(seed=seed, options=options)
        self._bury_the_dead()
        self.agents = self._living()
        return self._look()

    def step(self, action_dict: Mapping[str, Any]) -> StepResult:
        """Play the selected agent's action; those of other agents are ignored.

        Raises:
            ValueError: if the selected agent's action is missing.
        """
        env, living = self.env, self._living()
        selected = env.agent_selection
        if selected not in action_dict:
            raise ValueError(
                f"actions are for {list(action_dict)}, expected one for {selected!r}, whose turn "
                "it is"
            )
        env.step(action_dict[selected])
        rewards = {agent: float(env.rewards.get(agent, 0.0)) for agent in living}
        # A game may remove dead agents by itself. Whoever is gone without a flag has terminated.
        truncateds = {a: bool(env.truncations.get(a, False)) for a in living}
        terminateds = {
            a: bool(env.terminations.get(a, a not in env.agents and not truncateds[a]))
            for a in living
        }
        dead = [a for a in living if terminateds[a] or truncateds[a]]
        self.agents = [a for a in living if a not in dead]
        last_seen = {a: (self._observation(a), self._info(a, False)) for a in dead}
        if self.agents:
            self._bury_the_dead()
            # Agents that enter the game late are alive now, too.
            self.agents = self._living()
        observations, infos = self._look()
        for agent, (observation, info) in last_seen.items():
            observations[agent], infos[agent] = observation, info
        terminateds["__all__"] = truncateds["__all__"] = False
        if not self.agents:
            terminateds["__all__"] = any(terminateds.values())
            truncateds["__all__"] = not terminateds["__all__"]
        return observations, rewards, terminateds, truncateds, infos

    def render(self) -> Any:
        """What the game renders."""
        return self.env.render()

    def close(self) -> None:
        """Close the game."""
        self.env.close()

    def _living(self) -> list[str]:
        env = self.env
        return [a for a in env.agents if not (env.terminations[a] or env.truncations[a])]

    def _bury_the_dead(self) -> None:
        """Take PettingZoo's empty steps of dead agents, up to the next living one's turn."""
        env = self.env
        while env.agents and env.agent_selection not in self._living():
            env.step(None)

    def _look(self) -> ResetResult:
        """What is seen before the next round."""
        selected = self.env.agent_selection
        shown = self.agents if self.show_everyone else [a for a in self.agents if a == selected]
        observations = {agent: self._observation(agent) for agent in shown}
        return observations, {agent: self._info(agent, agent == selected) for agent in shown}

    def _observation(self, agent: str) -> Any:
        observation = self.env.observe(agent)
        if agent not in self._mask_sizes:
            return observation
        mask = self.env.infos.get(agent, {}).get(MASK_KEY)
        if mask is None:  # it is not this agent's turn
            mask = np.ones(self._mask_sizes[agent])
        return {_OBSERVATION: observation, MASK_KEY: np.asarray(mask, dtype=np.int8)}

    def _info(self, agent: str, participates: bool) -> dict[str, Any]:
        told = dict(self.env.infos.get(agent, {}))
        told.pop(MASK_KEY, None)
        return {**told, "participates": participates}

    def _find_masks_in_infos(self) -> None:
        without = [a for a, space in self.observation_spaces.items() if not _has_mask(space)]
        without = [a for a in without if not isinstance(self.action_spaces[a], Box)]
        if not without:
            return
        self.env.reset()
        if not any(MASK_KEY in info for info in self.env.infos.values()):
            return
        for agent in without:
            size = ActionLayout.from_space(self.action_spaces[agent]).mask_size
            self._mask_sizes[agent] = size
            space = self.observation_spaces[agent]
            self.observation_spaces[agent] = Dict(
                {_OBSERVATION: space, MASK_KEY: MultiBinary(size)}
            )


def _has_mask(space: Space) -> bool:
    return isinstance(space, Dict) and MASK_KEY in space.spaces
