"""Records from dense arrays of whole rounds, the form in which recorders see a game."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Space

from rllib_amagail.demonstrations.errors import DemonstrationsError
from rllib_amagail.demonstrations.record import AgentRecord
from rllib_amagail.spaces import ActionLayout

# [E, T, ...], or a list of E arrays [T_e, ...] when the episodes differ in length
Episodes = np.ndarray | Sequence[np.ndarray]


def records_from_rounds(
    agents: Sequence[str],
    action_spaces: Mapping[str, Space],
    observations: Mapping[str, Episodes],
    participation: Episodes,
    actions: Mapping[str, Episodes] | Episodes,
    rewards: Episodes | None,
    action_masks: Mapping[str, Episodes] | None,
) -> dict[str, AgentRecord]:
    """Dense records, one row per round, of `Demonstrations.from_rounds`; see there."""
    lengths = np.array([len(episode) for episode in participation], np.int64)
    if len(lengths) == 0:
        raise DemonstrationsError("found no episodes in participation, expected at least one")
    episode = np.repeat(np.arange(len(lengths)), lengths)
    first_row = np.cumsum(lengths) - lengths
    rounds = np.arange(len(episode)) - first_row[episode]
    participates = _joint(participation, lengths, len(agents), "participation")
    if participates.dtype != np.bool_:
        raise DemonstrationsError(f"found participation {participates.dtype}, expected bool")
    reward = None if rewards is None else _joint(rewards, lengths, len(agents), "rewards")
    shared = None
    if not isinstance(actions, Mapping):
        shared = _joint(actions, lengths, len(agents), "actions")

    records = {}
    for index, agent in enumerate(agents):
        own = participates[:, index]
        if shared is not None:
            values = shared[:, index]
        else:
            values = _join(_of(actions, agent, "actions"), lengths, f"actions of {agent!r}")
        layout = ActionLayout.from_space(action_spaces[agent])
        action = np.zeros((len(episode), *layout.shape), layout.dtype)
        action[own] = layout.encode(values[own], f"actions of {agent!r}")
        mask = None if action_masks is None else action_masks.get(agent)
        observation = _of(observations, agent, "observations")
        records[agent] = AgentRecord(
            agent=agent,
            episode=episode,
            round=rounds,
            participates=own,
            observation=_join(observation, lengths, f"observations of {agent!r}"),
            action=action,
            action_mask=None if mask is None else _join(mask, lengths, f"masks of {agent!r}"),
            reward=None if reward is None else reward[:, index],
        )
    return records


def _of(values: Any, agent: str, what: str) -> Episodes:
    if agent not in values:
        raise DemonstrationsError(f"{what}: found {sorted(values)}, expected also {agent!r}")
    return values[agent]


def _join(episodes: Episodes, lengths: np.ndarray, what: str) -> np.ndarray:
    """Episodes one after the other, [K, ...]."""
    found = [len(episode) for episode in episodes]
    if found != lengths.tolist():
        raise DemonstrationsError(
            f"{what}: found {len(found)} episodes of lengths {_short(found)}, expected "
            f"{len(lengths)} of lengths {_short(lengths.tolist())}, as participation has"
        )
    try:
        return np.concatenate([np.asarray(episode) for episode in episodes])
    except ValueError as error:
        raise DemonstrationsError(f"{what}: found episodes that do not fit: {error}") from error


def _joint(episodes: Episodes, lengths: np.ndarray, num_agents: int, what: str) -> np.ndarray:
    """`_join` of arrays whose second axis is the agents', [K, N, ...]."""
    rows = _join(episodes, lengths, what)
    if rows.ndim < 2 or rows.shape[1] != num_agents:
        raise DemonstrationsError(
            f"{what}: found rows of shape {rows.shape[1:]}, expected one entry for each of the "
            f"{num_agents} agents"
        )
    return rows


def _short(lengths: list[int]) -> str:
    return str(lengths) if len(lengths) <= 8 else f"{lengths[:8]}..."
