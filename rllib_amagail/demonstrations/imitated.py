"""Demonstrations of some of the agents."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from rllib_amagail.demonstrations.data import Demonstrations
from rllib_amagail.demonstrations.errors import DemonstrationsError


def imitated(demonstrations: Demonstrations, agents: Collection[str] | None) -> Demonstrations:
    """The rows of ``agents``; None: of all.

    Episodes without a row of theirs are left out. The player function, which is of all agents, is
    not known any more.

    Raises:
        DemonstrationsError: one of them is not recorded.
    """
    if agents is None:
        return demonstrations
    found = demonstrations.agents
    if missing := sorted(set(agents) - set(found)):
        raise DemonstrationsError(
            f"found recordings of {list(found)}, expected of {missing}, too, since imitated_agents "
            f"is {list(agents)}. Record these agents, or imitate others"
        )
    kept = tuple(agent for agent in found if agent in agents)
    if kept == found:
        return demonstrations
    seen = np.unique(np.concatenate([demonstrations.records[agent].episode for agent in kept]))
    chosen = demonstrations.select(seen)
    return replace(
        chosen,
        agents=kept,
        records={agent: chosen.records[agent] for agent in kept},
        observation_spaces={agent: chosen.observation_spaces[agent] for agent in kept},
        action_spaces={agent: chosen.action_spaces[agent] for agent in kept},
        player_function=None,
    )
