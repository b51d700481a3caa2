"""`games.first_signal` for RLlib."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rllib_amagail.envs.vector_env import BatchedGame
from rllib_amagail.games.first_signal import FirstSignal


class FirstSignalEnv(BatchedGame):
    """The game as an environment, for `config.environment(FirstSignalEnv)`.

    Args:
        env_config: ``phi_is_action`` and ``show_everyone`` of `TurnBasedEnv`.
    """

    def __init__(self, env_config: Mapping[str, Any] | None = None) -> None:
        super().__init__(FirstSignal, **dict(env_config or {}))
