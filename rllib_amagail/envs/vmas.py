"""Scenarios of VMAS, the Vectorized Multi-Agent Simulator; installed by the extra "vmas"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Space

from rllib_amagail.envs.vector_env import BatchedGame
from rllib_amagail.games.game import RoundResult
from rllib_amagail.player_functions import PlayerFunction, Synchronous
from rllib_amagail.turn_sampler import TurnSampler, states_and_actions


class VmasWorlds:
    """B worlds of a VMAS scenario as `BatchedWorlds`, with a player function.

    As in the paper's section 5, agents that do not participate apply the null action zero and earn
    nothing. States of higher-order player functions are `[B, S]`, all agents' observations in a
    row.

    VMAS draws random numbers from one stream for all its environments in a process. Here each has
    a stream of its own.

    Args:
        scenario: a name or a `BaseScenario` of VMAS.
        batch_size: B.
        seed: of the worlds and the player function.
        horizon: rounds after which an episode is truncated.
        player_function: None: `Synchronous`.
        options: for `vmas.make_env`, those of the scenario included; for example
            ``continuous_actions=False``.

    Attributes:
        resumes_episodes: False. Only the random streams are in the state, because scenarios keep
            what they like; after `set_state` new episodes begin.
        may_abstain: by agent, for `TurnBasedEnv`.

    Raises:
        ImportError: if VMAS is not installed.
        ValueError: if the player function is for another number of agents, or an agent's
            observation is no tensor.
    """

    resumes_episodes = False

    def __init__(
        self,
        scenario: Any,
        batch_size: int,
        seed: int | None,
        *,
        horizon: int,
        player_function: PlayerFunction | None = None,
        **options: Any,
    ) -> None:
        try:
            from vmas import make_env
            from vmas.simulator.environment import Environment
        except ImportError as error:
            raise ImportError("VMAS is not installed: pip install 'rllib_amagail[vmas]'") from error
        world_seeds, player_rng = np.random.default_rng(seed).spawn(2)
        self._shared_stream: list[Any] = Environment.vmas_random_state
        self._own_stream: list[Any] = list(self._shared_stream)
        with self._stream():
            self._env: Any = make_env(
                scenario,
                batch_size,
                seed=int(world_seeds.integers(2**31)),
                max_steps=horizon,
                terminated_truncated=True,
                clamp_actions=True,  # against the rounding of scaled actions
                **options,
            )
        self.agents = tuple(agent.name for agent in self._env.agents)
        self.batch_size = batch_size
        self.player_function = player_function or Synchronous(len(self.agents))
        if self.player_function.num_agents != len(self.agents):
            raise ValueError(
                f"the player function is for {self.player_function.num_agents} agents, expected "
                f"{len(self.agents)}: {', '.join(self.agents)}"
            )
        may_abstain = self.player_function.may_abstain().tolist()
        self.may_abstain = dict(zip(self.agents, may_abstain, strict=True))
        self._sampler = TurnSampler(self.player_function, batch_size, player_rng)
        self.action_spaces = {
            agent.name: _translated(self._env.get_agent_action_space(agent))
            for agent in self._env.agents
        }
        self._observe(self._look())
        self.observation_spaces = {
            agent: Box(-np.inf, np.inf, rows.shape[1:], rows.dtype)
            for agent, rows in self._observations.items()
        }

    @property
    def participation(self) -> np.ndarray:
        """As of `BatchedWorlds`."""
        return self._sampler.participation

    @property
    def rounds(self) -> np.ndarray:
        """As of `BatchedWorlds`."""
        return self._sampler.rounds

    def reset(self, worlds: np.ndarray | None = None) -> None:
        """As of `BatchedWorlds`."""
        with self._stream():
            if worlds is None:
                self._env.reset(return_observations=False)
            else:
                for world in np.flatnonzero(worlds).tolist():
                    self._env.reset_at(world, return_observations=False)
        self._sampler.reset(worlds)
        self._observe(self._look())

    def observations(self) -> dict[str, np.ndarray]:
        """As of `BatchedWorlds`."""
        return self._observations

    def step(self, actions: np.ndarray) -> RoundResult:
        """As of `BatchedWorlds`."""
        participation = self.participation
        acts = participation.reshape(*participation.shape, *[1] * (actions.ndim - 2))
        applied = torch.from_numpy(np.where(acts, actions, 0))
        with self._stream():
            seen, earned, terminated, truncated, _ = self._env.step(list(applied.unbind(1)))
        rewards = np.stack([_array(column) for column in earned], axis=1)
        self._observe(seen)
        states = None
        if self.player_function.needs_states:
            states = np.concatenate(list(self._observations.values()), axis=1)
            if self.player_function.needs_actions:
                states = states_and_actions(states, actions, participation)
        self._sampler.step(states)
        over = _array(terminated)
        return RoundResult(np.where(participation, rewards, 0.0), over, _array(truncated) & ~over)

    def get_state(self) -> dict[str, Any]:
        """The random streams, see `resumes_episodes`."""
        of_torch, of_numpy, of_python = self._own_stream
        return {
            "torch": of_torch.numpy().copy(),
            "numpy": of_numpy,
            "python": of_python,
            "sampler": self._sampler.get_state(),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue the streams of a `get_state`; `reset` comes next."""
        of_torch = torch.tensor(state["torch"], dtype=torch.uint8)
        self._own_stream = [of_torch, state["numpy"], state["python"]]
        self._sampler.set_state(state["sampler"])

    @contextmanager
    def _stream(self) -> Iterator[None]:
        """Let VMAS draw from this object's stream."""
        others, self._shared_stream[:] = list(self._shared_stream), self._own_stream
        try:
            yield
        finally:
            self._own_stream, self._shared_stream[:] = list(self._shared_stream), others

    def _look(self) -> list[Any]:
        with self._stream():
            (seen,) = self._env.get_from_scenario(
                get_observations=True, get_rewards=False, get_infos=False, get_dones=False
            )
        return seen

    def _observe(self, seen: list[Any]) -> None:
        for agent, rows in zip(self.agents, seen, strict=True):
            if not isinstance(rows, torch.Tensor):
                raise ValueError(
                    f"{agent!r} observes a {type(rows).__name__}, expected a tensor: choose an "
                    f"option of the scenario that gives one"
                )
        rows_of = zip(self.agents, map(_array, seen), strict=True)
        self._observations = {agent: rows.astype(np.float32) for agent, rows in rows_of}


