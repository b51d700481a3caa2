"""What a `BatchedEnvRunner` plays: B worlds of one environment, as arrays.

Environments that can be stepped in this way are played many times faster than one by one. Theirs is
the protocol `BatchedWorlds`; `games.ParticleGame` is an example of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium.spaces import Box, Space

from rllib_amagail.runners.observed_checks import check_worlds_rewards, check_worlds_rows


class WorldsRound(Protocol):
    """What one round gave."""

    @property
    def rewards(self) -> np.ndarray:
        """`[B, N]` numbers; those of absent agents go to their latest turns."""

    @property
    def terminated(self) -> np.ndarray:
        """`[B]` bool: the episode is over."""

    @property
    def truncated(self) -> np.ndarray:
        """`[B]` bool: the episode is cut off, so its final observation has a value."""


@runtime_checkable
class BatchedWorlds(Protocol):
    """B worlds with the same N agents, played in step. `isinstance` checks for the names below.

    `reset` comes before the first look at them. Worlds do not reset themselves: after the round in
    which an episode ends, its observations are the final ones and its `rounds` the number of rounds
    played, until `reset` is called.

    Example: one agent counts to its limit, and every second round is not its turn.

        >>> import numpy as np
        >>> from gymnasium.spaces import Box, Discrete
        >>> from rllib_amagail.games.game import RoundResult
        >>> class Counters:
        ...     agents = ("counter",)
        ...     observation_spaces = {"counter": Box(0, np.inf, (1,), np.float32)}
        ...     action_spaces = {"counter": Discrete(2)}
        ...     def __init__(self, batch_size):
        ...         self.batch_size = batch_size
        ...         self.rounds, self.counts = np.zeros((2, batch_size), np.int64)
        ...     def reset(self, worlds=None):
        ...         self.rounds[worlds], self.counts[worlds] = 0, 0
        ...     @property
        ...     def participation(self):
        ...         return self.rounds[:, None] % 2 == 0
        ...     def observations(self):
        ...         return {"counter": self.counts[:, None].astype(np.float32)}
        ...     def step(self, actions):
        ...         added = np.where(self.participation, actions, 0)
        ...         self.rounds, self.counts = self.rounds + 1, self.counts + added[:, 0]
        ...         return RoundResult(added, self.counts == 3, self.rounds == 10)
        ...     def get_state(self):
        ...         return {"rounds": self.rounds.copy(), "counts": self.counts.copy()}
        ...     def set_state(self, state):
        ...         self.rounds, self.counts = state["rounds"].copy(), state["counts"].copy()
        >>> isinstance(Counters(4), BatchedWorlds)
        True
    """

    @property
    def agents(self) -> tuple[str, ...]:
        """The N agents, in the order of all arrays."""

    @property
    def observation_spaces(self) -> Mapping[str, Space]:
        """By agent; Box."""

    @property
    def action_spaces(self) -> Mapping[str, Space]:
        """By agent; all of one shape A (Discrete: none)."""

    @property
    def batch_size(self) -> int:
        """B."""

    @property
    def participation(self) -> np.ndarray:
        """I_t, bool `[B, N]`: who acts in the round about to be played."""

    @property
    def rounds(self) -> np.ndarray:
        """t, integers `[B]`: the round about to be played, from 0."""

    def reset(self, worlds: np.ndarray | None = None) -> None:
        """Start new episodes in the chosen worlds, `[B]` bool; None is all of them."""

    def observations(self) -> Mapping[str, np.ndarray]:
        """What each agent sees now, participating or not: agent to `[B, ...]` of its space."""

    def step(self, actions: np.ndarray) -> WorldsRound:
        """Play a round with actions `[B, N, *A]`. Those of absent agents are to be ignored."""

    def get_state(self) -> dict[str, Any]:
        """Copy of all that decides the future, random streams included."""

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where `get_state` was called.

        Worlds that cannot have an attribute ``resumes_episodes = False``. Theirs are states of
        random streams, and `reset` comes next.
        """


@dataclass(frozen=True)
class PlayedRound:
    """A round of B worlds, E of which ended in it and have been reset since.

    Attributes:
        rewards: `[B, N]`.
        ended: `[E]` indices of these worlds.
        terminated: `[E]` bool; the others were truncated.
        rounds: `[E]` rounds played.
        observations: agent to `[E, ...]`, the final ones.
    """

    rewards: np.ndarray
    ended: np.ndarray
    terminated: np.ndarray
    rounds: np.ndarray
    observations: Mapping[str, np.ndarray]

    def endings_in(self, worlds: np.ndarray) -> PlayedRound:
        """The same round, without the endings of other worlds than these, `[B]` bool."""
        kept = worlds[self.ended]
        if kept.all():
            return self
        observations = {agent: rows[kept] for agent, rows in self.observations.items()}
        return PlayedRound(
            self.rewards,
            self.ended[kept],
            self.terminated[kept],
            self.rounds[kept],
            observations,
        )


