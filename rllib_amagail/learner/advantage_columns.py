"""Line 9 of Algorithm 1: value and advantage estimates of one module's turns."""

from __future__ import annotations

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_amagail.advantages import turn_advantages
from rllib_amagail.learner.agent_module import OTHERS
from rllib_amagail.learner.sequences import SEQUENCE_STARTS
from rllib_amagail.learner.turns import TurnBatch
from rllib_amagail.running_moments import RunningMoments


def advantage_columns(
    turns: TurnBatch,
    rewards: np.ndarray,
    module: RLModule,
    value_moments: RunningMoments,
    *,
    gamma: float,
    lambda_: float,
) -> dict[str, torch.Tensor]:
    """Line 9: the columns that the generators' losses read, ``[T, ...]``, on the module's device.

    The baseline network predicts standardised values, because discounted sums of rewards can lie
    anywhere: ``V = mean + deviation * output``.

    Args:
        turns: the module's turns.
        rewards: ``[T]`` rewards to learn from.
        module: values the turns and their final observations.
        value_moments: of all value targets so far; takes in the new ones.
        gamma: discount per round.
        lambda_: decay per turn.

    Returns:
        Rollout columns, standardised value targets V*, advantages A_i of mean 0 and deviation 1.
    """
    device = next(module.parameters()).device
    seen = {Columns.OBS: np.concatenate([turns.observations, turns.final_observations])}
    if turns.others is not None:
        seen[OTHERS] = np.concatenate([turns.others, turns.final_others])
    seen |= _sequence_columns(turns, with_final=True)
    with torch.no_grad():
        estimates = module.compute_values(
            {name: torch.from_numpy(column).to(device) for name, column in seen.items()}
        )
    estimates = value_moments.mean + value_moments.deviation * estimates.cpu().numpy()
    values, final_values = np.split(estimates, [len(turns)])
    advantages = turn_advantages(
        rewards,
        values,
        np.where(turns.terminated, 0.0, final_values),
        turns.elapsed_rounds,
        turns.segment_starts,
        gamma=gamma,
        lambda_=lambda_,
    )
    value_targets = advantages + values
    value_moments.update(value_targets)
    deviation = max(1e-4, float(advantages.std()))
    columns = {
        Columns.OBS: turns.observations,
        Columns.ACTIONS: turns.actions,
        Columns.ACTION_LOGP: turns.action_logp,
        Columns.ACTION_DIST_INPUTS: turns.action_dist_inputs,
        Postprocessing.VALUE_TARGETS: value_moments.standardise(value_targets),
        Postprocessing.ADVANTAGES: (advantages - advantages.mean()) / deviation,
    }
    if turns.others is not None:
        columns[OTHERS] = turns.others
    columns |= _sequence_columns(turns, with_final=False)
    return {name: torch.from_numpy(column).to(device) for name, column in columns.items()}


def _sequence_columns(turns: TurnBatch, with_final: bool) -> dict[str, np.ndarray]:
    """For a recurrent policy: agent episodes are sequences, a final observation is one of its own.

    Args:
        turns: T turns in S agent episodes.
        with_final: append the S final observations.
    """
    if turns.states is None or turns.final_states is None:
        return {}
    starts = np.zeros(len(turns), bool)
    starts[turns.segment_starts[:-1]] = True
    if not with_final:
        return {SEQUENCE_STARTS: starts, Columns.STATE_IN: turns.states}
    return {
        SEQUENCE_STARTS: np.append(starts, np.ones(len(turns.final_states), bool)),
        Columns.STATE_IN: np.concatenate([turns.states, turns.final_states]),
    }
