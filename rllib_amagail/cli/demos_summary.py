"""What demonstrations hold, as plain numbers. E counts episodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from rllib_amagail.demonstrations import AgentRecord, Demonstrations
from rllib_amagail.demonstrations.participation import participation_of
from rllib_amagail.spaces import ActionLayout, space_to_dict
from rllib_amagail.turn_estimation import estimate_player_function


def summary(demonstrations: Demonstrations) -> dict[str, Any]:
    """Everything that `info` shows, as JSON."""
    lengths = demonstrations.episode_lengths()
    agents = {}
    for agent, record in demonstrations.records.items():
        layout = ActionLayout.from_space(demonstrations.action_spaces[agent])
        earned = returns(record, len(lengths))
        agents[agent] = {
            "rows": len(record),
            "turns": record.num_turns,
            "phi_share": record.phi_share,
            "return": None if earned is None else statistics(earned),
            "actions": action_statistics(record, layout),
            "observation_space": space_to_dict(demonstrations.observation_spaces[agent]),
            "action_space": space_to_dict(layout.space),
        }
    return {
        "game": demonstrations.game,
        "episodes": demonstrations.num_episodes,
        "rounds": {"total": int(lengths.sum()), **statistics(lengths)},
        "player_function": demonstrations.player_function,
        "estimated_player_function": estimated_player_function(demonstrations),
        "turns_kept_every": demonstrations.turns_kept_every,
        "has_actions": demonstrations.has_actions,
        "agents": agents,
        "provenance": demonstrations.provenance,
    }


def estimated_player_function(demonstrations: Demonstrations) -> dict[str, Any] | None:
    """What the recorded turns look like, or None where turns were left out."""
    if demonstrations.turns_kept_every > 1:
        return None
    return estimate_player_function(participation_of(demonstrations)).player_function.to_dict()


def returns(record: AgentRecord, num_episodes: int) -> np.ndarray | None:
    """[E] sums of an agent's rewards, or None if there are no rewards."""
    if record.reward is None:
        return None
    return np.bincount(record.episode, record.reward, minlength=num_episodes)


def statistics(values: np.ndarray) -> dict[str, float]:
    """Mean, standard deviation, smallest and largest of [K] values, K >= 1."""
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "min": float(values.min()),
        "max": float(values.max()),
    }


def action_counts(record: AgentRecord, layout: ActionLayout) -> list[np.ndarray]:
    """How often each choice of each component was taken; [] for a Box or without actions."""
    if record.action is None or not layout.sizes:
        return []
    chosen = layout.indices(record.action[record.participates]).reshape(record.num_turns, -1)
    return [
        np.bincount(chosen[:, component], minlength=size)
        for component, size in enumerate(layout.sizes)
    ]


def action_statistics(record: AgentRecord, layout: ActionLayout) -> list[Mapping[str, Any]] | None:
    """For each component of the actions: its first value and counts, or statistics of a Box."""
    if record.action is None or not record.num_turns:
        return None
    if isinstance(layout.space, Box):
        return [statistics(column) for column in record.action[record.participates].T]
    counts = action_counts(record, layout)
    return [
        {"first": int(first), "counts": count.tolist()}
        for first, count in zip(layout.low, counts, strict=True)
    ]
