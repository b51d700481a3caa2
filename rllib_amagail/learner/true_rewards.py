"""What the environment's own reward says of the learned one, where there is one."""

from __future__ import annotations

import math

import numpy as np

from rllib_amagail.correlations import reward_correlations
from rllib_amagail.learner.turns import TurnBatch

CORRELATION = "correlation_with_true_reward"


def correlations_of_turns(turns: TurnBatch, rewards: np.ndarray) -> dict[str, dict[str, float]]:
    """Correlations per agent of a module's learned ``rewards`` (``[T]``) with the environment's.

    Of turns in which the agent participated. An agent is left out if either reward is the same in
    all of them.
    """
    agent_of_row = np.repeat(turns.agents, np.diff(turns.segment_starts))
    learned, true = {}, {}
    for agent in sorted(set(turns.agents)):
        rows = (agent_of_row == agent) & turns.participates
        learned[agent], true[agent] = rewards[rows], turns.rewards[rows]
    found = reward_correlations(learned, true)
    return {agent: pair for agent, pair in found.items() if math.isfinite(pair["pearson"])}
