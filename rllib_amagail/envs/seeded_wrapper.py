"""What environments around other environments have in common: seeds, states, rendering."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_amagail.envs.wrapped_env import WrappedEnv


class SeededWrapper(MultiAgentEnv):
    """An RLlib environment around another one, with a random stream of its own.

    Both streams are seeded as two children of one SeedSequence.

    Args:
        wrapped: the other one.

    Attributes:
        possible_agents: all agents, in order.
        agents: of the running episode.
    """

    def __init__(self, wrapped: WrappedEnv) -> None:
        super().__init__()
        self._wrapped = wrapped
        self.possible_agents = list(wrapped.possible_agents)
        self.agents = list(self.possible_agents)
        self.metadata = dict(getattr(wrapped.env, "metadata", {}))
        self.render_mode = getattr(wrapped.env, "render_mode", None)
        self._env_seed: int | None = None  # of the next reset of the other one

    @abstractmethod
    def _seed_stream(self, seed: np.random.SeedSequence) -> None:
        """Begin the own stream afresh."""

    @abstractmethod
    def _stream_state(self) -> dict[str, Any]:
        """Copy of the own stream's state."""

    @abstractmethod
    def _continue_stream(self, state: Mapping[str, Any]) -> None:
        """Go on where `_stream_state` was called; `state` may hold more."""

    def get_state(self) -> dict[str, Any]:
        """The random streams: the own one and, if the other one has `get_state`, its state."""
        state = {**self._stream_state(), "env_seed": self._env_seed}
        if self._wrapped.has_state:
            state["env"] = self._wrapped.env.get_state()
        return state

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue the streams of a `get_state`. `reset` comes next: no episode is resumed.

        Raises:
            ValueError: if `state` is of an environment of another kind.
        """
        expected = {*self._stream_state(), "env_seed"}
        if self._wrapped.has_state:
            expected.add("env")
        if set(state) != expected:
            raise ValueError(
                f"state has entries {sorted(state)}, expected {sorted(expected)}: pass what "
                f"get_state() of the same kind of environment gave"
            )
        self._continue_stream(state)
        self._env_seed = state["env_seed"]
        if self._wrapped.has_state:
            self._wrapped.env.set_state(state["env"])
        self._wrapped.abandon()

    def render(self) -> Any:
        """What the other one renders."""
        return self._wrapped.env.render()

    def close(self) -> None:
        """Close the other one."""
        self._wrapped.env.close()

    def _set_seed(self, seed: int) -> None:
        env_seed, own_seed = np.random.SeedSequence(seed).spawn(2)
        self._env_seed = int(env_seed.generate_state(1)[0])
        self._seed_stream(own_seed)
