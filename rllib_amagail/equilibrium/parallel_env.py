"""Tabular games as PettingZoo parallel environments, for the algorithms on RLlib.

Not imported by `rllib_amagail.equilibrium` itself, so that the games work without PettingZoo.
"""

from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Discrete, Space
from pettingzoo import ParallelEnv

from rllib_amagail.equilibrium.game import TabularGame


class TabularParallelEnv(ParallelEnv):
    """Plays a tabular game for a fixed number of rounds; observed is the state, one-hot.

    The dense form of an asynchronous game: `infos[agent]` is `{"round": t, "participates": bool}`
    for the round about to be played. The action of an agent that does not participate is ignored
    and may be left out; it is φ to the game. `TurnBasedEnv` plays it without a player function.

    Args:
        game: the game; its agents are called `agent_0`, `agent_1` and so on.
        num_rounds: after these an episode is truncated.

    Raises:
        ValueError: if there is no round to play.
    """

    metadata: ClassVar[dict[str, Any]] = {"name": "tabular_game", "render_modes": []}

    def __init__(self, game: TabularGame, num_rounds: int = 50) -> None:
        if num_rounds < 1:
            raise ValueError(f"num_rounds is {num_rounds}, expected at least 1")
        self._game = game
        self._num_rounds = num_rounds
        self._rng = np.random.default_rng()
        self.render_mode = None
        self.possible_agents = [f"agent_{i}" for i in range(game.num_agents)]
        self.agents: list[str] = []
        self.observation_spaces: dict[str, Space] = {
            agent: Box(0.0, 1.0, (game.num_states,)) for agent in self.possible_agents
        }
        self.action_spaces: dict[str, Space] = {
            agent: Discrete(count)
            for agent, count in zip(self.possible_agents, game.num_actions, strict=True)
        }

    @property
    def may_abstain(self) -> dict[str, bool]:
        """By agent; False where the player function makes it act in every round."""
        abstains = self._game.player_function.may_abstain().tolist()
        return dict(zip(self.possible_agents, abstains, strict=True))

    def observation_space(self, agent: str) -> Space:
        """`Box [S]` float32."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Space:
        """`Discrete(A_i)`."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """Draw a state from η and the participants from ζ. `options` are unused."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self.agents = list(self.possible_agents)
        self._round = 0
        self._state = self._draw(self._game.initial_states)
        self._draw_participants(history=0)
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
            ValueError: if a participant's action is missing or out of range.
            RuntimeError: if there is no running episode.
        """
        if not self.agents:
            raise RuntimeError("no episode is running: call reset() before step()")
        where = (self._state, *self._joint_action(actions))
        rewards = [float(own[where]) for own in self._game.rewards]
        self._state = self._draw(self._game.transitions[where])
        self._round += 1
        vector = int(self._acts @ 2 ** np.arange(len(self._acts))[::-1])
        self._draw_participants(history=1 + vector)
        ends = self._round >= self._num_rounds
        results = (
            self._observations(),
            dict(zip(self.agents, rewards, strict=True)),
            dict.fromkeys(self.agents, False),
            dict.fromkeys(self.agents, ends),
            self._infos(),
        )
        if ends:
            self.agents = []
        return results

    def _joint_action(self, actions: dict[str, int]) -> list[int]:
        joint = []
        for agent, acts, count in zip(
            self.possible_agents, self._acts, self._game.num_actions, strict=True
        ):
            action = actions.get(agent) if acts else count  # the last action is φ
            if action is None or not 0 <= action <= count - int(acts):
                raise ValueError(
                    f"the action of {agent} is {action}, expected one in 0..{count - 1}: it "
                    f"participates in round {self._round}"
                )
            joint.append(int(action))
        return joint

    def _draw(self, probabilities: np.ndarray) -> int:
        return int(self._rng.choice(len(probabilities), p=probabilities))

    def _draw_participants(self, history: int) -> None:
        chances = self._game.participation[history]
        self._acts = self._rng.random(len(chances)) < chances

    def _observations(self) -> dict[str, np.ndarray]:
        row = np.zeros(self._game.num_states, dtype=np.float32)
        row[self._state] = 1.0
        return {agent: row.copy() for agent in self.agents}

    def _infos(self) -> dict[str, dict[str, Any]]:
        return {
            agent: {"round": self._round, "participates": acts}
            for agent, acts in zip(self.agents, self._acts.tolist(), strict=True)
        }
