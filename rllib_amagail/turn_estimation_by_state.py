"""Who moves when, learned as a function of the state: logistic regression of maximum likelihood.

Shapes: R rounds, N agents, S state numbers, P products, F features.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rllib_amagail.logistic_participation import (
    CERTAIN,
    LogisticParticipation,
    product_columns,
    sigmoid,
)

# Precision of a normal prior of mean zero on each weight, of a feature of standard deviation one.
# All rounds together weigh R times as much as one. It is so weak because turns may follow from the
# state for certain: then nothing but the prior keeps the weights finite.
RIDGE = 1e-5
MAX_PRODUCTS = 210  # of all pairs of 20 numbers; a step of Newton takes R * F**2 operations
MAX_STEPS = 100
# Fewer rounds for each weight, and some weights would explain turns that are by chance: of half as
# many features as rounds they explain all (Cover 1965, doi:10.1109/PGEC.1965.264137). BIC is for
# many rounds and does not see it.
ROUNDS_PER_WEIGHT = 5
_RESOLUTION = 1e-6  # states are float32: what varies by less, relatively, is rounding


def product_sets(num_states: int) -> Iterator[np.ndarray]:
    """The pairs `[P, 2]` worth a try: none, all squares, and all pairs if these are few."""
    columns = np.arange(num_states)
    yield np.zeros((0, 2), np.int64)
    yield np.stack([columns, columns], axis=1)
    pairs = np.stack(np.triu_indices(num_states), axis=1)
    if num_states < len(pairs) <= MAX_PRODUCTS:
        yield pairs


def fit_by_state(
    participation: np.ndarray,
    before: np.ndarray,
    states: np.ndarray,
    products: np.ndarray,
    initial: np.ndarray,
    needs_actions: bool,
) -> tuple[LogisticParticipation, int] | None:
    """The logistic player function of maximum likelihood, but for `RIDGE`, and its free parameters.

    None if there are too few rounds for so many weights.

    Args:
        participation: `[R, N]` bool, of rounds after the first of their episodes, R >= 1.
        before: `[R, N]` bool, of the rounds before those.
        states: `[R, S]` finite, what the player function is shown before it draws.
        products: `[P, 2]` pairs of columns of the states.
        initial: `[N]` in [0, 1], zeta.
        needs_actions: whether the states end with the last round's actions.
    """
    columns = [before, states, product_columns(states, products)]
    features = np.concatenate(columns, axis=1, dtype=np.float64)
    mean, spread = features.mean(axis=0), features.std(axis=0)
    varies = spread > _RESOLUTION * np.abs(features).max(axis=0)
    design = np.ones((len(features), 1 + int(varies.sum())))
    design[:, 1:] = (features - mean)[:, varies] / spread[varies]
    # Observations repeat each other; what another column tells already is no free parameter.
    rank = int(np.linalg.matrix_rank(design.T @ design, hermitian=True, tol=1e-10 * design.size))
    if len(design) < ROUNDS_PER_WEIGHT * rank:
        return None
    num_agents, num_parameters = participation.shape[1], 0
    bias, weights = np.zeros(num_agents), np.zeros((num_agents, features.shape[1]))
    for agent, acts in enumerate(participation.T):
        if acts.all() or not acts.any():
            bias[agent] = CERTAIN if acts.all() else -CERTAIN
            num_parameters += 1
            continue
        fitted = logistic_regression(design, acts)
        weights[agent, varies] = fitted[1:] / spread[varies]
        bias[agent] = fitted[0] - weights[agent] @ mean
        num_parameters += rank
    split = np.cumsum([num_agents, states.shape[1]])
    turn_weights, state_weights, product_weights = np.split(weights, split, axis=1)
    function = LogisticParticipation(
        bias, turn_weights, state_weights, initial, products, product_weights, needs_actions
    )
    return function, num_parameters


def logistic_regression(design: np.ndarray, happened: np.ndarray) -> np.ndarray:
    """`[F]` weights of the highest likelihood and prior, by Newton's method with halved steps.

    Args:
        design: `[R, F]` features of standard deviation one; the first column is ones, and its
            weight has no prior.
        happened: `[R]` bool; both must occur.
    """
    ridge = np.full(design.shape[1], RIDGE)
    ridge[0] = 0.0

    def loss(weights: np.ndarray) -> float:
        logits = design @ weights
        return float((np.logaddexp(0.0, logits) - happened * logits).sum() + ridge @ weights**2 / 2)

    weights = np.zeros(design.shape[1])
    lowest = loss(weights)
    for _ in range(MAX_STEPS):
        chances = sigmoid(design @ weights)
        gradient = design.T @ (chances - happened) + ridge * weights
        curvature = design.T @ (design * (chances * (1.0 - chances))[:, None]) + np.diag(ridge)
        step = np.linalg.solve(curvature, gradient)
        decrement = float(gradient @ step)
        if decrement < 1e-9:
            break
        share = 1.0
        while (found := loss(weights - share * step)) > lowest - 1e-4 * share * decrement:
            share *= 0.5
            if share < 1e-6:
                return weights
        weights, lowest = weights - share * step, found
    return weights
