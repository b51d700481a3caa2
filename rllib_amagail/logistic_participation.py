"""A player function that depends on the state and is a value: logistic in the state's numbers.

Paper, section 2.1, the higher-order form. Where agent i stands in round t >= 1 decides by::

    Y(i) = sigmoid(bias_i + sum_j turn_ij I_{t-1,j} + sum_k state_ik s_k + sum_p product_ip s_a s_b)

with the pairs (a, b) of the products p. Products of two numbers are what a distance takes: the
square of x_1 - x_2 is x_1**2 - 2 x_1 x_2 + x_2**2, so "acts while another one is near" is of this
form. Shapes: B worlds, N agents, S state numbers, P products.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rllib_amagail.turn_sampler import History, agents_in, probability_array
from rllib_amagail.value_player_function import ValuePlayerFunction

CERTAIN = 40.0  # a logit at which the sigmoid is 1 in float64, and 0 at its negative


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Of float64 of any shape, in [0, 1]: exactly 0 and 1 beyond `CERTAIN`, without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * logits))


def product_columns(states: np.ndarray, products: np.ndarray) -> np.ndarray:
    """`[B, P]`: the products of the pairs `[P, 2]` of columns of `states` `[B, S]`."""
    return states[:, products[:, 0]] * states[:, products[:, 1]]


@dataclass(frozen=True, eq=False)
class LogisticParticipation(ValuePlayerFunction):
    """Each agent acts by chance, given the joint state and who acted in the last round.

    Round 0 is drawn from `initial`, whatever the state. A logit of 40 is a certain turn, one of
    -40 a certain pause.

    Args:
        bias: `[N]` logits at state zero after a round in which nobody acted.
        turn_weights: `[N, N]`. Row i is what agent i's logit gains by each agent's last turn.
        state_weights: `[N, S]`, gains by each number of the state.
        initial: `[N]` in [0, 1], zeta.
        products: `[P, 2]` integers in 0..S-1, pairs of columns of the state. Default: none.
        product_weights: `[N, P]`, gains by their products. Default: none.
        needs_actions: the last of the S numbers are the last round's actions, see
            `states_and_actions`.

    Raises:
        ValueError: if an array has another shape or other values, or the states shown later are not
            `[B, S]`.
    """

    bias: np.ndarray
    turn_weights: np.ndarray
    state_weights: np.ndarray
    initial: np.ndarray
    products: np.ndarray = ()  # type: ignore[assignment]  # an array once constructed
    product_weights: np.ndarray | None = None
    needs_actions: bool = False
    type_name = "logistic_participation"
    memory = 1
    needs_states = True

    def __post_init__(self) -> None:
        num_agents = agents_in("initial", self.initial, "[N]")
        agents_in("state_weights", self.state_weights, "[N, S]")
        size = np.shape(self.state_weights)[1]
        products = _pairs(self.products, size)
        weights = self.product_weights
        if weights is None:
            weights = np.zeros((num_agents, len(products)))
        if not isinstance(self.needs_actions, bool):
            raise ValueError(f"needs_actions is {self.needs_actions!r}, expected True or False")
        self._set(
            bias=_finite("bias", self.bias, (num_agents,)),
            turn_weights=_finite("turn_weights", self.turn_weights, (num_agents, num_agents)),
            state_weights=_finite("state_weights", self.state_weights, (num_agents, size)),
            initial=probability_array("initial", self.initial, (num_agents,)),
            products=products,
            product_weights=_finite("product_weights", weights, (num_agents, len(products))),
            num_agents=num_agents,
        )

    def initial_probabilities(self) -> np.ndarray:
        return self.initial

    def probabilities(self, history: History) -> np.ndarray:
        states, size = history.states, self.state_weights.shape[1]
        if states is None or states.shape[1] != size:
            found = "none" if states is None else f"shape {states.shape}"
            raise ValueError(
                f"states: found {found}, expected (B, {size}) as state_weights has {size} columns: "
                "use a game that shows what the weights were made for"
            )
        states = states.astype(np.float64)
        logits = self.bias + history.participation[:, -1] @ self.turn_weights.T
        logits += states @ self.state_weights.T
        logits += product_columns(states, self.products) @ self._product_weights.T
        return sigmoid(logits)

    def may_abstain(self) -> np.ndarray:
        weights = (self.turn_weights, self.state_weights, self._product_weights)
        is_fixed = ~np.any(np.concatenate(weights, axis=1), axis=1)
        return ~(is_fixed & (sigmoid(self.bias) == 1.0) & (self.initial == 1.0))

    @property
    def _product_weights(self) -> np.ndarray:
        assert self.product_weights is not None  # since it was constructed
        return self.product_weights


def _finite(name: str, values: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    array = np.array(values, dtype=np.float64)
    if array.shape != shape or not np.isfinite(array).all():
        found = f"of shape {array.shape}" if array.shape != shape else "with NaN or infinity"
        raise ValueError(f"{name} is an array {found}, expected finite numbers of shape {shape}")
    array.flags.writeable = False
    return array


def _pairs(values: ArrayLike, size: int) -> np.ndarray:
    pairs = np.array(values) if np.size(values) else np.zeros((0, 2), np.int64)
    is_pairs = pairs.shape == (len(pairs), 2) and pairs.dtype.kind in "iu"
    if not is_pairs or ((pairs < 0) | (pairs >= size)).any():
        raise ValueError(
            f"products are {pairs.tolist()}, expected pairs [P, 2] of columns 0 to {size - 1}"
        )
    pairs.flags.writeable = False
    return pairs
