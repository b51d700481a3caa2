"""A game of OpenSpiel as agents see it (https://openspiel.readthedocs.io)."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary

from rllib_amagail.openspiel.observers import find_observer
from rllib_amagail.spaces import MASK_KEY

OBSERVATION_KEY = "observation"


class OpenSpielGame:
    """Names, spaces and observations of a game's players.

    Agents are "player_0", "player_1" and so on. What one sees is a Dict of "observation", the
    observer's flat tensor, and "action_mask", its legal actions.

    Args:
        name: OpenSpiel's, such as "leduc_poker", with its parameters if there are any:
            "goofspiel(num_cards=4)".
        observer: one of `OBSERVERS`. None: information states, which hold all that the player
            knows, where the game has tensors of them, else observations.

    Attributes:
        name, observer: as given.
        rules: OpenSpiel's game.
        agents: the N players, in order.
        num_actions: n, the same for all players.
        observation_spaces, action_spaces: by agent.

    Raises:
        ImportError: OpenSpiel is not installed.
        ValueError: a game that OpenSpiel does not have, or without the observer's tensors.
    """

    def __init__(self, name: str, *, observer: str | None = None) -> None:
        pyspiel = import_openspiel()
        self.name, self.observer = name, observer
        try:
            self.rules = pyspiel.load_game(name)
        except pyspiel.SpielError as error:
            raise ValueError(f"OpenSpiel does not load the game {name!r}: {error}") from error
        self._seen = find_observer(self.rules, observer)
        self.agents = tuple(f"player_{i}" for i in range(self.rules.num_players()))
        self.num_actions = int(self.rules.num_distinct_actions())
        tensor = Box(-np.inf, np.inf, (self._seen.size,), np.float32)
        seen = Dict({OBSERVATION_KEY: tensor, MASK_KEY: MultiBinary(self.num_actions)})
        self.observation_spaces = dict.fromkeys(self.agents, seen)
        self.action_spaces = dict.fromkeys(self.agents, Discrete(self.num_actions))

    def movers(self, state: Any) -> list[int]:
        """The players who move now: all in a round of simultaneous moves, none at the end."""
        if state.is_terminal():
            return []
        if state.is_simultaneous_node():
            return list(range(len(self.agents)))
        return [int(state.current_player())]

    def begin(self, rng: np.random.Generator) -> Any:
        """OpenSpiel's state at the first move of a player."""
        state = self.rules.new_initial_state()
        play_chance(state, rng)
        return state

    def move(self, state: Any, actions: list[int], rng: np.random.Generator) -> np.ndarray:
        """Play the movers' actions, in their order, and the chance moves that follow.

        Returns:
            `[N]` what every player earned.
        """
        before = np.array(state.returns())
        if state.is_simultaneous_node():
            state.apply_actions(actions)
        else:
            state.apply_action(actions[0])
        play_chance(state, rng)
        return np.array(state.returns()) - before

    def tensor(self, state: Any, player: int) -> np.ndarray:
        """`[D]` float32 what a player sees."""
        return self._seen.tensor(state, player)

    def mask(self, state: Any, player: int) -> np.ndarray:
        """`[n]` bool, its legal actions; none while it does not move."""
        mask = np.zeros(self.num_actions, bool)
        if not state.is_terminal():
            mask[state.legal_actions(player)] = True
        return mask

    def observation(self, state: Any, player: int) -> dict[str, np.ndarray]:
        """What a player sees, of its observation space."""
        mask = self.mask(state, player).astype(np.int8)
        return {OBSERVATION_KEY: self.tensor(state, player), MASK_KEY: mask}


def play_chance(state: Any, rng: np.random.Generator) -> None:
    """Draw chance moves until a player's turn or the end."""
    while state.is_chance_node():
        actions, chances = zip(*state.chance_outcomes(), strict=True)
        state.apply_action(actions[rng.choice(len(actions), p=np.array(chances) / sum(chances))])


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
