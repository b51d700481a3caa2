"""Games of OpenSpiel in rounds (`pip install ".[board_games]"`; https://openspiel.readthedocs.io).

OpenSpiel plays chance moves and knows whose turn it is; in games of simultaneous moves everybody
participates. Exact players and exploitability come with it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_amagail.spaces import MASK_KEY


class OpenSpielRounds(MultiAgentEnv):
    """An OpenSpiel game as an environment whose rounds are its moves.

    Agents are "player_0", "player_1" and so on. Whoever moves is observed: a Dict of
    "observation", the player's information state as a flat tensor where the game has one (else its
    observation tensor), and "action_mask", the legal actions. Every round pays all players.

    Args:
        game: OpenSpiel's name, such as "leduc_poker", with its parameters if there are any:
            "goofspiel(num_cards=4)".
        show_everyone: observe the players that wait, too.

    Attributes:
        state: OpenSpiel's state of the running game; None before the first reset.

    Raises:
        ImportError: OpenSpiel is not installed.
        ValueError: a game that OpenSpiel does not have, or without tensors.
    """

    def __init__(self, game: str, *, show_everyone: bool = False) -> None:
        super().__init__()
        pyspiel = import_openspiel()
        try:
            self.game = pyspiel.load_game(game)
        except pyspiel.SpielError as error:
            raise ValueError(f"OpenSpiel does not load the game {game!r}: {error}") from error
        kind = self.game.get_type()
        self._tells_information = kind.provides_information_state_tensor
        if not (self._tells_information or kind.provides_observation_tensor):
            raise ValueError(
                f"OpenSpiel's {game!r} has neither information nor observation tensors, expected "
                "one of them for the policies to see"
            )
        self.show_everyone = show_everyone
        self.metadata = {"name": game}
        self.possible_agents = [f"player_{i}" for i in range(self.game.num_players())]
        self.agents = list(self.possible_agents)
        shape = (
            self.game.information_state_tensor_shape()
            if self._tells_information
            else self.game.observation_tensor_shape()
        )
        num_actions = self.game.num_distinct_actions()
        observation = Box(-np.inf, np.inf, (int(np.prod(shape)),), np.float32)
        self.observation_spaces = {
            agent: Dict({"observation": observation, MASK_KEY: MultiBinary(num_actions)})
            for agent in self.possible_agents
        }
        self.action_spaces = {agent: Discrete(num_actions) for agent in self.possible_agents}
        self._rng = np.random.default_rng()
        self.state: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Begin a game; chance moves until a player's are played.

        Args:
            seed: starts the stream of chance moves afresh.
            options: none are known.
        """
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self.state = self.game.new_initial_state()
        self._play_chance()
        self.agents = list(self.possible_agents)
        return self._look()

    def step(
        self, action_dict: Mapping[str, Any]
    ) -> tuple[
        dict[str, Any],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """Play the actions of those whose turn it is; those of other players are ignored.

        Raises:
            ValueError: an action is missing or illegal.
        """
        moves = []
        for agent in self._movers():
            legal = self.state.legal_actions(self._index(agent))
            if agent not in action_dict or int(action_dict[agent]) not in legal:
                raise ValueError(
                    f"found {action_dict.get(agent)!r} for {agent}, expected one of its legal "
                    f"actions {legal}"
                )
            moves.append(int(action_dict[agent]))
        before = np.array(self.state.returns())
        if self.state.is_simultaneous_node():
            self.state.apply_actions(moves)
        else:
            self.state.apply_action(moves[0])
        self._play_chance()
        earned = np.array(self.state.returns()) - before
        rewards = dict(zip(self.possible_agents, earned.tolist(), strict=True))
        over = self.state.is_terminal()
        self.agents = [] if over else list(self.possible_agents)
        observations, infos = self._look()
        terminateds = {"__all__": over}
        return observations, rewards, terminateds, {"__all__": False}, infos

    def get_state(self) -> dict[str, Any]:
        """The stream of chance moves."""
        return {"generator": copy.deepcopy(self._rng.bit_generator.state)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue the stream of a `get_state`; `reset` comes next."""
        self._rng.bit_generator.state = copy.deepcopy(state["generator"])

    def _index(self, agent: str) -> int:
        return self.possible_agents.index(agent)

    def _movers(self) -> list[str]:
        if self.state.is_terminal():
            return []
        if self.state.is_simultaneous_node():
            return list(self.possible_agents)
        return [self.possible_agents[self.state.current_player()]]

    def _play_chance(self) -> None:
        while self.state.is_chance_node():
            actions, probabilities = zip(*self.state.chance_outcomes(), strict=True)
            drawn = self._rng.choice(len(actions), p=np.array(probabilities) / sum(probabilities))
            self.state.apply_action(actions[drawn])

    def _look(self) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        movers = self._movers()
        over = self.state.is_terminal()
        shown = self.possible_agents if over or self.show_everyone else movers
        observations = {agent: self._observation(agent) for agent in shown}
        return observations, {agent: {"participates": agent in movers} for agent in shown}

    def _observation(self, agent: str) -> dict[str, np.ndarray]:
        player = self._index(agent)
        tensor = (
            self.state.information_state_tensor(player)
            if self._tells_information
            else self.state.observation_tensor(player)
        )
        mask = np.zeros(self.game.num_distinct_actions(), np.int8)
        if not self.state.is_terminal():
            mask[self.state.legal_actions(player)] = 1
        return {"observation": np.array(tensor, np.float32), MASK_KEY: mask}


def import_openspiel() -> Any:
    """The module ``pyspiel``.

    Raises:
        ImportError: it is not installed; says how.
    """
    try:
        import pyspiel
    except ImportError as error:
        raise ImportError(
            'OpenSpiel is not installed, expected open_spiel: pip install "rllib_amagail'
            '[board_games]", or ".[board_games]" in the project\'s folder'
        ) from error
    return pyspiel
