"""What a player function that looks at states would have been shown in recorded episodes."""

from __future__ import annotations

import numpy as np

from rllib_amagail.demonstrations.data import Demonstrations
from rllib_amagail.demonstrations.errors import DemonstrationsError
from rllib_amagail.demonstrations.participation import participation_of
from rllib_amagail.demonstrations.record import AgentRecord
from rllib_amagail.turn_sampler import states_and_actions


def joint_states_of(
    demonstrations: Demonstrations, *, needs_actions: bool = False
) -> list[np.ndarray]:
    """The joint state of every round, as `TurnBasedEnv` shows it to a higher-order player function.

    `VmasGame` shows the same; `make_game` shows positions and velocities, which are not recorded.
    Dense recordings only: a row of every agent in every round. What agents saw while they did not
    act decides when they act again, and sparse recordings do not have it.

    Args:
        demonstrations: E dense episodes of N agents.
        needs_actions: end with the last round's actions, as for a player function of that name;
            zeros in round 0.

    Returns:
        E arrays `[T_e, S]`: the flat observations of all agents in their order, each with its
        action mask behind it; then A numbers an agent, if asked for.

    Raises:
        DemonstrationsError: sparse or subsampled recordings, agents whose episodes end before
            those of others, or no actions, or actions of different shapes, where asked for.
    """
    participation = participation_of(demonstrations)
    lengths = demonstrations.episode_lengths()
    records = list(demonstrations.records.values())
    for record in records:
        if len(record) != lengths.sum():
            raise DemonstrationsError(
                f"found {len(record)} rows of {record.agent!r} in {lengths.sum()} rounds, expected "
                "one in every round, also where it does not act: record what all agents see, as "
                "record() does of a TurnBasedEnv and record_parallel of a PettingZoo environment"
            )
    states = np.concatenate([_seen(record) for record in records], axis=1)
    if needs_actions:
        taken = _actions(records)
        previous = np.concatenate([np.zeros_like(taken[:1]), taken[:-1]])
        acted = np.concatenate(participation)
        acted = np.concatenate([np.zeros_like(acted[:1]), acted[:-1]])
        acted[np.cumsum(lengths) - lengths] = False  # before an episode's first round
        states = states_and_actions(states, previous, acted)
    return np.split(states, np.cumsum(lengths)[:-1])


def _seen(record: AgentRecord) -> np.ndarray:
    """`[K, D + M]` features and mask, in the order of `ObservationLayout.flatten`."""
    if record.action_mask is None:
        return record.observation
    return np.concatenate([record.observation, record.action_mask], axis=1, dtype=np.float32)


def _actions(records: list[AgentRecord]) -> np.ndarray:
    """`[K, N, ...]` canonical actions of all agents."""
    actions = [record.action for record in records if record.action is not None]
    shapes = {action.shape[1:] for action in actions}
    if len(actions) < len(records) or len(shapes) > 1:
        found = f"of shapes {sorted(shapes)}" if actions else "nowhere"
        raise DemonstrationsError(f"found actions {found}, expected one shape for all agents")
    return np.stack(actions, axis=1)
