"""Advantages on game time: an agent's turns may lie several rounds apart.

Equation 7 discounts by rounds. Between two turns of one agent that are ``elapsed_rounds`` apart
the discount is therefore ``gamma ** elapsed_rounds``; with every agent acting in every round this
is ordinary generalised advantage estimation (arXiv:1506.02438).
"""

from __future__ import annotations

import numpy as np


def turn_advantages(
    rewards: np.ndarray,
    values: np.ndarray,
    bootstrap_values: np.ndarray,
    elapsed_rounds: np.ndarray,
    segment_starts: np.ndarray,
    *,
    gamma: float,
    lambda_: float,
) -> np.ndarray:
    """Generalised advantage estimates of many agent episodes at once.

    Rows are turns. Episode ``j`` owns rows ``segment_starts[j]`` up to ``segment_starts[j + 1]``::

        delta_k = r_k + gamma**d_k * V(s_{k+1}) - V(s_k)
        A_k     = delta_k + gamma**d_k * lambda * A_{k+1}

    with ``d_k = elapsed_rounds[k]``; lambda decays per turn.

    Args:
        rewards: ``[T]`` reward of each turn.
        values: ``[T]`` V(s_k).
        bootstrap_values: ``[S]`` value after the last turn: V of the final observation where an
            episode was cut or truncated, 0 where it terminated.
        elapsed_rounds: ``[T]`` rounds from this turn to the agent's next one (to the final
            observation for the last).
        segment_starts: ``[S + 1]`` row offsets, strictly increasing from 0 to T.
        gamma: discount per round, in [0, 1].
        lambda_: decay per turn, in [0, 1].

    Returns:
        ``[T]`` float32 advantages A_i(s, a); ``advantages + values`` are the value targets.

    Raises:
        ValueError: shapes or offsets that do not fit together.
    """
    _check_rows(rewards, values, bootstrap_values, elapsed_rounds, segment_starts)
    starts, lengths = segment_starts[:-1], np.diff(segment_starts)
    discounts = np.power(gamma, elapsed_rounds, dtype=np.float64)
    next_values = np.append(values[1:], 0.0)
    next_values[segment_starts[1:] - 1] = bootstrap_values
    advantages = rewards + discounts * next_values - values  # delta_k, completed in place below

    # Longest episodes first: those that still have a turn k are then a prefix.
    order = np.argsort(-lengths, kind="stable")
    starts, lengths = starts[order], lengths[order]
    decay = discounts * lambda_
    for k in range(int(lengths[0]) - 2 if len(lengths) else -1, -1, -1):
        rows = starts[: np.searchsorted(-lengths, -(k + 1))] + k
        advantages[rows] += decay[rows] * advantages[rows + 1]
    return advantages.astype(np.float32)


def _check_rows(
    rewards: np.ndarray,
    values: np.ndarray,
    bootstrap_values: np.ndarray,
    elapsed_rounds: np.ndarray,
    segment_starts: np.ndarray,
) -> None:
    rows = len(rewards)
    for name, array in (("values", values), ("elapsed_rounds", elapsed_rounds)):
        if array.shape != (rows,):
            raise ValueError(f"{name} has shape {array.shape}, expected ({rows},) like rewards")
    if bootstrap_values.shape != (len(segment_starts) - 1,):
        raise ValueError(
            f"bootstrap_values has shape {bootstrap_values.shape}, expected one per episode: "
            f"({len(segment_starts) - 1},)"
        )
    if segment_starts[0] != 0 or segment_starts[-1] != rows or (np.diff(segment_starts) < 1).any():
        raise ValueError(
            f"segment_starts must rise strictly from 0 to the number of rows {rows}, "
            f"found {segment_starts.tolist()[:10]}..."
        )
