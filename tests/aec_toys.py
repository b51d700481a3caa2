"""PettingZoo games of turns, small enough to be played by hand."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Discrete
from pettingzoo import AECEnv


class CountDown(AECEnv):
    """Agents act by turns; each acts so often as its number says, and then it is dead.

    Whoever acts is paid its action, everybody else who lives 0.5. Agents with odd numbers of turns
    are truncated, the others terminate. Observed is [own turns left, turns played by all].

    Args:
        turns: agent to its number of turns.
        masks_in_infos: tell by the infos of whoever is selected that only action 1 is allowed.
    """

    metadata: ClassVar = {"name": "count_down_v0"}

    def __init__(self, turns: dict[str, int], *, masks_in_infos: bool = False) -> None:
        super().__init__()
        self.possible_agents = list(turns)
        self._turns = turns
        self._masks_in_infos = masks_in_infos
        self.render_mode = None

    def observation_space(self, agent: str) -> Box:
        return Box(0, 100, (2,), np.float32)

    def action_space(self, agent: str) -> Discrete:
        return Discrete(3)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        self.agents = list(self.possible_agents)
        self.left = dict(self._turns)
        self.played = 0
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {agent: {} for agent in self.agents}
        self.agent_selection = self.agents[0]
        self._tell_mask()

    def observe(self, agent: str) -> np.ndarray:
        return np.array([self.left.get(agent, 0), self.played], np.float32)

    def step(self, action: int | None) -> None:
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        assert action is not None
        assert not self._masks_in_infos or action == 1, "the mask was ignored"
        self._cumulative_rewards[agent] = 0
        self.left[agent] -= 1
        self.played += 1
        self.rewards = {other: float(action) if other == agent else 0.5 for other in self.agents}
        self._accumulate_rewards()
        if self.left[agent] == 0:
            ending = self.truncations if self._turns[agent] % 2 else self.terminations
            ending[agent] = True
        living = [a for a in self.possible_agents if self.left[a] > 0]
        if living:
            later = [a for a in living if self._order(a) > self._order(agent)]
            self.agent_selection = (later or living)[0]
        self._tell_mask()
        self._deads_step_first()

    def _order(self, agent: str) -> int:
        return self.possible_agents.index(agent)

    def _tell_mask(self) -> None:
        if self._masks_in_infos:
            self.infos = {agent: {} for agent in self.agents}
            self.infos[self.agent_selection] = {"action_mask": np.array([0, 1, 0], np.int8)}


def cumulative_rewards(game: AECEnv, action: int) -> dict[str, float]:
    """What PettingZoo's own loop pays each agent when everybody plays `action` all the time."""
    paid = dict.fromkeys(game.possible_agents, 0.0)
    game.reset(seed=0)
    for agent in game.agent_iter():
        _, reward, terminated, truncated, _ = game.last()
        paid[agent] += reward
        game.step(None if terminated or truncated else action)
    return paid
