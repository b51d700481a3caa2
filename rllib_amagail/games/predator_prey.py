"""Predator-prey (paper section 5): three slower adversaries chase a faster agent."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rllib_amagail.games.particles import AgentBody, Landmark, displacements, lengths
from rllib_amagail.games.scenario import Scenario, relative_positions, uniform_positions

ADVERSARY_SIZE = 0.075
AGENT_SIZE = 0.05
LANDMARK_SIZE = 0.2
TOUCH_REWARD = 10.0


@dataclass(frozen=True)
class PredatorPrey(Scenario):
    """Adversaries (first) against good agents, among solid landmarks; `simple_tag`'s rules.

    Every adversary gets 10 per touching (adversary, agent) pair, whoever touches. A good agent
    loses 10 per adversary touching it, and `boundary_penalties` for running away. Observation: own
    velocity, own position, landmarks and other agents relative to oneself, velocities of the other
    good agents: with the default sizes 16 numbers for an adversary and 14 for the agent.
    Raises ValueError if a side is empty or the number of landmarks negative.
    """

    name: ClassVar[str] = "predator_prey"
    num_adversaries: int = 3
    num_good_agents: int = 1
    num_landmarks: int = 2

    def __post_init__(self) -> None:
        if self.num_adversaries < 1 or self.num_good_agents < 1 or self.num_landmarks < 0:
            raise ValueError(
                "predator_prey needs at least one adversary, one good agent and no negative number "
                f"of landmarks, found {self}."
            )

    @property
    def num_agents(self) -> int:
        """Agents of both sides, N."""
        return self.num_adversaries + self.num_good_agents

    def make_entities(self) -> tuple[tuple[AgentBody, ...], tuple[Landmark, ...]]:
        adversaries = (
            AgentBody(
                f"adversary_{i}", ADVERSARY_SIZE, acceleration=3.0, max_speed=1.0, adversary=True
            )
            for i in range(1, self.num_adversaries + 1)
        )
        good_agents = (
            AgentBody(f"agent_{i}", AGENT_SIZE, acceleration=4.0, max_speed=1.3)
            for i in range(1, self.num_good_agents + 1)
        )
        landmarks = (
            Landmark(f"landmark_{i}", LANDMARK_SIZE, collides=True)
            for i in range(1, self.num_landmarks + 1)
        )
        return (*adversaries, *good_agents), tuple(landmarks)

    def reset_positions(self, count: int, rng: np.random.Generator) -> np.ndarray:
        agents = uniform_positions(count, self.num_agents, 1.0, rng)
        landmarks = uniform_positions(count, self.num_landmarks, 0.9, rng)
        return np.concatenate([agents, landmarks], axis=1)

    def rewards(self, positions: np.ndarray) -> np.ndarray:
        adversaries = positions[:, : self.num_adversaries]
        good_agents = positions[:, self.num_adversaries : self.num_agents]
        distances = lengths(displacements(adversaries, good_agents))
        touches = (distances < ADVERSARY_SIZE + AGENT_SIZE).sum(axis=0).T  # [B, good agents]
        rewards = np.empty((len(positions), self.num_agents))
        rewards[:, : self.num_adversaries] = TOUCH_REWARD * touches.sum(axis=1)[:, None]
        rewards[:, self.num_adversaries :] = -TOUCH_REWARD * touches - boundary_penalties(
            good_agents
        )
        return rewards

    def observations(self, positions: np.ndarray, velocities: np.ndarray) -> list[np.ndarray]:
        good = range(self.num_adversaries, self.num_agents)
        observations = []
        for agent in range(self.num_agents):
            others = velocities[:, [other for other in good if other != agent]]
            parts = (
                velocities[:, agent],
                positions[:, agent],
                relative_positions(positions, agent, self.num_agents),
                others.reshape(len(positions), -1),
            )
            observations.append(np.concatenate(parts, axis=1, dtype=np.float32))
        return observations


def boundary_penalties(positions: np.ndarray) -> np.ndarray:
    """What leaving the arena costs at `[..., 2]`: values >= 0, `[...]`, summed over both axes.

    Per axis, with x the distance from the centre: nothing below 0.9, `10 (x - 0.9)` up to 1, and
    `exp(2 x - 2)` beyond, at most 10.
    """
    distances = np.abs(positions)
    ramp = np.maximum(10.0 * (distances - 0.9), 0.0)
    # Clipped before the exponential, which would overflow far outside.
    beyond = np.exp(np.minimum(2.0 * distances - 2.0, np.log(10.0)))
    return np.where(distances < 1.0, ramp, beyond).sum(axis=-1)
