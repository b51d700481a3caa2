"""What a player sees of a state of OpenSpiel: one flat tensor, by the observer's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_LEDUC = "leduc_poker"


@dataclass(frozen=True)
class Observer:
    """A view of a game's states.

    Attributes:
        size: D, the length of its tensors.
        tensor: `[D]` float32 of a state and a player's number.
    """

    size: int
    tensor: Callable[[Any, int], np.ndarray]


def information_states(rules: Any) -> Observer:
    """All that the player knows, earlier moves included; of games that have such tensors."""
    if not rules.get_type().provides_information_state_tensor:
        raise ValueError(
            f"OpenSpiel's {rules.get_type().short_name!r} has no information state tensor"
        )
    return Observer(
        int(np.prod(rules.information_state_tensor_shape())),
        lambda state, player: np.array(state.information_state_tensor(player), np.float32),
    )


def observations(rules: Any) -> Observer:
    """What is on the table now, as OpenSpiel tells it; of games that have such tensors."""
    if not rules.get_type().provides_observation_tensor:
        raise ValueError(f"OpenSpiel's {rules.get_type().short_name!r} has no observation tensor")
    return Observer(
        int(np.prod(rules.observation_tensor_shape())),
        lambda state, player: np.array(state.observation_tensor(player), np.float32),
    )


def leduc_table(rules: Any) -> Observer:
    """Leduc poker's table as people read it: few numbers that are the same in many states.

    They are the player one-hot, the rank of the own card and that of the public one (zeros before
    it is dealt), whether they are a pair, and every player's chips in the pot, as a share of the
    most that can be won. Suits mean nothing in Leduc poker and are left out; of earlier bets only
    the chips tell.
    """
    name = rules.get_type().short_name
    if name != _LEDUC:
        raise ValueError(f"the observer 'leduc_table' is of {_LEDUC}, found the game {name}")
    seats = rules.num_players()
    ranks = seats + 1
    cards = (rules.observation_tensor_shape()[0] - 2 * seats) // 2
    ends = np.cumsum([seats, cards, cards])  # of the parts of OpenSpiel's observation
    most = rules.max_utility()

    def tensor(state: Any, player: int) -> np.ndarray:
        told = np.array(state.observation_tensor(player), np.float32)
        seat, own, public, chips = np.split(told, ends)
        own, public = (card.reshape(ranks, -1).sum(axis=1) for card in (own, public))
        return np.concatenate([seat, own, public, [own @ public], chips / most], dtype=np.float32)

    return Observer(2 * seats + 2 * ranks + 1, tensor)


OBSERVERS: dict[str, Callable[[Any], Observer]] = {
    "information_state": information_states,
    "observation": observations,
    "leduc_table": leduc_table,
}


def find_observer(rules: Any, name: str | None) -> Observer:
    """The observer of that name.

    Args:
        rules: OpenSpiel's game.
        name: one of `OBSERVERS`. None: information states where the game has tensors of them, else
            observations.

    Raises:
        ValueError: an unknown name, or one that the game does not have.
    """
    kind = rules.get_type()
    if name is None:
        if not (kind.provides_information_state_tensor or kind.provides_observation_tensor):
            raise ValueError(
                f"OpenSpiel's {kind.short_name!r} has neither information nor observation "
                "tensors, expected one of them for the policies to see"
            )
        known = kind.provides_information_state_tensor
        name = "information_state" if known else "observation"
    if name not in OBSERVERS:
        raise ValueError(f"unknown observer {name!r}, expected one of {', '.join(OBSERVERS)}")
    return OBSERVERS[name](rules)
