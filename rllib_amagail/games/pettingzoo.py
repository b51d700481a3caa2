"""The particle games as PettingZoo parallel environments.

Not imported by `rllib_amagail.games` itself, so that the games work without PettingZoo.
"""

from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Space
from pettingzoo import ParallelEnv

from rllib_amagail.games.particles import NULL_ACTION
from rllib_amagail.games.registry import make_game


class ParallelGame(ParallelEnv):
    """One world of a registered game; every agent observes and acts in every round.

    This is the dense form of an asynchronous game: `infos[agent]` is
    `{"round": t, "participates": bool}` for the round about to be played. The action of an agent
    that does not participate is ignored and may be left out; it gets no reward (paper, section 5).

    Args:
        name: one of `GAME_NAMES`.
        render_mode: "rgb_array" or None.
        options: any option of `make_game` besides `batch_size` and `seed`.

    Raises:
        ValueError: if the render mode is unknown, or from `make_game`.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "name": "particle_game",
        "render_modes": ["rgb_array"],
        "render_fps": 10,
    }

    def __init__(self, name: str, *, render_mode: str | None = None, **options: Any) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode is {render_mode!r}, expected 'rgb_array' or None")
        self.render_mode = render_mode
        self._name = name
        self._options = options
        self._game = make_game(name, **options)
        self.possible_agents = list(self._game.agents)
        self.agents: list[str] = []
        # Kept for good: a seeded reset makes a new game, but PettingZoo wants the same spaces.
        self.observation_spaces = self._game.observation_spaces
        self.action_spaces = self._game.action_spaces

    def observation_space(self, agent: str) -> Space:
        """`Box [D_i]` float32."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Space:
        """`Discrete(5)`; 0 is the null action."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Start an episode; a seed starts both random streams afresh. `options` are unused."""
        if seed is None:
            self._game.reset()
        else:
            self._game = make_game(self._name, seed=seed, **self._options)
        self.agents = list(self.possible_agents)
        return self._observations(), self._infos()

    def step(
        self, actions: dict[str, int]
    ) -> tuple[
        dict[str, np.ndarray],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """Play one round: observations, rewards, terminations, truncations and infos by agent.

        Raises:
            ValueError: if a participant's action is missing or not in 0..4, or an agent unknown.
            RuntimeError: if there is no running episode.
        """
        if not self.agents:
            raise RuntimeError("no episode is running: call reset() before step()")
        result = self._game.step(self._action_row(actions))
        rewards = dict(zip(self.agents, result.rewards[0].tolist(), strict=True))
        terminations = dict.fromkeys(self.agents, bool(result.terminated[0]))
        truncations = dict.fromkeys(self.agents, bool(result.truncated[0]))
        observations, infos = self._observations(), self._infos()
        if self._game.ended[0]:
            self.agents = []
        return observations, rewards, terminations, truncations, infos

    def render(self) -> np.ndarray | None:
        """The world as uint8 `[H, W, 3]`; None without a render mode."""
        if self.render_mode is None:
            return None
        from rllib_amagail.games.rendering import render_world  # needs Pillow

        return render_world(self._game)

    @property
    def may_abstain(self) -> dict[str, bool]:
        """By agent; False where the player function makes it act in every round."""
        abstains = self._game.player_function.may_abstain().tolist()
        return dict(zip(self.possible_agents, abstains, strict=True))

    def get_state(self) -> dict[str, Any]:
        """All that decides the future, for `set_state`."""
        return {"agents": list(self.agents), "game": self._game.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on exactly where `get_state` was called.

        Raises ValueError if the state is of another game.
        """
        self._game.set_state(state["game"])
        self.agents = list(state["agents"])

    def _action_row(self, actions: dict[str, int]) -> np.ndarray:
        participates = dict(zip(self.possible_agents, self._game.participation[0], strict=True))
        required = {agent for agent, acts in participates.items() if acts}
        if not required <= set(actions) <= set(participates):
            raise ValueError(
                f"actions are for {sorted(actions)}, expected at least the participants "
                f"{sorted(required)} and nobody besides {self.possible_agents}"
            )
        return np.array([[actions.get(agent, NULL_ACTION) for agent in self.possible_agents]])

    def _observations(self) -> dict[str, np.ndarray]:
        return {agent: rows[0] for agent, rows in self._game.observations().items()}

    def _infos(self) -> dict[str, dict[str, Any]]:
        now = int(self._game.rounds[0])
        participation = self._game.participation[0].tolist()
        return {
            agent: {"round": now, "participates": participates}
            for agent, participates in zip(self._game.agents, participation, strict=True)
        }
