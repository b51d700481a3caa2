"""Games of OpenSpiel in rounds (`pip install ".[board_games]"`)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_amagail.envs.results import ResetResult, StepResult
from rllib_amagail.openspiel.game import OpenSpielGame


class OpenSpielRounds(MultiAgentEnv):
    """A game of OpenSpiel as an environment whose rounds are its moves.

    Whoever moves participates; in a round of simultaneous moves that is everybody. Chance moves are
    part of the round before. Every round pays all players. What players see: `OpenSpielGame`.

    Args:
        game: OpenSpiel's name, such as "leduc_poker".
        observer: what players see; see `OpenSpielGame`.
        show_everyone: observe the players that wait, too.

    Attributes:
        state: OpenSpiel's state of the running game; None before the first reset.

    Raises:
        ImportError: OpenSpiel is not installed.
        ValueError: a game that OpenSpiel does not have, or without the observer's tensors.
    """

    def __init__(
        self, game: str, *, observer: str | None = None, show_everyone: bool = False
    ) -> None:
        super().__init__()
        self.game = OpenSpielGame(game, observer=observer)
        self.show_everyone = show_everyone
        self.metadata = {"name": game}
        self.possible_agents = list(self.game.agents)
        self.agents = list(self.possible_agents)
        self.observation_spaces = self.game.observation_spaces
        self.action_spaces = self.game.action_spaces
        self._rng = np.random.default_rng()
        self.state: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> ResetResult:
        """Begin a game; chance moves until a player's are played.

        Args:
            seed: starts the stream of chance moves afresh.
            options: none are known.
        """
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self.state = self.game.begin(self._rng)
        self.agents = list(self.possible_agents)
        return self._look()

    def step(self, action_dict: Mapping[str, Any]) -> StepResult:
        """Play the actions of those whose turn it is; those of other players are ignored.

        Raises:
            ValueError: an action is missing or illegal.
        """
        moves = []
        for player in self.game.movers(self.state):
            agent, legal = self.possible_agents[player], self.state.legal_actions(player)
            if agent not in action_dict or int(action_dict[agent]) not in legal:
                raise ValueError(
                    f"found {action_dict.get(agent)!r} for {agent}, expected one of its legal "
                    f"actions {legal}"
                )
            moves.append(int(action_dict[agent]))
        earned = self.game.move(self.state, moves, self._rng)
        rewards = dict(zip(self.possible_agents, earned.tolist(), strict=True))
        over = self.state.is_terminal()
        self.agents = [] if over else list(self.possible_agents)
        observations, infos = self._look()
        return observations, rewards, {"__all__": over}, {"__all__": False}, infos

    def get_state(self) -> dict[str, Any]:
        """The stream of chance moves."""
        return {"generator": copy.deepcopy(self._rng.bit_generator.state)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue the stream of a `get_state`; `reset` comes next."""
        self._rng.bit_generator.state = copy.deepcopy(state["generator"])

    def _look(self) -> ResetResult:
        movers = self.game.movers(self.state)
        shows_all = self.show_everyone or self.state.is_terminal()
        shown = range(len(self.possible_agents)) if shows_all else movers
        observations, infos = {}, {}
        for player in shown:
            agent = self.possible_agents[player]
            observations[agent] = self.game.observation(self.state, player)
            infos[agent] = {"participates": player in movers}
        return observations, infos
