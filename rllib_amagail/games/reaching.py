"""Cooperative reaching (paper section 5): everybody to one landmark with minimum collision."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rllib_amagail.games.navigation import AGENT_SIZE, LANDMARK_SIZE
from rllib_amagail.games.particles import AgentBody, Landmark, displacements, lengths
from rllib_amagail.games.scenario import (
    Scenario,
    egocentric_observations,
    overlap_penalties,
    uniform_positions,
)


@dataclass(frozen=True)
class CooperativeReaching(Scenario):
    """N agents and one landmark.

    Reward of an agent: minus the sum of all agents' distances to the landmark, plus its own
    (negative) soft collisions, see `overlap_penalties`. Observation `[B, 2 N + 2]`: own velocity,
    landmark relative to oneself, other agents relative to oneself. Raises ValueError if
    `num_agents` < 1.
    """

    name: ClassVar[str] = "cooperative_reaching"
    num_agents: int = 3

    def __post_init__(self) -> None:
        if self.num_agents < 1:
            raise ValueError(f"num_agents must be at least 1, found {self.num_agents}.")

    def make_entities(self) -> tuple[tuple[AgentBody, ...], tuple[Landmark, ...]]:
        agents = tuple(AgentBody(f"agent_{i}", AGENT_SIZE) for i in range(1, self.num_agents + 1))
        return agents, (Landmark("landmark_1", LANDMARK_SIZE),)

    def reset_positions(self, count: int, rng: np.random.Generator) -> np.ndarray:
        return uniform_positions(count, self.num_agents + 1, 1.0, rng)

    def rewards(self, positions: np.ndarray) -> np.ndarray:
        agents, landmark = np.split(positions, [self.num_agents], axis=1)
        remaining = lengths(displacements(agents, landmark)).sum(axis=(0, 1))
        return overlap_penalties(agents, AGENT_SIZE) - remaining[:, None]

    def observations(self, positions: np.ndarray, velocities: np.ndarray) -> list[np.ndarray]:
        return egocentric_observations(positions, velocities)
