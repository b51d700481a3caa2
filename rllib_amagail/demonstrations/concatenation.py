"""Demonstrations of several sources as one."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rllib_amagail.demonstrations.data import Demonstrations
from rllib_amagail.demonstrations.errors import DemonstrationsError
from rllib_amagail.demonstrations.record import AgentRecord


def concatenate(parts: Sequence[Demonstrations]) -> Demonstrations:
    """All episodes of `parts`, in order and renumbered; the provenances are kept in a list.

    Raises DemonstrationsError if there are no parts or if they differ in agents, spaces, game,
    player function, kept turns, or in having rewards or actions.
    """
    if not parts:
        raise DemonstrationsError("found no demonstrations to concatenate, expected at least one")
    first = parts[0]
    for part in parts[1:]:
        part.check_compatible(first.agents, first.observation_spaces, first.action_spaces)
        for name in ("game", "player_function", "turns_kept_every", "has_actions"):
            if getattr(part, name) != getattr(first, name):
                raise DemonstrationsError(
                    f"found {name} {getattr(part, name)}, expected {getattr(first, name)} as in "
                    f"the first part"
                )
    with_rewards = [part.records[first.agents[0]].reward is not None for part in parts]
    if len(set(with_rewards)) > 1:
        raise DemonstrationsError("found parts with and without rewards, expected one kind")
    starts = np.cumsum([0, *(part.num_episodes for part in parts[:-1])])
    records = {}
    for agent in first.agents:
        columns = [part.records[agent].columns(slice(None)) for part in parts]
        for part_columns, start in zip(columns, starts, strict=True):
            part_columns["episode"] = part_columns["episode"] + start
        joined: dict[str, Any] = {
            name: None if value is None else np.concatenate([each[name] for each in columns])
            for name, value in columns[0].items()
        }
        records[agent] = AgentRecord(agent, **joined)
    provenance = {"concatenated": [part.provenance for part in parts]}
    return replace(first, records=records, provenance=provenance)
