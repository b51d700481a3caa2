"""Demonstrations as policies see them that are shown their own past."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rllib_amagail.demonstrations.data import Demonstrations
from rllib_amagail.demonstrations.errors import DemonstrationsError
from rllib_amagail.past_turns import History


def with_past_turns(
    demonstrations: Demonstrations, past_turns: int, *, elapsed_rounds: bool = True
) -> Demonstrations:
    """The same rows, with the agents' own past beside what they saw.

    It is what `PastTurnsEnv` would have shown them. Demonstrations that show this past already
    stay as they are.

    Args:
        demonstrations: E episodes, dense or sparse.
        past_turns: k, how many of an agent's own latest turns; 0 for none.
        elapsed_rounds: also how long ago they were, and the episode's beginning.

    Raises:
        DemonstrationsError: turns were left out of them, or actions that are to be shown, or they
            show another past.
    """
    return with_history(demonstrations, History(past_turns, elapsed_rounds))


def with_history(demonstrations: Demonstrations, history: History) -> Demonstrations:
    """`with_past_turns` of a `History`."""
    if not history:
        return demonstrations
    if demonstrations.turns_kept_every > 1:
        raise DemonstrationsError(
            f"one turn in {demonstrations.turns_kept_every} was kept, so an agent's latest turns "
            "are not known, but past_turns or elapsed_rounds are to be shown; use whole episodes"
        )
    if history.past_turns and not demonstrations.has_actions:
        raise DemonstrationsError(
            f"the demonstrations have no actions, but past_turns is {history.past_turns}, "
            "which shows them to policies; set past_turns=0. elapsed_rounds needs none"
        )
    records, spaces = {}, {}
    for agent, record in demonstrations.records.items():
        space = demonstrations.observation_spaces[agent]
        try:
            layout = history.layout(space, demonstrations.action_spaces[agent])
        except ValueError as error:
            raise DemonstrationsError(f"agent {agent!r}: {error}") from error
        if layout is None:
            return demonstrations
        past = layout.recorded(
            record.episode, record.round, record.participates, record.observation, record.action
        )
        observation = np.concatenate([record.observation, past], axis=1)
        records[agent] = replace(record, observation=observation)
        spaces[agent] = layout.space
    return replace(demonstrations, records=records, observation_spaces=spaces)