class AutoResetWorlds:
    """Batched worlds whose next episode begins in the step in which the last one ends.

    Args:
        env: an RLlib MultiAgentEnv with ``batched(batch_size: int, seed: int | None) ->
            BatchedWorlds``.
        batch_size: B.
        seed: for ``batched``.

    Attributes:
        unwrapped: `env`.
        worlds: what ``batched`` gave.
        observations: agent to `[B, ...]`, participation: bool `[B, N]`, rounds: int64 `[B]`; all of
            the round about to be played.

    Raises:
        TypeError: if `env` has no method ``batched``, or it returns something else.
        ValueError: if the worlds have other agents than `env`, another batch size, or spaces that
            are not supported.
    """

    def __init__(self, env: Any, batch_size: int, seed: int | None) -> None:
        if not callable(getattr(env, "batched", None)):
            raise TypeError(
                f"{type(env).__name__} has no method batched(batch_size, seed), expected one that "
                "returns rllib_amagail.runners.batched_worlds.BatchedWorlds: write it, or play "
                "the environment one by one with env_runner_cls=TurnEnvRunner"
            )
        self.unwrapped = env
        self.worlds: BatchedWorlds = env.batched(batch_size, seed)
        self._check_worlds(batch_size)

    def idle_actions(self) -> np.ndarray:
        """`[B, N, *A]` valid actions for those whose actions do not matter: zeros, or nearly so."""
        spaces = [self.worlds.action_spaces[agent] for agent in self.worlds.agents]
        zeros = [np.zeros(space.shape or (), dtype=space.dtype) for space in spaces]
        nearest = [
            np.clip(zero, space.low, space.high) if isinstance(space, Box) else zero
            for zero, space in zip(zeros, spaces, strict=True)
        ]
        return np.repeat(np.stack(nearest)[None], self.worlds.batch_size, axis=0)

    def reset(self) -> None:
        """Begin new episodes in all worlds; to be called before the first round.

        Raises:
            ValueError: if observations do not fit their spaces, or are not finite.
        """
        self.worlds.reset()
        self.observe()

    def step(self, actions: np.ndarray) -> PlayedRound:
        """Play a round with actions `[B, N, *A]` and reset the worlds that ended in it.

        Raises:
            ValueError: if the worlds return arrays of other shapes, or numbers that are not finite.
        """
        result = self.worlds.step(actions)
        rewards = np.array(result.rewards, dtype=np.float64)
        terminated = np.array(result.terminated, dtype=bool)
        ended = terminated | np.asarray(result.truncated, dtype=bool)
        found = (rewards.shape, ended.shape)
        expected = (self.participation.shape, self.rounds.shape)
        if found != expected:
            raise ValueError(
                f"step() of {type(self.worlds).__name__} returned rewards and ends of shapes "
                f"{found}, expected {expected}: one row a world, one column an agent"
            )
        check_worlds_rewards(self.worlds.agents, rewards)
        self.observe()
        indices = np.flatnonzero(ended)
        # Indexing copies, so that worlds may reuse their arrays.
        final = {agent: rows[indices] for agent, rows in self.observations.items()}
        played = PlayedRound(rewards, indices, terminated[indices], self.rounds[indices], final)
        if len(indices):
            self.worlds.reset(ended)
            self.observe()
        return played

    def observe(self) -> None:
        """Look at the worlds, whose state may have been set; raises as `reset`."""
        self.observations = self.worlds.observations()
        self._check_observations()
        self.participation = np.array(self.worlds.participation, dtype=bool)
        self.rounds = np.array(self.worlds.rounds, dtype=np.int64)

    def close(self) -> None:
        """Close the environment that made the worlds."""
        self.unwrapped.close()

    def _check_worlds(self, batch_size: int) -> None:
        worlds, name = self.worlds, type(self.unwrapped).__name__
        if not isinstance(worlds, BatchedWorlds):
            raise TypeError(
                f"batched() of {name} returned a {type(worlds).__name__}, expected it to have all "
                f"that rllib_amagail.runners.batched_worlds.BatchedWorlds has"
            )
        found = (list(worlds.agents), worlds.batch_size)
        if found != (list(self.unwrapped.possible_agents), batch_size):
            raise ValueError(
                f"batched() of {name} returned worlds with agents and batch size {found}, expected "
                f"{(list(self.unwrapped.possible_agents), batch_size)}"
            )
        for agent, space in worlds.observation_spaces.items():
            if not isinstance(space, Box):
                raise ValueError(
                    f"{agent!r} observes a {space}, expected a Box: flatten it, or play the "
                    f"environment one by one with env_runner_cls=TurnEnvRunner"
                )
        shapes = {agent: space.shape for agent, space in worlds.action_spaces.items()}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"actions have shapes {shapes}, expected one for all agents")

    def _check_observations(self) -> None:
        check_worlds_rows(self.worlds.observation_spaces, self.observations)
        for agent, space in self.worlds.observation_spaces.items():
            rows = self.observations[agent]
            expected = (self.worlds.batch_size, *space.shape)
            if rows.shape != expected or rows.dtype != space.dtype:
                raise ValueError(
                    f"observations of {agent!r} are {rows.dtype} of shape {rows.shape}, expected "
                    f"{space.dtype} of shape {expected}, as in its space"
                )
