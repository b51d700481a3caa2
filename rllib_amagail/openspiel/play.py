"""Games played by `Player`s: results, and recordings as demonstrations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rllib_amagail.demonstrations import AgentRecord, Demonstrations
from rllib_amagail.openspiel.game import OpenSpielGame
from rllib_amagail.openspiel.players import Player, UniformPlayer


@dataclass(frozen=True)
class Results:
    """How the games of a pair, or of more players, ended.

    Attributes:
        returns: `[G, N]` of the players, by seat.
        illegal_moves: `[G, N]` how often a player chose a forbidden action, by seat.
    """

    returns: np.ndarray
    illegal_moves: np.ndarray

    def tally(self, seat: int) -> tuple[int, int, int]:
        """Wins, draws and losses of a seat: returns above, at and below zero."""
        own = self.returns[:, seat]
        return int((own > 0).sum()), int((own == 0).sum()), int((own < 0).sum())


@dataclass(frozen=True)
class Match:
    """A player's games against an opponent, from its own side.

    Attributes:
        wins, draws, losses: games.
        mean_return: of the player.
        illegal_moves: of the player.
    """

    wins: int
    draws: int
    losses: int
    mean_return: float
    illegal_moves: int


@dataclass
class _Columns:
    """The rows of one agent that a recording collects."""

    episode: list[int]
    round: list[int]
    observation: list[np.ndarray]
    action: list[int]
    action_mask: list[np.ndarray]
    reward: list[float]


def play_games(
    game: OpenSpielGame,
    players: Sequence[Player],
    num_games: int,
    rng: np.random.Generator,
    *,
    random_moves: int = 0,
) -> Results:
    """Play G games.

    Who chooses a forbidden action plays the first legal one, and it is counted.

    Args:
        game: to play.
        players: one per seat.
        num_games: G.
        rng: draws chance moves and actions.
        random_moves: how many moves at the beginning are random, so that players who decide
            always alike meet in games that differ.
    """
    beginners = [UniformPlayer(game)] * len(game.agents)
    returns = np.zeros((num_games, len(game.agents)))
    illegal = np.zeros(returns.shape, np.int64)
    for number in range(num_games):
        state, played = game.begin(rng), 0
        while not state.is_terminal():
            moves = []
            movers = beginners if played < random_moves else players
            for seat, action in _choose(game, state, movers, rng):
                legal = state.legal_actions(seat)
                illegal[number, seat] += action not in legal
                moves.append(action if action in legal else legal[0])
            game.move(state, moves, rng)
            played += 1
        returns[number] = state.returns()
    return Results(returns, illegal)


def play_match(
    game: OpenSpielGame,
    player: Player,
    opponent: Player,
    num_games: int,
    rng: np.random.Generator,
    *,
    random_moves: int = 0,
) -> Match:
    """Half of the games in either seat.

    Args:
        game: of two players.
        player, opponent: who meet.
        num_games: in both seats together, even.
        rng: draws chance moves and actions.
        random_moves: see `play_games`.

    Raises:
        ValueError: another number of players, or an odd number of games.
    """
    if len(game.agents) != 2 or num_games % 2:
        raise ValueError(
            f"found {len(game.agents)} players and {num_games} games, expected two players and an "
            "even number of games, half of them in either seat"
        )
    returns, illegal = [], 0
    for seat, pair in enumerate(([player, opponent], [opponent, player])):
        results = play_games(game, pair, num_games // 2, rng, random_moves=random_moves)
        returns.append(results.returns[:, seat])
        illegal += int(results.illegal_moves[:, seat].sum())
    own = np.concatenate(returns)
    tally = (int((own > 0).sum()), int((own == 0).sum()), int((own < 0).sum()))
    return Match(*tally, mean_return=float(own.mean()), illegal_moves=illegal)


def record_games(
    game: OpenSpielGame,
    experts: Sequence[Player],
    num_games: int,
    *,
    seed: int = 0,
    opponents: Sequence[Player] | None = None,
) -> Demonstrations:
    """Record the experts' turns.

    Among themselves experts show the path of an equilibrium only. With `opponents`, such as
    `NoisyPlayer`s, they show what to do off it: in game g, seat g mod N is the expert's and the
    others are the opponents', whose turns are not recorded.

    Args:
        game: to play.
        experts: one per seat.
        num_games: E episodes.
        seed: of chance moves and actions.
        opponents: one per seat, or None.

    Raises:
        ValueError: fewer than one game.
    """
    if num_games < 1:
        raise ValueError(f"num_games is {num_games}, expected at least 1")
    rng = np.random.default_rng(seed)
    seats = range(len(game.agents))
    columns = [_Columns([], [], [], [], [], []) for _ in seats]
    for number in range(num_games):
        recorded = set(seats) if opponents is None else {number % len(game.agents)}
        players = [experts[s] if s in recorded or not opponents else opponents[s] for s in seats]
        _record_game(game, players, recorded, number, columns, rng)
    records = {
        agent: AgentRecord(
            agent,
            episode=np.array(rows.episode, np.int64),
            round=np.array(rows.round, np.int64),
            participates=np.ones(len(rows.action), bool),
            observation=np.array(rows.observation, np.float32).reshape(len(rows.action), -1),
            action=np.array(rows.action, np.int64),
            action_mask=np.array(rows.action_mask, bool).reshape(-1, game.num_actions),
            reward=np.array(rows.reward, np.float32),
        )
        for agent, rows in zip(game.agents, columns, strict=True)
    }
    return Demonstrations(
        agents=game.agents,
        records=records,
        observation_spaces=game.observation_spaces,
        action_spaces=game.action_spaces,
        game=game.name,
        provenance={"recorded_by": "rllib_amagail.openspiel", "seed": seed},
    )


def _record_game(
    game: OpenSpielGame,
    players: Sequence[Player],
    recorded: set[int],
    number: int,
    columns: Sequence[_Columns],
    rng: np.random.Generator,
) -> None:
    state, round_ = game.begin(rng), 0
    last_rows: dict[int, int] = {}  # of this game: what comes between turns belongs to the last
    while not state.is_terminal():
        chosen = _choose(game, state, players, rng)
        for seat, action in chosen:
            if seat not in recorded:
                continue
            rows = columns[seat]
            last_rows[seat] = len(rows.action)
            rows.episode.append(number)
            rows.round.append(round_)
            rows.observation.append(game.tensor(state, seat))
            rows.action_mask.append(game.mask(state, seat))
            rows.action.append(action)
            rows.reward.append(0.0)
        earned = game.move(state, [action for _, action in chosen], rng)
        for seat, row in last_rows.items():
            columns[seat].reward[row] += float(earned[seat])
        round_ += 1


def _choose(
    game: OpenSpielGame, state: Any, players: Sequence[Player], rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Seat and action of each player who moves."""
    return [
        (seat, int(rng.choice(game.num_actions, p=players[seat].probabilities(state, seat))))
        for seat in game.movers(state)
    ]
