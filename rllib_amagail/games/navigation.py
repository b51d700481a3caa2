"""Cooperative navigation (paper section 5): cover every landmark without colliding."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rllib_amagail.games.particles import AgentBody, Landmark, displacements, lengths
from rllib_amagail.games.scenario import (
    Scenario,
    egocentric_observations,
    overlap_penalties,
    uniform_positions,
)

AGENT_SIZE = 0.15
LANDMARK_SIZE = 0.05
# A landmark counts as covered up to this distance to the nearest agent, as in MAGAIL's world.
COVER_RADIUS = 0.1


@dataclass(frozen=True)
class CooperativeNavigation(Scenario):
    """N agents and N landmarks.

    Reward of an agent: minus the sum over landmarks of the distance to the nearest agent, plus its
    own (negative) soft collisions, see `overlap_penalties`. Observation `[B, 4 N]`: own velocity,
    landmarks relative to oneself, other agents relative to oneself.

    `end_when_covered` ends an episode once every landmark has an agent within `COVER_RADIUS`, as
    MAGAIL did. Episodes of different lengths leak a preference for ending into imitation, so the
    default plays every episode to the horizon. Raises ValueError if `num_agents` < 1.
    """

    name: ClassVar[str] = "cooperative_navigation"
    num_agents: int = 3
    end_when_covered: bool = False

    def __post_init__(self) -> None:
        if self.num_agents < 1:
            raise ValueError(f"num_agents must be at least 1, found {self.num_agents}.")

    def make_entities(self) -> tuple[tuple[AgentBody, ...], tuple[Landmark, ...]]:
        numbers = range(1, self.num_agents + 1)
        agents = tuple(AgentBody(f"agent_{i}", AGENT_SIZE) for i in numbers)
        return agents, tuple(Landmark(f"landmark_{i}", LANDMARK_SIZE) for i in numbers)

    def reset_positions(self, count: int, rng: np.random.Generator) -> np.ndarray:
        return uniform_positions(count, 2 * self.num_agents, 1.0, rng)

    def rewards(self, positions: np.ndarray) -> np.ndarray:
        uncovered = self._nearest_agent(positions).sum(axis=0)
        return overlap_penalties(positions[:, : self.num_agents], AGENT_SIZE) - uncovered[:, None]

    def observations(self, positions: np.ndarray, velocities: np.ndarray) -> list[np.ndarray]:
        return egocentric_observations(positions, velocities)

    def terminated(self, positions: np.ndarray) -> np.ndarray:
        if not self.end_when_covered:
            return super().terminated(positions)
        return np.all(self._nearest_agent(positions) <= COVER_RADIUS, axis=0)

    def _nearest_agent(self, positions: np.ndarray) -> np.ndarray:
        """Distance of every landmark to its nearest agent, `[N, B]`."""
        agents, landmarks = np.split(positions, [self.num_agents], axis=1)
        return lengths(displacements(agents, landmarks)).min(axis=0)
