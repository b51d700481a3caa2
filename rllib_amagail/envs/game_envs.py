"""The games as RLlib environments, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rllib_amagail.envs.turn_based_env import TurnBasedEnv
from rllib_amagail.games import ParticleGame, make_game
from rllib_amagail.games.pettingzoo import ParallelGame


class GameEnv(TurnBasedEnv):
    """A registered game: one world for RLlib's own runner, or B worlds for the batched one.

    Args:
        name: one of `rllib_amagail.games.GAME_NAMES`.
        env_config: ``phi_is_action`` and ``show_everyone`` of `TurnBasedEnv`, ``render_mode``, and
            the options of `make_game` such as ``horizon`` or ``integration``.

    Raises:
        ValueError: an unknown game or option.
    """

    def __init__(self, name: str, env_config: Mapping[str, Any]) -> None:
        options = dict(env_config)
        view = {k: options.pop(k) for k in ("phi_is_action", "show_everyone") if k in options}
        super().__init__(ParallelGame(name, **options), **view)
        options.pop("render_mode", None)
        self._name, self._options = name, options
        # The game draws its participants itself; for information.
        self.player_function = self.batched(batch_size=1, seed=0).player_function

    def batched(self, batch_size: int, seed: int | None) -> ParticleGame:
        """B worlds of this game as arrays."""
        return make_game(self._name, batch_size=batch_size, seed=seed, **self._options)
