"""How far players of an OpenSpiel game are from subgame perfection (paper, section 3.1).

A subgame begins at a player's move if nobody confuses what may follow with anything outside (Selten
1965), and at the game's beginning. Where nothing is hidden that is every move; poker has no subgame
but the whole game.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rllib_amagail.equilibrium.gap import SubgamePerfection, perfection
from rllib_amagail.openspiel.exploitability import tabular
from rllib_amagail.openspiel.game import OpenSpielGame
from rllib_amagail.openspiel.players import Player

_Table = dict[str, list[tuple[int, float]]]
_NOBODY = -1  # moves: it is chance, or the game is over


def subgame_perfection(
    game: OpenSpielGame, players: Sequence[Player], path_of: Sequence[Player]
) -> SubgamePerfection:
    """The SPE gap of `players`: what a best response earns more from each subgame's root on.

    Args:
        game: of a size that can be searched, history by history.
        players: one per seat.
        path_of: one per seat; the subgames that they reach with positive probability are the path.
            Usually the experts.

    Raises:
        ValueError: a game that `check_searchable` refuses, or another number of players.
    """
    tree = _grow(game, tabular(game, players), tabular(game, path_of))
    roots = _roots(tree)
    gained = np.array([_gains(tree, roots, seat)[roots] for seat in range(len(game.agents))])
    return perfection(gained, np.array(tree.on_path)[roots])


@dataclass
class _Tree:
    """All M histories of a game, each followed by all that continue it.

    Attributes:
        mover: whose move it is.
        information: what the mover knows.
        parent: the history one move earlier.
        chance: of the last move.
        on_path: whether the path leads here.
        returns: of every player, where the game is over.
        children: one move later.
    """

    mover: list[int] = field(default_factory=list)
    information: list[str] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    chance: list[float] = field(default_factory=list)
    on_path: list[bool] = field(default_factory=list)
    returns: list[list[float]] = field(default_factory=list)
    children: list[list[int]] = field(default_factory=list)


def _grow(game: OpenSpielGame, table: _Table, path: _Table) -> _Tree:
    tree = _Tree()
    pending: list[tuple[Any, int, float, bool]] = [(game.rules.new_initial_state(), -1, 1.0, True)]
    while pending:
        state, parent, chance, on_path = pending.pop()
        number = len(tree.mover)
        plays = not (state.is_terminal() or state.is_chance_node())
        tree.mover.append(int(state.current_player()) if plays else _NOBODY)
        tree.information.append(state.information_state_string() if plays else "")
        tree.parent.append(parent)
        tree.chance.append(chance)
        tree.on_path.append(on_path)
        tree.returns.append(state.returns() if state.is_terminal() else [])
        tree.children.append([])
        if parent >= 0:
            tree.children[parent].append(number)
        if state.is_terminal():
            continue
        moves = table[tree.information[-1]] if plays else state.chance_outcomes()
        walked = path[tree.information[-1]] if plays else moves
        for (action, share), (_, step) in zip(moves, walked, strict=True):
            pending.append((state.child(action), number, share, on_path and step > 0.0))
    return tree


def _roots(tree: _Tree) -> np.ndarray:
    """`[M]` bool: where subgames begin."""
    size = len(tree.mover)
    sets = _information_sets(tree)
    # First and last history that is confused with one of those that continue each history.
    first, last, end = np.arange(size), np.arange(size), np.arange(size)
    for same in sets.values():
        first[same], last[same] = min(same), max(same)
    for number in range(size - 1, 0, -1):
        parent = tree.parent[number]
        first[parent] = min(first[parent], first[number])
        last[parent] = max(last[parent], last[number])
        end[parent] = max(end[parent], end[number])
    closed = (first >= np.arange(size)) & (last <= end)
    begins = closed & (np.array(tree.mover) != _NOBODY)
    begins[0] = True
    return begins


def _gains(tree: _Tree, roots: np.ndarray, seat: int) -> np.ndarray:
    """`[M]` what a seat's best response earns more; right at the roots."""
    size = len(tree.mover)
    played = np.array([returns[seat] if returns else 0.0 for returns in tree.returns])
    for number in range(size - 1, 0, -1):
        played[tree.parent[number]] += tree.chance[number] * played[number]
    return np.array(_best_values(tree, _reach(tree, roots, seat), seat)) - played


def _reach(tree: _Tree, roots: np.ndarray, seat: int) -> np.ndarray:
    """`[M]` chance of all moves but the seat's own since the smallest subgame began.

    A best response within it is one in the larger ones around it, too, and is found even if these
    never lead to it.
    """
    reach = np.ones(len(tree.mover))
    for number in np.flatnonzero(~roots).tolist():
        parent = tree.parent[number]
        own = tree.mover[parent] == seat
        reach[number] = reach[parent] * (1.0 if own else tree.chance[number])
    return reach


def _best_values(tree: _Tree, reach: np.ndarray, seat: int) -> list[float]:
    """What every history is worth to a seat that answers best; it remembers all it knew."""
    sets = _information_sets(tree)
    values: dict[int, float] = {}
    choices: dict[str, int] = {}

    def choice(information: str) -> int:
        """The best move, of those that look alike in all histories of the set."""
        if information not in choices:
            same = sets[seat, information]
            worth = [
                sum(reach[number] * value(child) for number, child in zip(same, move, strict=True))
                for move in zip(*(tree.children[number] for number in same), strict=True)
            ]
            choices[information] = int(np.argmax(worth))
        return choices[information]

    def value(number: int) -> float:
        if number not in values:
            children = tree.children[number]
            if tree.mover[number] == seat:
                found = value(children[choice(tree.information[number])])
            elif children:
                found = sum(tree.chance[child] * value(child) for child in children)
            else:
                found = tree.returns[number][seat]
            values[number] = found
        return values[number]

    # From the ends on, so that calls do not nest.
    return [value(number) for number in reversed(range(len(tree.mover)))][::-1]


def _information_sets(tree: _Tree) -> dict[tuple[int, str], list[int]]:
    """Histories that their movers cannot tell apart."""
    sets: dict[tuple[int, str], list[int]] = {}
    for number, mover in enumerate(tree.mover):
        if mover != _NOBODY:
            sets.setdefault((mover, tree.information[number]), []).append(number)
    return sets
