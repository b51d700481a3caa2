"""Board and card games by name: PettingZoo's classic games, and all that OpenSpiel has."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from rllib_amagail.envs.openspiel import OpenSpielRounds
from rllib_amagail.envs.turn_based_env import TurnBasedEnv

# By the name of ``--env``; PettingZoo's modules carry version numbers.
PETTINGZOO_GAMES = {
    "tictactoe": "pettingzoo.classic.tictactoe_v3",
    "connect_four": "pettingzoo.classic.connect_four_v3",
    "leduc_holdem": "pettingzoo.classic.leduc_holdem_v4",
    "texas_holdem": "pettingzoo.classic.texas_holdem_v4",
}
OPENSPIEL = "openspiel"  # its env_config names the game
BOARD_GAME_NAMES = (*PETTINGZOO_GAMES, OPENSPIEL)

_VIEW = ("phi_is_action", "show_everyone", "reward_absent")


class BoardGame(TurnBasedEnv):
    """A game of PettingZoo or OpenSpiel in which one agent acts at a time.

    Players are paid at the end, or between their turns; both are credited to their last turns,
    discounted by the rounds in between.

    Args:
        name: one of `BOARD_GAME_NAMES`.
        env_config: ``phi_is_action``, ``show_everyone`` and ``reward_absent`` of `TurnBasedEnv`;
            the rest is the game's own. OpenSpiel's has ``game``, such as "leduc_poker", and may
            have ``observer`` (`OpenSpielGame`).

    Raises:
        ImportError: the game's package is not installed.
        ValueError: an unknown name, or OpenSpiel without a game.
    """

    def __init__(self, name: str, env_config: Mapping[str, Any]) -> None:
        options = {"reward_absent": True, **env_config}
        view = {key: options.pop(key) for key in _VIEW if key in options}
        shows = bool(view.get("phi_is_action") or view.get("show_everyone"))
        if name == OPENSPIEL:
            if "game" not in options:
                raise ValueError(
                    f"found env_config {dict(env_config)}, expected OpenSpiel's name of a game, "
                    'such as {"game": "leduc_poker"}'
                )
            super().__init__(OpenSpielRounds(**options, show_everyone=shows), **view)
        elif name in PETTINGZOO_GAMES:
            super().__init__(_import_game(name).env(**options), **view)
        else:
            raise ValueError(
                f"unknown board game {name!r}, expected one of {', '.join(BOARD_GAME_NAMES)}"
            )


def _import_game(name: str) -> Any:
    try:
        return importlib.import_module(PETTINGZOO_GAMES[name])
    except ImportError as error:
        raise ImportError(
            f"the game {name!r} needs a package that is not installed ({error}): pip install "
            '"rllib_amagail[board_games]", or ".[board_games]" in the project\'s folder'
        ) from error
