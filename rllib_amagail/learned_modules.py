"""What policies and rewards that were learned have in common: a network for every agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, Protocol, TypeVar

from gymnasium.spaces import Space

from rllib_amagail.spaces import ActionLayout, ObservationLayout


class LearnedNetwork(Protocol):
    """What `LearnedModules` tells of a network."""

    @property
    def observations(self) -> ObservationLayout:
        """Of the module."""

    @property
    def actions(self) -> ActionLayout:
        """Of the module."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where it comes from."""


N = TypeVar("N", bound=LearnedNetwork)


class LearnedModules(Generic[N]):
    """Networks by agent.

    Attributes:
        agents: who has one.
        observation_spaces, action_spaces: by agent.
        provenance: by agent, where its network comes from.
    """

    def __init__(self, networks: Mapping[str, N]) -> None:
        self._networks = dict(networks)
        self.agents = tuple(networks)
        self.observation_spaces: dict[str, Space] = {
            agent: network.observations.space for agent, network in networks.items()
        }
        self.action_spaces: dict[str, Space] = {
            agent: network.actions.space for agent, network in networks.items()
        }
        self.provenance = {agent: network.provenance for agent, network in networks.items()}

    def network(self, agent: str) -> N:
        """The network of an agent; ValueError for an unknown agent."""
        if agent not in self._networks:
            raise ValueError(f"found agent {agent!r}, expected one of {', '.join(self.agents)}")
        return self._networks[agent]
