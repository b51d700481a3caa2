"""Physics of the particle world (Lowe et al., 2017), B worlds at once.

The paper builds its games on this world (section 5). Entities are discs in the plane: agents move,
landmarks do not. Positions are float64 `[B, E, 2]`, the N agents first and then the landmarks;
velocities are `[B, N, 2]`, because only agents have one. Lengths are in world units (entities start
in the square from -1 to 1), one round lasts `TIME_STEP`.

Two conventions differ between the world of 2018, which the paper used, and today's `mpe2`:

| option | 2018 (default) | `mpe2` |
|---|---|---|
| `integration` | `velocity_first`: move with the new velocity | `position_first`: the old one |
| `action_order` | `positive_first`: 1 to 4 are +x -x +y -y | `negative_first`: -x +x -y +y |

Action 0 pushes nowhere in both. It is what an agent applies that does not participate.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Integration = Literal["velocity_first", "position_first"]
ActionOrder = Literal["positive_first", "negative_first"]

NUM_ACTIONS = 5
NULL_ACTION = 0

TIME_STEP = 0.1
DAMPING = 0.25
CONTACT_FORCE = 100.0
CONTACT_MARGIN = 1e-3
# Beyond this many margins of free space a contact force is below 1e-20: it is taken as zero.
_CONTACT_REACH = 50.0

_POSITIVE_FIRST = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]], dtype=np.float64)


@dataclass(frozen=True)
class AgentBody:
    """A disc that acts: radius `size`, unit mass, and always solid.

    `acceleration` is the force of one push. `max_speed` None means no limit. `adversary` tells the
    two sides of a competitive game apart.
    """

    name: str
    size: float
    acceleration: float = 5.0
    max_speed: float | None = None
    adversary: bool = False


@dataclass(frozen=True)
class Landmark:
    """A disc that never moves: radius `size`; agents bounce off it only if it `collides`."""

    name: str
    size: float
    collides: bool = False


def displacements(origins: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Vectors `[2, M, K, B]` from each of `origins` `[B, M, 2]` to each of `targets` `[B, K, 2]`.

    Worlds come last here, because numpy is several times faster along a long contiguous axis.
    """
    origins, targets = np.ascontiguousarray(origins.T), np.ascontiguousarray(targets.T)
    return targets[:, None, :, :] - origins[:, :, None, :]


def lengths(vectors: np.ndarray) -> np.ndarray:
    """Euclidean lengths `[...]` of vectors `[2, ...]`."""
    squares = vectors * vectors
    return np.sqrt(squares[0] + squares[1])


class ParticlePhysics:
    """One round of motion under the agents' pushes, contact forces and damping.

    Raises ValueError for an unknown `integration` or `action_order`. The arrays given to `step`
    are trusted: `ParticleGame` validates what comes from outside.
    """

    def __init__(
        self,
        agents: tuple[AgentBody, ...],
        landmarks: tuple[Landmark, ...],
        *,
        integration: Integration = "velocity_first",
        action_order: ActionOrder = "positive_first",
    ) -> None:
        _check_choice("integration", integration, get_args(Integration))
        _check_choice("action_order", action_order, get_args(ActionOrder))
        self.integration = integration
        self.action_order = action_order
        self._num_agents = len(agents)
        self._agent_indices = np.arange(len(agents))
        directions = _POSITIVE_FIRST if action_order == "positive_first" else -_POSITIVE_FIRST
        accelerations = np.array([agent.acceleration for agent in agents])
        self._pushes = accelerations[:, None, None] * directions  # [N, 5, 2]
        solid = [index for index, landmark in enumerate(landmarks) if landmark.collides]
        self._colliders = np.array([*range(len(agents)), *(len(agents) + i for i in solid)])
        sizes = np.array([agent.size for agent in agents] + [disc.size for disc in landmarks])
        # [N, C, 1]: distance at which agent n touches collider c.
        self._touching = (sizes[: len(agents), None] + sizes[self._colliders])[..., None]
        limits = [agent.max_speed for agent in agents]
        self._max_speeds = (
            None
            if all(limit is None for limit in limits)
            else np.array([np.inf if limit is None else limit for limit in limits])
        )

    def step(
        self, positions: np.ndarray, velocities: np.ndarray, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Play one round: `[B, E, 2]`, `[B, N, 2]`, actions `[B, N]` in 0..4.

        Returns new positions and velocities; the inputs stay as they are.
        """
        forces = self._pushes[self._agent_indices, actions] + self._contact_forces(positions)
        new_velocities = self._limit(velocities * (1.0 - DAMPING) + forces * TIME_STEP)
        moving = new_velocities if self.integration == "velocity_first" else velocities
        new_positions = positions.copy()
        new_positions[:, : self._num_agents] += moving * TIME_STEP
        return new_positions, new_velocities

    def _contact_forces(self, positions: np.ndarray) -> np.ndarray:
        """Sum of the contact forces on every agent, `[B, N, 2]`.

        Two discs at distance d that touch at distance m repel along their line of centres with
        `CONTACT_FORCE * k * log(1 + exp((m - d) / k))`, k = `CONTACT_MARGIN`. Two discs at exactly
        the same point have no line of centres and exert no force.
        """
        away = -displacements(positions[:, : self._num_agents], positions[:, self._colliders])
        distances = lengths(away)  # [N, C, B]
        near = distances < self._touching + _CONTACT_REACH * CONTACT_MARGIN
        near &= distances > 0.0  # An agent and itself, among others.
        overlaps = (self._touching - distances)[near]
        penetrations = np.logaddexp(0.0, overlaps / CONTACT_MARGIN) * CONTACT_MARGIN
        strengths = np.zeros_like(distances)
        strengths[near] = CONTACT_FORCE * penetrations / distances[near]
        return (strengths * away).sum(axis=2).T

    def _limit(self, velocities: np.ndarray) -> np.ndarray:
        """Shorten velocities above their agent's `max_speed` to it."""
        if self._max_speeds is None:
            return velocities
        speeds = lengths(velocities.T).T
        excess = np.maximum(speeds / self._max_speeds, 1.0)
        return velocities / excess[..., None]


def _check_choice(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{option}={value!r} is unknown; choose one of {', '.join(known)}.")