class VmasGame(BatchedGame):
    """A VMAS scenario as an RLlib environment; the arguments are those of `VmasWorlds`.

    Example:
        >>> from ray import tune
        >>> from rllib_amagail import IndependentStochastic
        >>> turns = IndependentStochastic([0.5, 0.5, 0.5])
        >>> tune.register_env(
        ...     "spread",
        ...     lambda env_config: VmasGame("simple_spread", player_function=turns, **env_config),
        ... )
    """

    def __init__(
        self,
        scenario: Any,
        *,
        horizon: int = 100,
        player_function: PlayerFunction | None = None,
        phi_is_action: bool = False,
        show_everyone: bool = False,
        **options: Any,
    ) -> None:
        def make_worlds(batch_size: int, seed: int | None) -> VmasWorlds:
            turns = player_function
            return VmasWorlds(
                scenario, batch_size, seed, horizon=horizon, player_function=turns, **options
            )

        super().__init__(make_worlds, phi_is_action=phi_is_action, show_everyone=show_everyone)
        self.player_function = player_function  # for information: the worlds draw participants


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()


def _translated(space: Any) -> Space:
    """The same space in Gymnasium; VMAS has those of Gym."""
    if hasattr(space, "nvec"):
        return MultiDiscrete(space.nvec)
    if hasattr(space, "n"):
        return Discrete(int(space.n))
    return Box(space.low, space.high, dtype=space.dtype)
