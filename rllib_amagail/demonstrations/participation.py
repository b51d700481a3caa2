"""Who participated in which round of recorded episodes: I_t of the paper's section 2.1."""

from __future__ import annotations

import numpy as np

from rllib_amagail.demonstrations.data import Demonstrations
from rllib_amagail.demonstrations.errors import DemonstrationsError


def participation_of(demonstrations: Demonstrations) -> list[np.ndarray]:
    """I_t of every episode, from its round 0 to the last that is recorded of any agent.

    An agent without a row in a round did not participate in it; so after its end, if it ends before
    others, which a player function that is estimated from this takes for its turn order.

    Args:
        demonstrations: E episodes of N agents, dense or sparse.

    Returns:
        E arrays `[T_e, N]` bool, agents in their order.

    Raises:
        DemonstrationsError: turns were left out, so that nobody knows who participated.
    """
    if demonstrations.turns_kept_every != 1:
        raise DemonstrationsError(
            f"found demonstrations with one in {demonstrations.turns_kept_every} turns kept, "
            "expected all turns: use the recording before subsample()"
        )
    ends = np.cumsum(demonstrations.episode_lengths())
    starts = np.append(0, ends[:-1])
    found = np.zeros((ends[-1], len(demonstrations.agents)), bool)
    for index, agent in enumerate(demonstrations.agents):
        turns = demonstrations.records[agent].turns()
        found[starts[turns.episode] + turns.round, index] = True
    return np.split(found, ends[:-1])
