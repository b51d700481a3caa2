"""What a particle game is made of: entities, starting positions, rewards and observations."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from rllib_amagail.games.particles import AgentBody, Landmark, displacements, lengths


class Scenario(ABC):
    """The rules of one particle game, for B worlds at once.

    A scenario holds no state. Arrays are those of `particles`: positions `[B, E, 2]` with the
    N agents first, velocities `[B, N, 2]`.
    """

    name: ClassVar[str]

    @abstractmethod
    def make_entities(self) -> tuple[tuple[AgentBody, ...], tuple[Landmark, ...]]:
        """The N agents and the landmarks, in the order of the position arrays."""

    @abstractmethod
    def reset_positions(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Starting positions of `count` worlds, float64 `[count, E, 2]`. Agents start at rest."""

    @abstractmethod
    def rewards(self, positions: np.ndarray) -> np.ndarray:
        """Every agent's reward for having arrived at `positions`, `[B, N]`, not yet gated."""

    @abstractmethod
    def observations(self, positions: np.ndarray, velocities: np.ndarray) -> list[np.ndarray]:
        """What each agent sees: N float32 arrays `[B, D_i]`."""

    def terminated(self, positions: np.ndarray) -> np.ndarray:
        """Worlds whose episode is over before the horizon, bool `[B]`. None unless overridden."""
        return np.zeros(len(positions), dtype=bool)


def uniform_positions(
    count: int, num_entities: int, half_width: float, rng: np.random.Generator
) -> np.ndarray:
    """Independent uniform points of a centred square, `[count, num_entities, 2]`."""
    return rng.uniform(-half_width, half_width, size=(count, num_entities, 2))


def relative_positions(positions: np.ndarray, agent: int, num_agents: int) -> np.ndarray:
    """All landmarks, then all other agents, as seen from one agent: `[B, 2 * (E - 1)]`."""
    num_entities = positions.shape[1]
    others = [*range(num_agents, num_entities), *(i for i in range(num_agents) if i != agent)]
    relative = positions[:, others] - positions[:, agent, None]
    return relative.reshape(len(positions), -1)


def egocentric_observations(positions: np.ndarray, velocities: np.ndarray) -> list[np.ndarray]:
    """Own velocity, landmarks and other agents relative to oneself: N arrays `[B, 2 * E]`.

    No own position, as in the particle world of MAGAIL (Song et al., 2018). Its communication
    entries, always zero in these games, are left out.
    """
    num_agents = velocities.shape[1]
    # Agent first: each agent's array is contiguous.
    observations = np.empty((num_agents, len(positions), 2 * positions.shape[1]), np.float32)
    for agent in range(num_agents):
        observations[agent, :, :2] = velocities[:, agent]
        observations[agent, :, 2:] = relative_positions(positions, agent, num_agents)
    return list(observations)


def overlap_penalties(positions: np.ndarray, size: float) -> np.ndarray:
    """Soft collisions of N equal discs of radius `size` at `[B, N, 2]`: values <= 0, `[B, N]`.

    The sum over all agents of `min(distance - 2 * size, 0)`. The sum includes the agent itself, as
    in the particle world of MAGAIL, which costs everyone a constant `2 * size` per round.
    """
    distances = lengths(displacements(positions, positions))
    return np.minimum(distances - 2.0 * size, 0.0).sum(axis=0).T
