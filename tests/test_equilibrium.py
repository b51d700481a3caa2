"""Tabular games: values, equilibria and gaps that can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test

from rllib_amagail.envs.turn_based_env import TurnBasedEnv
from rllib_amagail.equilibrium import (
    GAMES,
    NoPureEquilibriumError,
    TabularGame,
    agent_view,
    gains,
    jensen_shannon,
    objective,
    own_action_rewards,
    returns,
    sample_episodes,
    solve_spe,
    subgame_perfection,
    values,
    with_horizon,
    with_trembles,
)
from rllib_amagail.equilibrium.library import bargaining, centipede, coordination, pursuit
from rllib_amagail.equilibrium.parallel_env import TabularParallelEnv
from rllib_amagail.player_functions import DeterministicPattern, IndependentStochastic, Synchronous
from tests.tabular_samples import mixed, random_game, random_policies, uniform_policies


def lone_worker() -> TabularGame:
    """One state, one agent; action 0 pays 1, action 1 nothing; acts at first, then every other."""
    transitions = np.ones((1, 3, 1))
    rewards = own_action_rewards(transitions.shape, np.array([[[1.0, 0.0]]]))
    chance = IndependentStochastic(np.array([0.5]), np.array([1.0]))
    return TabularGame(transitions, rewards, chance, np.ones(1), 0.9)


def test_values_of_equation_7_by_hand() -> None:
    game = lone_worker()
    work = [np.array([[1.0, 0.0]])]
    later = 0.5 / (1 - 0.9)
    assert values(game, work) == pytest.approx(np.array([[[1 + 0.9 * later, later, later]]]))
    q = agent_view(game, work, 0).action_values(values(game, work)[0])
    assert q[0, 0] == pytest.approx([1 + 0.9 * later, 0.9 * later])  # ζ = 1
    assert q[0, 1] == pytest.approx([0.5 + 0.9 * later, 0.9 * later])  # Y = 1/2


def test_gap_of_equation_4_by_hand() -> None:
    """An agent that works half its turns loses half of the values, and f_r half of each turn."""
    game = lone_worker()
    half = [np.array([[0.5, 0.5]])]
    best = np.array([[[5.5, 5.0, 5.0]]])
    assert gains(game, half) == pytest.approx(best / 2)
    # Per subgame Y / 2: 1/2 at first, then 1/4 after a pause and 1/4 after a turn.
    assert objective(game, half, best) == pytest.approx(0.5 + 0.25 + 0.25)


def test_histories_are_rows_of_the_participation_table() -> None:
    game = centipede(rounds=2)
    # Empty history, then the last participants: nobody, the second, the first, both.
    assert game.participation[:, 0] == pytest.approx([1, 1, 1, 0, 1])
    assert game.participation[:, 1] == pytest.approx([0, 0, 0, 1, 0])
    assert game.vector_chances[3] == pytest.approx([0, 1, 0, 0])  # after the first: the second
    # Round 0 after nothing, round 1 after the first agent; what follows the end is no subgame.
    assert np.argwhere(game.subgames).tolist() == [[0, 0], [1, 3]]


def test_chances_of_vectors_are_products() -> None:
    game = random_game(0, IndependentStochastic(np.array([0.7, 0.4])))
    assert game.vectors.astype(int).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert game.vector_chances[0] == pytest.approx([0.3 * 0.6, 0.3 * 0.4, 0.7 * 0.6, 0.7 * 0.4])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transitions": np.ones((2, 3, 3))}, r"transitions has shape \(2, 3, 3\), expected \[S"),
        ({"rewards": np.zeros((1, 2))}, r"rewards has shape \(1, 2\), expected \(1, 1, 3\)"),
        ({"initial_states": np.ones(2) / 2}, r"initial_states has shape \(2,\), expected \(1,\)"),
        ({"transitions": np.full((1, 3, 1), 0.5)}, r"transitions\[0, 0\] is \[0.5\]"),
        ({"initial_states": np.array([2.0])}, "sum to 1"),
        ({"rewards": np.full((1, 1, 3), np.nan)}, "finite"),
        ({"discount": 1.0}, "discount is 1.0, expected 0 <= discount < 1"),
        ({"null_actions": (2,)}, r"null_actions is \(2,\)"),
        ({"player_function": DeterministicPattern([[1]])}, "JointMarkovParticipation"),
        ({"player_function": Synchronous(2)}, "for the 2 agents"),
    ],
)
def test_games_say_what_is_wrong_with_them(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(lone_worker(), **changes)


def test_policies_must_fit() -> None:
    with pytest.raises(ValueError, match=r"shapes \[\(1, 3\)\], expected \[\(1, 2\)\]"):
        values(lone_worker(), [np.ones((1, 3)) / 3])
    with pytest.raises(ValueError, match="policy of agent 0"):
        values(lone_worker(), [np.ones((1, 2))])
    with pytest.raises(ValueError, match=r"rewards of agent 0 have shape \(1,\)"):
        own_action_rewards((1, 3, 1), [np.zeros(1)])


def test_bargaining_over_three_rounds() -> None:
    """γ = 1/2, 4 units. The last accepts anything, so the second refuses less than 2 of 4."""
    game = bargaining(pie=4, rounds=3, discount=0.5)
    spe = solve_spe(game)
    assert spe[0][0].argmax() == 1 + 2  # offers 2
    assert [row.argmax() == 0 for row in spe[1][5:10]] == [False, False, True, True, True]
    assert (spe[0][10:15].argmax(axis=1) == 0).all()
    assert returns(game, spe) == pytest.approx([0.5 * 2, 0.5 * 2])  # accepted in round 1


def test_nobody_waits_in_the_centipede() -> None:
    game = centipede(rounds=6)
    spe = solve_spe(game)
    mover = game.participation[np.where(game.subgames)[1]].argmax(axis=1)
    assert [spe[i][t].argmax() for t, i in enumerate(mover)] == [1] * 6
    assert returns(game, spe) == pytest.approx([2.0, 0.0])


def test_gap_on_and_off_the_path() -> None:
    """Both wait for ever: the first could take 2 at once, the second 3 in round 1, γ = 1/2."""
    game = centipede(rounds=2, discount=0.5)
    waiting = [np.tile([1.0, 0.0], (3, 1))] * 2
    found = subgame_perfection(game, waiting, path_of=solve_spe(game))
    assert (found.on_path.subgames, found.off_path.subgames) == (1, 1)
    assert found.on_path.largest == pytest.approx(2.0)
    assert found.on_path.mean == pytest.approx((2.0 + 0.5 * 3) / 2)
    assert found.off_path.largest == pytest.approx(3.0)
    assert found.off_path.mean == pytest.approx((0.0 + 3.0) / 2)
    assert found.everywhere.mean == pytest.approx((2.0 + 1.5 + 0.0 + 3.0) / 4)


def test_a_path_that_misses_nothing_leaves_nothing_off_it() -> None:
    game = coordination()
    found = subgame_perfection(game, solve_spe(game), path_of=uniform_policies(game))
    assert found.off_path.subgames == 0
    assert np.isnan(found.off_path.largest)
    assert found.everywhere == found.on_path


def test_the_evader_next_door_is_caught() -> None:
    game = pursuit()
    spe = solve_spe(game)
    found = values(game, spe)
    assert found[0] == pytest.approx(-found[1])
    assert found[0, 0 * 6 + 1, 0] == pytest.approx(1.0)  # cells 0 and 1, the pursuer begins
    assert found[0, 0 * 6 + 5, 0] < 0.9  # far corners


def test_pursuers_move_stop_at_walls_and_catch() -> None:
    """Cells 0 to 5 in rows of three; the moves are none, up, down, left and right; 5 is φ."""
    game = pursuit()
    next_door, up, right, end = 0 * 6 + 1, 1, 4, 36
    assert game.transitions[next_door, up, 5].argmax() == next_door
    assert game.transitions[next_door, right, 5].argmax() == end
    assert game.transitions[next_door, 5, right].argmax() == 0 * 6 + 2
    assert game.rewards[:, next_door, right, 5].tolist() == [1.0, -1.0]
    assert game.rewards[:, next_door, 5, right].tolist() == [0.0, 0.0]


def test_a_colour_pays_if_the_other_wore_it() -> None:
    game = coordination()
    wearing_0_and_1 = game.rewards[:, 1]
    assert wearing_0_and_1[0, :, 3].tolist() == [0.0, 0.0, 2.0, 0.0]  # keep, 0, 1, φ
    assert wearing_0_and_1[1, 3].tolist() == [0.0, 1.0, 0.0, 0.0]
    assert game.transitions[1, 2, 3].argmax() == 3  # the first puts on 1, the other keeps 1


def test_the_better_colour_is_kept() -> None:
    game = coordination(chances=(0.7, 0.5), discount=0.9)
    spe = solve_spe(game)
    assert [policy[3].argmax() for policy in spe] == [0, 0]
    # Colour 1 pays 2 at every turn.
    assert values(game, spe)[:, 3, 0] == pytest.approx([2 * 0.7 / 0.1, 2 * 0.5 / 0.1])


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("trembles", [0.0, 0.1])
def test_solved_games_have_no_gap_and_others_have_one(name: str, trembles: float) -> None:
    game = with_trembles(GAMES[name](), trembles)
    spe = solve_spe(game)
    assert subgame_perfection(game, spe, path_of=spe).everywhere.largest < 1e-8
    worse = mixed(spe, uniform_policies(game), 0.5)
    assert subgame_perfection(game, worse, path_of=spe).everywhere.mean > 0.01


def test_matching_pennies_have_no_pure_equilibrium() -> None:
    pennies = np.zeros((2, 1, 3, 3))
    pennies[0, 0, :2, :2] = 2 * np.eye(2) - 1
    pennies[1] = -pennies[0]
    game = TabularGame(np.ones((1, 3, 3, 1)), pennies, Synchronous(2), np.ones(1), 0.5)
    # One of the two could win 1 instead of losing 1, in every round.
    with pytest.raises(NoPureEquilibriumError, match="gap of 4"):
        solve_spe(game)
    assert gains(game, uniform_policies(game)).max() < 1e-9


def test_trembles_replace_actions_evenly() -> None:
    game = with_trembles(centipede(rounds=2), 0.2)
    assert game.transitions[0, 0, 2] == pytest.approx([0.0, 0.9, 0.1])  # continue, the other: φ
    assert game.transitions[0, 1, 2] == pytest.approx([0.0, 0.1, 0.9])
    assert game.rewards[0, 0, :, 2] == pytest.approx([0.1 * 2, 0.9 * 2, 0.0])
    assert (game.reachable(solve_spe(game)) >= game.subgames).all()
    with pytest.raises(ValueError, match="chance is"):
        with_trembles(game, 1.5)


def test_a_horizon_cuts_off_the_sum() -> None:
    game = with_horizon(lone_worker(), 3)
    work = [np.tile([1.0, 0.0], (game.num_states, 1))]
    assert returns(game, work) == pytest.approx([1 + 0.9 * 0.5 + 0.81 * 0.5])
    assert game.absorbing.tolist() == [False, False, False, True]
    with pytest.raises(ValueError, match="rounds is 0"):
        with_horizon(game, 0)


def test_episodes_follow_turns_and_policies() -> None:
    game = centipede(rounds=4)
    waiting = [np.tile([1.0, 0.0], (5, 1))] * 2
    played = sample_episodes(game, waiting, 2, 3, np.random.default_rng(0))
    assert played.states.tolist() == [[0, 1, 2]] * 2
    assert played.actions.tolist() == [[[0, 2], [2, 0], [0, 2]]] * 2  # 2 is φ
    first, second = played.measures(0.5)
    assert first[:3].tolist() == [[1.0, 0, 0], [0, 0, 0.5], [0.25, 0, 0]]
    assert second[:3].tolist() == [[0, 0, 1.0], [0.5, 0, 0], [0, 0, 0.25]]
    with pytest.raises(ValueError, match="0 episodes of 3 rounds"):
        sample_episodes(game, waiting, 0, 3, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"expected \[E, T\] and \[E, T, 2\]"):
        replace(played, actions=played.actions[:, :2])
    with pytest.raises(
        ValueError, match=r"from 0 to 2, expected integers from 0 to below \[2, 2\]"
    ):
        replace(played, num_actions=(1, 1))


def test_jensen_shannon_by_hand() -> None:
    assert jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 3.0])) == pytest.approx(np.log(2))
    assert jensen_shannon(np.array([1.0, 2.0]), np.array([2.0, 4.0])) == pytest.approx(0.0)
    # Middle (3/4, 1/4): (log(4/3) + log(2/3)/2 + log(2)/2) / 2 = 3/4 log(4/3).
    found = jensen_shannon(np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    assert found == pytest.approx(0.75 * np.log(4 / 3))
    with pytest.raises(ValueError, match=r"shapes \(1,\) and \(2,\)"):
        jensen_shannon(np.ones(1), np.ones(2))
    with pytest.raises(ValueError, match="minimum -1"):
        jensen_shannon(np.array([-1.0, 2.0]), np.ones(2))


def test_parallel_env_plays_the_game() -> None:
    parallel_api_test(TabularParallelEnv(coordination(), num_rounds=10), num_cycles=30)
    env = TabularParallelEnv(bargaining(pie=4, rounds=3), num_rounds=3)
    observations, infos = env.reset(seed=0)
    assert observations["agent_1"].argmax() == 0
    assert infos == {
        "agent_0": {"round": 0, "participates": True},
        "agent_1": {"round": 0, "participates": False},
    }
    with pytest.raises(ValueError, match=r"action of agent_0 is None, expected one in 0\.\.5"):
        env.step({})
    observations, *_ = env.step({"agent_0": 1 + 3})  # offers 3 units
    assert observations["agent_0"].argmax() == 1 * 5 + 3
    _, rewards, _, truncations, infos = env.step({"agent_1": 0})  # accepts
    assert rewards == {"agent_0": 1.0, "agent_1": 3.0}
    assert not any(truncations.values())
    _, rewards, _, truncations, _ = env.step({"agent_0": 0})
    assert rewards == {"agent_0": 0.0, "agent_1": 0.0}
    assert all(truncations.values())
    with pytest.raises(RuntimeError, match="reset"):
        env.step({})


def test_turn_based_env_takes_turns_from_a_tabular_game() -> None:
    env = TurnBasedEnv(TabularParallelEnv(centipede(rounds=6), num_rounds=6))
    observations, _ = env.reset(seed=0)
    seen = []
    for _ in range(4):
        seen += list(observations)
        observations, *_ = env.step(dict.fromkeys(observations, 0))
    assert seen == ["agent_0", "agent_1"] * 2


def test_random_policies_of_any_seed_have_a_gap_of_at_least_nothing() -> None:
    game = random_game(0, IndependentStochastic(np.array([0.7, 0.4])))
    for seed in range(20):
        found = gains(game, random_policies(game, seed))
        assert found.min() >= 0.0
        assert found.max() > 0.01
