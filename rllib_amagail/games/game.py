"""The particle games: a scenario, a player function and B worlds that are played together."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete

from rllib_amagail.games.particles import (
    NULL_ACTION,
    NUM_ACTIONS,
    ActionOrder,
    Integration,
    ParticlePhysics,
)
from rllib_amagail.games.scenario import Scenario
from rllib_amagail.player_functions import PlayerFunction, TurnSampler
from rllib_amagail.turn_sampler import states_and_actions

DEFAULT_HORIZON = 50


@dataclass(frozen=True)
class RoundResult:
    """What one round gave, for B worlds and N agents.

    Attributes:
        rewards: `[B, N]` float32, 0 for agents that did not participate in this round.
        terminated: `[B]` bool, the game itself is over.
        truncated: `[B]` bool, the horizon is reached and the game is not over.
    """

    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray


class ParticleGame:
    """B worlds of one game, played in step. A single environment is B = 1.

    A round is played as in the paper's section 5: agents that participate apply their action, the
    others the null action; the world moves; participants get the reward of the state they arrived
    at, the others nothing; then the player function says who participates in the next round.

    Worlds are not reset by themselves: pass the ended ones to `reset`. A new game is already reset.

    Attributes:
        name: the game's name in the registry.
        agents: names of the N agents, in the order of all arrays.
        bodies, landmarks: the discs they are; positions hold the bodies first.
        observation_spaces, action_spaces: by agent; `Box [D_i]` float32 and `Discrete(5)`.
        horizon: rounds of an episode.

    Raises:
        ValueError: if the player function is for another number of agents, or `batch_size` or
            `horizon` is below 1.
    """

    def __init__(
        self,
        scenario: Scenario,
        player_function: PlayerFunction,
        *,
        rng: np.random.Generator,
        batch_size: int = 1,
        horizon: int = DEFAULT_HORIZON,
        name: str | None = None,
        integration: Integration = "velocity_first",
        action_order: ActionOrder = "positive_first",
    ) -> None:
        self.bodies, self.landmarks = scenario.make_entities()
        self.agents = tuple(body.name for body in self.bodies)
        if player_function.num_agents != len(self.agents):
            raise ValueError(
                f"the player function is for {player_function.num_agents} agents, expected "
                f"{len(self.agents)}: {', '.join(self.agents)}"
            )
        if batch_size < 1 or horizon < 1:
            raise ValueError(
                f"batch_size is {batch_size} and horizon is {horizon}, expected at least 1 each"
            )
        self.name = name or scenario.name
        self.scenario = scenario
        self.player_function = player_function
        self.batch_size = batch_size
        self.horizon = horizon
        self._physics = ParticlePhysics(
            self.bodies, self.landmarks, integration=integration, action_order=action_order
        )
        # Two streams: another player function must not change where the worlds start.
        self._world_rng, player_rng = rng.spawn(2)
        self._sampler = TurnSampler(player_function, batch_size, player_rng)
        num_entities = len(self.bodies) + len(self.landmarks)
        self._positions = np.zeros((batch_size, num_entities, 2))
        self._velocities = np.zeros((batch_size, len(self.bodies), 2))
        self._ended = np.zeros(batch_size, dtype=bool)
        self.reset()
        self.observation_spaces = {
            agent: Box(-np.inf, np.inf, shape=rows.shape[1:], dtype=np.float32)
            for agent, rows in self.observations().items()
        }
        self.action_spaces = {agent: Discrete(NUM_ACTIONS) for agent in self.agents}

    @property
    def positions(self) -> np.ndarray:
        """Copy of the positions, float64 `[B, E, 2]`: the agents, then the landmarks."""
        return self._positions.copy()

    @property
    def velocities(self) -> np.ndarray:
        """Copy of the agents' velocities, float64 `[B, N, 2]`, in world units per unit of time."""
        return self._velocities.copy()

    @property
    def participation(self) -> np.ndarray:
        """I_t, bool `[B, N]`, read-only: who participates in the round about to be played."""
        return self._sampler.participation

    @property
    def rounds(self) -> np.ndarray:
        """t, int64 `[B]`, read-only: the round about to be played, from 0."""
        return self._sampler.rounds

    @property
    def ended(self) -> np.ndarray:
        """Copy of `[B]` bool: worlds whose episode is over, to be reset before the next round."""
        return self._ended.copy()

    def reset(self, worlds: np.ndarray | None = None) -> None:
        """Start new episodes in the chosen worlds, `[B]` bool; None is all of them.

        Raises ValueError if `worlds` is not such a mask.
        """
        self._sampler.reset(worlds)
        chosen = np.ones(self.batch_size, dtype=bool) if worlds is None else np.asarray(worlds)
        count = int(np.count_nonzero(chosen))
        self._positions[chosen] = self.scenario.reset_positions(count, self._world_rng)
        self._velocities[chosen] = 0.0
        self._ended[chosen] = False

    def observations(self) -> dict[str, np.ndarray]:
        """What each agent sees now, participating or not: agent to `[B, D_i]` float32."""
        rows = self.scenario.observations(self._positions, self._velocities)
        return dict(zip(self.agents, rows, strict=True))

    def states(self) -> np.ndarray:
        """Joint states, float64 `[B, 2 E + 2 N]`: all positions, then all velocities."""
        flat = (array.reshape(self.batch_size, -1) for array in (self._positions, self._velocities))
        return np.concatenate(list(flat), axis=1)

    def step(self, actions: np.ndarray) -> RoundResult:
        """Play one round in every world.

        Args:
            actions: `[B, N]` integers in 0..4. The entry of a non-participant is ignored.

        Raises:
            ValueError: if `actions` has another shape or type, or a participant's action is none.
            RuntimeError: if the episode of a world is over and was not reset.
        """
        if self._ended.any():
            ended = np.flatnonzero(self._ended).tolist()
            raise RuntimeError(f"the episode is over in worlds {ended}: reset them before step()")
        participation = self.participation
        self._positions, self._velocities = self._physics.step(
            self._positions, self._velocities, self._applied_actions(actions)
        )
        rewards = np.where(participation, self.scenario.rewards(self._positions), 0.0)
        self._sampler.step(self._seen_by_player_function(actions))
        terminated = self.scenario.terminated(self._positions)
        truncated = (self.rounds >= self.horizon) & ~terminated
        self._ended = terminated | truncated
        return RoundResult(rewards.astype(np.float32), terminated, truncated)

    def _seen_by_player_function(self, actions: np.ndarray) -> np.ndarray | None:
        if not self.player_function.needs_states:
            return None
        if not self.player_function.needs_actions:
            return self.states()
        return states_and_actions(self.states(), actions, self.participation)

    def get_state(self) -> dict[str, Any]:
        """Copy of all that decides the future: worlds, participation and both random streams."""
        return {
            "positions": self._positions.copy(),
            "velocities": self._velocities.copy(),
            "ended": self._ended.copy(),
            "world_generator": copy.deepcopy(self._world_rng.bit_generator.state),
            "sampler": self._sampler.get_state(),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `get_state` was called.

        Raises ValueError if an entry is missing or is of another game or batch size.
        """
        kept = self.get_state()
        missing = set(kept) - set(state)
        if missing:
            raise ValueError(f"game state lacks {sorted(missing)}: pass what get_state() gave")
        arrays = {}
        for key in ("positions", "velocities", "ended"):
            arrays[key] = np.array(state[key], dtype=kept[key].dtype)
            if arrays[key].shape != kept[key].shape:
                raise ValueError(
                    f"game state has {key} of shape {arrays[key].shape}, expected "
                    f"{kept[key].shape}: make the game with the same sizes and batch_size"
                )
        self._sampler.set_state(state["sampler"])
        self._world_rng.bit_generator.state = copy.deepcopy(state["world_generator"])
        self._positions, self._velocities = arrays["positions"], arrays["velocities"]
        self._ended = arrays["ended"]

    def _applied_actions(self, actions: np.ndarray) -> np.ndarray:
        """The actions with everything ignored replaced by the null action, `[B, N]`."""
        actions = np.asarray(actions)
        if actions.shape != self.participation.shape or actions.dtype.kind not in "iu":
            raise ValueError(
                f"actions is {actions.dtype} of shape {actions.shape}, expected integers of shape "
                f"{self.participation.shape}: one row a world, one column an agent"
            )
        applied = np.where(self.participation, actions, NULL_ACTION)
        if applied.min() < 0 or applied.max() >= NUM_ACTIONS:
            world, agent = np.argwhere((applied < 0) | (applied >= NUM_ACTIONS))[0]
            raise ValueError(
                f"the action of {self.agents[agent]} in world {world} is {applied[world, agent]}, "
                f"expected 0 to {NUM_ACTIONS - 1}"
            )
        return applied


def episode_score(rewards: np.ndarray) -> np.ndarray:
    """The paper's score of episodes: gated rewards summed over rounds, averaged over agents.

    `[T, ..., N]` gives `[...]`; so the `[T, B, N]` of B worlds gives `[B]`. Appendix C's tables
    report its mean over 1,000 episodes.
    """
    return np.asarray(rewards, dtype=np.float64).sum(axis=0).mean(axis=-1)
