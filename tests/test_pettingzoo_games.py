"""The particle games as PettingZoo parallel environments, and their pictures."""

import warnings

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test, parallel_seed_test

from rllib_amagail.games import GAME_NAMES, make_game
from rllib_amagail.games.pettingzoo import ParallelGame
from rllib_amagail.games.rendering import render_world

DETERMINISTIC = "deterministic_cooperative_navigation"


@pytest.mark.parametrize("name", GAME_NAMES)
def test_parallel_api(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parallel_api_test(ParallelGame(name), num_cycles=120)


@pytest.mark.parametrize("name", GAME_NAMES)
def test_parallel_seed(name):
    parallel_seed_test(lambda: ParallelGame(name), num_cycles=60)


def test_every_agent_observes_and_infos_tell_who_participates():
    env = ParallelGame(DETERMINISTIC)
    observations, infos = env.reset(seed=0)
    pattern = [(True, True, True), (True, True, False), (True, False, False), (True, True, True)]
    for now, participates in enumerate(pattern):
        assert list(observations) == ["agent_1", "agent_2", "agent_3"]
        assert all(env.observation_space(a).contains(row) for a, row in observations.items())
        assert [infos[a]["participates"] for a in env.agents] == list(participates)
        assert {infos[a]["round"] for a in env.agents} == {now}
        observations, rewards, _, _, infos = env.step(dict.fromkeys(env.agents, 0))
        assert [rewards[a] != 0.0 for a in env.agents] == list(participates)


def test_same_seed_gives_the_game_of_the_registry():
    env = ParallelGame("stochastic_predator_prey", horizon=5)
    observations, _ = env.reset(seed=3)
    game = make_game("stochastic_predator_prey", horizon=5, seed=3)
    for action in (1, 2, 3):
        for agent, rows in game.observations().items():
            np.testing.assert_array_equal(observations[agent], rows[0])
        result = game.step(np.full((1, 4), action))
        observations, rewards, *_ = env.step(dict.fromkeys(env.agents, action))
        assert list(rewards.values()) == result.rewards[0].tolist()


def test_actions_of_non_participants_are_ignored_and_may_be_left_out():
    after = []
    for extra in ({"agent_3": 1}, {"agent_3": 4}, {}):
        env = ParallelGame(DETERMINISTIC)
        env.reset(seed=0)
        env.step(dict.fromkeys(env.agents, 0))
        observations, *_ = env.step({"agent_1": 1, "agent_2": 2} | extra)
        after.append(observations)
    for agent in env.possible_agents:
        np.testing.assert_array_equal(after[0][agent], after[1][agent])
        np.testing.assert_array_equal(after[0][agent], after[2][agent])


def test_missing_or_unknown_agents_are_errors():
    env = ParallelGame(DETERMINISTIC)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="agent_3"):
        env.step({"agent_1": 0, "agent_2": 0})
    with pytest.raises(ValueError, match="nobody besides"):
        env.step(dict.fromkeys([*env.agents, "agent_4"], 0))


def test_episode_ends_at_the_horizon_for_everybody():
    env = ParallelGame(DETERMINISTIC, horizon=2)
    with pytest.raises(RuntimeError, match="reset"):
        env.step({})
    env.reset(seed=0)
    *_, truncations, _ = env.step(dict.fromkeys(env.agents, 0))
    assert not any(truncations.values())
    _, _, terminations, truncations, _ = env.step(dict.fromkeys(env.agents, 0))
    assert all(truncations.values())
    assert not any(terminations.values())
    assert env.agents == []
    with pytest.raises(RuntimeError, match="reset"):
        env.step({})


def test_reset_without_seed_goes_on_to_another_episode():
    env = ParallelGame(DETERMINISTIC)
    first, _ = env.reset(seed=0)
    second, _ = env.reset()
    assert (first["agent_1"][2:] != second["agent_1"][2:]).all()


@pytest.mark.parametrize("name", GAME_NAMES)
def test_render_gives_pictures(name):
    env = ParallelGame(name, render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    env.step(dict.fromkeys(env.agents, 1))
    after = env.render()
    assert before.dtype == np.uint8
    assert before.shape == after.shape == (384, 320, 3)
    assert (before != after).any()


def test_no_render_mode_renders_nothing_and_unknown_ones_are_errors():
    env = ParallelGame(DETERMINISTIC)
    env.reset(seed=0)
    assert env.render() is None
    with pytest.raises(ValueError, match="rgb_array"):
        ParallelGame(DETERMINISTIC, render_mode="human")


def picture_of(participation_round):
    """One agent and its landmark, far apart, when the agent acts and when it does not."""
    game = make_game("deterministic_cooperative_reaching", num_agents=2, seed=0)
    for _ in range(participation_round):
        game.step(np.zeros((1, 2), dtype=int))
    state = game.get_state()
    state["positions"][0] = [(-0.5, 0.5), (0.5, -0.5), (0.0, 0.0)]
    game.set_state(state)
    return render_world(game, size=200)


def test_participants_are_solid_and_others_faded():
    # The arena is 2.5 units over 200 pixels, below a header of 40: agent 2 is at (140, 180).
    def colour_beside_the_number(picture):
        return picture[180, 140 + 7].astype(int)

    paper = np.array([250, 250, 252])
    solid, faded = (colour_beside_the_number(picture_of(now)) for now in (0, 1))
    assert np.abs(solid - paper).sum() > 250
    assert 0 < np.abs(faded - paper).sum() < 100


def test_any_world_of_a_batch_can_be_drawn():
    game = make_game("stochastic_cooperative_navigation", batch_size=2, num_agents=12, seed=0)
    assert (render_world(game, 0) != render_world(game, 1)).any()
    with pytest.raises(ValueError, match="world is 2, expected 0 to 1"):
        render_world(game, 2)
    with pytest.raises(ValueError, match="size is 10"):
        render_world(game, size=10)


def test_far_away_agents_stay_in_the_picture():
    game = make_game("deterministic_cooperative_reaching", num_agents=1, seed=0)
    state = game.get_state()
    state["positions"][0] = [(4.0, 4.0), (0.0, 0.0)]
    game.set_state(state)
    picture = render_world(game, size=200)[40:]
    blue = (picture[..., 2].astype(int) - picture[..., 0]) > 100
    assert blue.any()
