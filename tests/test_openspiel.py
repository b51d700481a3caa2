"""OpenSpiel's games: exact players, recordings, exploitability."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rllib_amagail import AMAGAILConfig, LearnedPolicy
from rllib_amagail.algorithm.export import export_learned
from rllib_amagail.envs.openspiel import OpenSpielRounds
from rllib_amagail.openspiel.experts import expert_player, record_expert
from rllib_amagail.openspiel.exploitability import mean_exploitability, nash_conv
from rllib_amagail.openspiel.game import OpenSpielGame
from rllib_amagail.openspiel.play import play_games, play_match, record_games
from rllib_amagail.openspiel.players import (
    EquilibriumPlayer,
    LearnedPlayer,
    NoisyPlayer,
    PerfectPlayer,
    SearchPlayer,
    UniformPlayer,
)

TICTACTOE = OpenSpielGame("tic_tac_toe")
KUHN = OpenSpielGame("kuhn_poker")


def after(game: OpenSpielGame, *moves: int) -> Any:
    state = game.rules.new_initial_state()
    for move in moves:
        state.apply_action(move)
    return state


@pytest.fixture(scope="module")
def perfect() -> PerfectPlayer:
    return PerfectPlayer(TICTACTOE)


def test_perfect_play_of_tictactoe_is_a_draw(perfect: PerfectPlayer) -> None:
    assert perfect.value(after(TICTACTOE)) == 0.0
    results = play_games(TICTACTOE, [perfect, perfect], 20, np.random.default_rng(0))
    assert results.tally(0) == results.tally(1) == (0, 20, 0)


def test_the_perfect_player_never_loses(perfect: PerfectPlayer) -> None:
    uniform = UniformPlayer(TICTACTOE)
    rng = np.random.default_rng(0)
    wins, draws, losses = play_games(TICTACTOE, [uniform, perfect], 200, rng).tally(1)
    assert (losses, wins + draws) == (0, 200)
    assert wins > 100  # a random beginner gives most games away


def test_the_perfect_player_completes_and_blocks_lines(perfect: PerfectPlayer) -> None:
    # x on 0 and 1, o on 3 and 4: whoever moves completes a line, at 2 or at 5.
    assert perfect.probabilities(after(TICTACTOE, 0, 3, 1, 4), 0).tolist() == [0, 0, 1, *[0] * 6]
    # x on 0 and 1, o on 8: o must block at 2.
    assert perfect.probabilities(after(TICTACTOE, 0, 8, 1), 1).tolist() == [0, 0, 1, *[0] * 6]
    # Answers to the corner: only the centre does not lose.
    assert perfect.probabilities(after(TICTACTOE, 0), 1).argmax() == 4
    assert perfect.probabilities(after(TICTACTOE, 0), 1)[4] == 1.0


def test_games_with_secrets_have_no_perfect_player() -> None:
    with pytest.raises(ValueError, match=r"has .*IMPERFECT_INFORMATION.*, expected a game of two"):
        PerfectPlayer(KUHN)


def test_kuhns_equilibrium() -> None:
    player = EquilibriumPlayer(KUHN, iterations=500)
    # The first player's expected loss is 1/18; exploitability vanishes.
    assert mean_exploitability(KUHN, [player, player]) < 0.005
    # Whoever holds the king (2) always calls a bet, the jack (0) never: deal 0 to the first player
    # and 2 to the second; actions are pass 0 and bet 1.
    king = after(KUHN, 0, 2, 1)
    jack = after(KUHN, 2, 0, 1)
    assert player.probabilities(king, 1)[1] > 0.99
    assert player.probabilities(jack, 1)[1] < 0.01


def test_nash_conv_of_uniform_play() -> None:
    # OpenSpiel documents 11/12 for the uniform policy of Kuhn poker.
    uniform = UniformPlayer(KUHN)
    assert nash_conv(KUHN, [uniform, uniform]) == pytest.approx(11 / 12)
    assert mean_exploitability(KUHN, [uniform, uniform]) == pytest.approx(11 / 24)


def test_nash_conv_asks_each_seat_for_its_own_policy() -> None:
    uniform, equilibrium = UniformPlayer(KUHN), EquilibriumPlayer(KUHN, iterations=200)
    mixed = nash_conv(KUHN, [equilibrium, uniform]), nash_conv(KUHN, [uniform, equilibrium])
    assert all(0.05 < found < 11 / 12 for found in mixed)
    assert mixed[0] != pytest.approx(mixed[1])


def test_noise_mixes_in_random_moves(perfect: PerfectPlayer) -> None:
    noisy = NoisyPlayer(TICTACTOE, perfect, 0.5)
    # One best move of six legal ones: a half, and a twelfth for each.
    chances = noisy.probabilities(after(TICTACTOE, 0, 8, 1), 1)
    assert chances[2] == pytest.approx(0.5 + 1 / 12)
    assert chances[3] == pytest.approx(1 / 12)
    assert chances[0] == 0.0
    with pytest.raises(ValueError, match=r"noise is 2, expected a chance"):
        NoisyPlayer(TICTACTOE, perfect, 2)


class Fixed:
    """Plays the first of some actions that is legal; else, or if it does not look, the last."""

    def __init__(self, *actions: int, looks: bool = True) -> None:
        self.actions, self.looks = actions, looks

    def probabilities(self, state: Any, player: int) -> np.ndarray:
        legal = [a for a in self.actions if a in state.legal_actions(player) or not self.looks]
        return np.eye(9)[[*legal, self.actions[-1]][0]]


def test_a_match_is_told_from_the_players_side() -> None:
    # The player fills row 0, 1, 2, the opponent 3, 4 and then 6: the player wins in either seat.
    player, opponent = Fixed(0, 1, 2), Fixed(3, 4, 6)
    match = play_match(TICTACTOE, player, opponent, 6, np.random.default_rng(0))
    assert (match.wins, match.draws, match.losses) == (6, 0, 0)
    assert match.mean_return == 1.0
    assert match.illegal_moves == 0
    lost = play_match(TICTACTOE, opponent, player, 6, np.random.default_rng(0))
    assert (lost.wins, lost.draws, lost.losses, lost.mean_return) == (0, 0, 6, -1.0)
    with pytest.raises(ValueError, match=r"found 2 players and 5 games, expected two .* even"):
        play_match(TICTACTOE, player, opponent, 5, np.random.default_rng(0))


def test_illegal_moves_are_counted() -> None:
    # The opponent plays 3, 4, 5 and wins in its third move. The player wants 0 each time: as the
    # first mover it is refused twice (1 and 2 instead, which is a row: it wins in its third move);
    # as the second, it is refused once before it has lost.
    match = play_match(
        TICTACTOE, Fixed(0, looks=False), Fixed(3, 4, 5), 2, np.random.default_rng(0)
    )
    assert (match.wins, match.losses, match.illegal_moves) == (1, 1, 3)


def test_games_begin_with_random_moves() -> None:
    players = [Fixed(*range(9)), Fixed(*range(9))]

    def different(random_moves: int) -> int:
        rng = np.random.default_rng(0)
        played = play_games(TICTACTOE, players, 60, rng, random_moves=random_moves)
        return len(set(played.returns[:, 0]))

    assert different(0) == 1  # one game, again and again
    assert different(4) == 3  # won, drawn and lost


def test_tree_search_completes_a_line_and_repeats_itself() -> None:
    state = after(TICTACTOE, 0, 3, 1, 4)  # x wins at 2
    assert SearchPlayer(TICTACTOE, 50).probabilities(state, 0).argmax() == 2

    def recorded() -> np.ndarray:
        players = [SearchPlayer(TICTACTOE, 10, seed=seed) for seed in (0, 1)]
        return record_games(TICTACTOE, players, 10, seed=0).records["player_0"].action

    np.testing.assert_array_equal(recorded(), recorded())
    with pytest.raises(ValueError, match=r"'kuhn_poker' has IMPERFECT_INFORMATION, SEQUENTIAL"):
        SearchPlayer(KUHN)
    with pytest.raises(ValueError, match="simulations is 0"):
        SearchPlayer(TICTACTOE, 0)


def test_experts_fit_their_games() -> None:
    assert isinstance(expert_player(TICTACTOE), PerfectPlayer)
    assert isinstance(expert_player(KUHN), EquilibriumPlayer)
    assert isinstance(expert_player(OpenSpielGame("connect_four")), SearchPlayer)


def test_experts_are_recorded_alone_or_beside_noise() -> None:
    both = record_expert(TICTACTOE, 4)
    assert set(both.records["player_0"].episode) == {0, 1, 2, 3}
    one = record_expert(TICTACTOE, 4, noise=1.0)
    assert set(one.records["player_0"].episode) == {0, 2}
    assert set(one.records["player_1"].episode) == {1, 3}


def test_recordings_hold_turns_masks_and_returns(perfect: PerfectPlayer) -> None:
    recorded = record_games(TICTACTOE, [perfect, UniformPlayer(TICTACTOE)], 30, seed=1)
    assert recorded.num_episodes == 30
    first, second = (recorded.records[agent] for agent in TICTACTOE.agents)
    assert set(first.round % 2) == {0}
    assert set(second.round % 2) == {1}
    assert first.action_mask is not None
    assert first.action_mask[np.arange(len(first)), first.action].all()
    totals = [np.bincount(each.episode, each.reward, minlength=30) for each in (first, second)]
    np.testing.assert_array_equal(totals[0], -totals[1])
    assert totals[0].min() >= 0  # the perfect player does not lose
    again = record_games(TICTACTOE, [perfect, UniformPlayer(TICTACTOE)], 30, seed=1)
    np.testing.assert_array_equal(again.records["player_0"].action, first.action)


def test_opponents_turns_are_not_recorded(perfect: PerfectPlayer) -> None:
    uniform = UniformPlayer(TICTACTOE)
    recorded = record_games(TICTACTOE, [perfect, perfect], 40, seed=0, opponents=[uniform, uniform])
    for seat, agent in enumerate(TICTACTOE.agents):
        record = recorded.records[agent]
        assert set(record.episode % 2) == {seat}
        returns = np.bincount(record.episode, record.reward, minlength=40)[seat::2]
        assert returns.min() >= 0
        assert returns.sum() > 5  # random opponents lose often


def test_recordings_fit_the_environment(perfect: PerfectPlayer) -> None:
    recorded = record_games(TICTACTOE, [perfect, perfect], 2)
    env = OpenSpielRounds("tic_tac_toe")
    recorded.check_compatible(env.possible_agents, env.observation_spaces, env.action_spaces)


@pytest.mark.parametrize("phi", ["filtered", "chosen"])
def test_learned_policies_play(
    phi: str, perfect: PerfectPlayer, ray_session: None, tmp_path: Path
) -> None:
    recorded = record_games(TICTACTOE, [perfect, perfect], 30)
    config = (
        AMAGAILConfig()
        .environment("openspiel", env_config={"game": "tic_tac_toe"})
        .imitation(demonstrations=recorded if phi == "filtered" else dense(recorded), phi=phi)
        .imitation(bc_steps=5)
        .rl_module(model_config={"fcnet_hiddens": [8]})
        .debugging(seed=0)
    )
    algo = config.build_algo()
    algo.clone_behaviour()
    export_learned(algo, tmp_path)
    algo.stop()
    policies = LearnedPolicy.load(tmp_path)
    state = after(TICTACTOE, 0, 8, 1)
    drawing = LearnedPlayer(TICTACTOE, policies)
    deciding = LearnedPlayer(TICTACTOE, policies, explore=False)
    chances = drawing.probabilities(state, 1)
    assert chances.sum() == pytest.approx(1.0)
    assert np.flatnonzero(chances).tolist() == [2, 3, 4, 5, 6, 7]
    best = deciding.probabilities(state, 1)
    assert best.max() == 1.0
    results = play_games(TICTACTOE, [drawing, deciding], 10, np.random.default_rng(0))
    assert sum(results.tally(0)) == 10


def dense(recorded: Any) -> Any:
    """Sparse recordings have no rows of phi, which MAGAIL learns to choose; these have some."""
    import dataclasses

    records = {}
    for agent, record in recorded.records.items():
        half = np.arange(len(record)) % 2 == 0
        records[agent] = dataclasses.replace(
            record, participates=half, action=np.where(half, record.action, 0)
        )
    return dataclasses.replace(recorded, records=records)


def test_leducs_table_tells_ranks_a_pair_and_chips() -> None:
    table = OpenSpielGame("leduc_poker", observer="leduc_table")
    # Cards 0 and 1 are jacks, 2 and 3 queens, 4 and 5 kings; 1 calls, 2 raises.
    raised = after(table, 0, 2, 2)
    # player_1; a queen; no public card; no pair; 3 and 1 chips of the 13 that a game can win.
    expected = [0, 1, 0, 1, 0, 0, 0, 0, 0, 3 / 13, 1 / 13]
    np.testing.assert_allclose(table.tensor(raised, 1), expected, rtol=1e-6)
    for public, rank, pair in ((1, [1, 0, 0], 0), (3, [0, 1, 0], 1)):
        called = after(table, 0, 2, 2, 1, public)
        expected = [0, 1, 0, 1, 0, *rank, pair, 3 / 13, 3 / 13]
        np.testing.assert_allclose(table.tensor(called, 1), expected, rtol=1e-6)
    assert table.observation_spaces["player_0"]["observation"].shape == (11,)


def test_observers_are_chosen_by_name() -> None:
    sizes = {
        name: len(game.tensor(after(game, 0, 1), 0))
        for name in (None, "information_state", "observation")
        for game in [OpenSpielGame("leduc_poker", observer=name)]
    }
    # The player and two cards are 2 + 6 + 6 numbers; then 2 x 4 x 2 of bets, or two of chips.
    assert sizes == {None: 30, "information_state": 30, "observation": 16}
    rounds = OpenSpielRounds("leduc_poker", observer="leduc_table")
    assert rounds.reset(seed=0)[0]["player_0"]["observation"].shape == (11,)


@pytest.mark.parametrize(
    ("game", "observer", "message"),
    [
        ("tic_tac_toe", "leduc_table", "is of leduc_poker, found the game tic_tac_toe"),
        ("tic_tac_toe", "x_ray", "unknown observer 'x_ray', expected one of information_state"),
        ("connect_four", "information_state", "'connect_four' has no information state tensor"),
    ],
)
def test_observers_fit_their_games(game: str, observer: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OpenSpielGame(game, observer=observer)
