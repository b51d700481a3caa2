"""What experts are trained on: a particle game that gives the learner more than it gives players.

The experts' policies see the plain game and are scored by it. While they train, three things
differ:

- *Team rewards.* Every agent of a side earns the mean of its side's gated rewards in every round,
  absent or not: the score of the cooperative games is the mean over agents. Adversaries earn their
  touches whoever of them participates.
- *Privileged features* for the value function alone; see `num_privileged_features`.
- *A known end.* The value function sees how far the episode is, so round 50 is its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from rllib_amagail.envs.vector_env import BatchedGame
from rllib_amagail.games import ParticleGame, make_game
from rllib_amagail.games.game import RoundResult
from rllib_amagail.games.particles import displacements, lengths

_PHASES = 3  # of the paper's deterministic pattern


def num_privileged_features(num_agents: int) -> int:
    """Round, phase of the pattern, participation and velocities of all agents."""
    return 1 + _PHASES + 3 * num_agents


class ExpertTrainingWorlds:
    """B worlds of a particle game as `BatchedWorlds`, with the rewards and features above.

    Args:
        game: to be played.
        shaping: weight of the potential ``-distance to the nearest good agent`` of every adversary
            (Ng, Harada and Russell, 1999), a guide for the first phase. It may change what is best:
            rewards of rounds in which an agent is absent count undiscounted at its next turn. In
            cooperative games it must be 0.
        gamma: discount of the potential, that of the learner.
    """

    def __init__(self, game: ParticleGame, shaping: float, gamma: float) -> None:
        self._game = game
        self._shaping, self._gamma = shaping, gamma
        self.agents = game.agents
        self.batch_size = game.batch_size
        self.action_spaces = game.action_spaces
        self._adversaries = np.array([body.adversary for body in game.bodies])
        if shaping and not self._adversaries.any():
            raise ValueError(f"shaping is {shaping}, expected 0 in a game without adversaries")
        extra = num_privileged_features(len(self.agents))
        self.observation_spaces = {
            agent: Box(-np.inf, np.inf, (space.shape[0] + extra,), np.float32)
            for agent, space in game.observation_spaces.items()
        }

    @property
    def participation(self) -> np.ndarray:
        """As of `BatchedWorlds`."""
        return self._game.participation

    @property
    def rounds(self) -> np.ndarray:
        """As of `BatchedWorlds`."""
        return self._game.rounds

    def reset(self, worlds: np.ndarray | None = None) -> None:
        """As of `BatchedWorlds`."""
        self._game.reset(worlds)

    def observations(self) -> dict[str, np.ndarray]:
        """Agent to `[B, D_i + K]`: what it sees in the game, then K privileged features."""
        privileged = self._privileged()
        return {
            agent: np.concatenate([rows, privileged], axis=1)
            for agent, rows in self._game.observations().items()
        }

    def step(self, actions: np.ndarray) -> RoundResult:
        """As of `BatchedWorlds`; the horizon ends an episode."""
        before = self._potentials()
        played = self._game.step(actions)
        rewards = self._team_rewards(played.rewards)
        ended = played.terminated | played.truncated
        if self._shaping:
            after = np.where(ended[:, None], 0.0, self._gamma * self._potentials())
            rewards = rewards + self._shaping * (after - before)
        return RoundResult(rewards, ended, np.zeros_like(ended))

    def get_state(self) -> dict[str, Any]:
        """As of `BatchedWorlds`."""
        return self._game.get_state()

    def set_state(self, state: Mapping[str, Any]) -> None:
        """As of `BatchedWorlds`."""
        self._game.set_state(state)

    def _privileged(self) -> np.ndarray:
        rounds = self._game.rounds
        return np.concatenate(
            [
                rounds[:, None] / self._game.horizon,
                rounds[:, None] % _PHASES == np.arange(_PHASES),
                self._game.participation,
                self._game.velocities.reshape(self.batch_size, -1),
            ],
            axis=1,
            dtype=np.float32,
        )

    def _team_rewards(self, gated: np.ndarray) -> np.ndarray:
        """`[B, N]` gated rewards to those of sides."""
        good = np.where(self._adversaries, 0.0, gated).sum(axis=1) / (~self._adversaries).sum()
        if not self._adversaries.any():
            return np.repeat(good[:, None], len(self.agents), axis=1)
        positions = self._game.positions
        touches = self._game.scenario.rewards(positions)[:, :1]  # the same for all adversaries
        return np.where(self._adversaries, touches, good[:, None])

    def _potentials(self) -> np.ndarray:
        """`[B, N]` minus an adversary's distance to the nearest good agent, 0 for good agents."""
        if not self._shaping:
            return np.zeros(())
        agents = self._game.positions[:, : len(self.agents)]
        nearest = lengths(displacements(agents, agents[:, ~self._adversaries])).min(axis=1).T
        return np.where(self._adversaries, -nearest, 0.0)


class ExpertTrainingEnv(BatchedGame):
    """`ExpertTrainingWorlds` of a registered game, for RLlib.

    Args:
        env_config: ``game``, and ``shaping`` and ``gamma`` of `ExpertTrainingWorlds`.
    """

    def __init__(self, env_config: Mapping[str, Any]) -> None:
        name, shaping, gamma = (env_config[key] for key in ("game", "shaping", "gamma"))
        super().__init__(
            lambda batch_size, seed: ExpertTrainingWorlds(
                make_game(name, batch_size=batch_size, seed=seed), shaping, gamma
            )
        )
