"""The games: rewards and observations by hand, gating, episodes, state, and the registry."""

import numpy as np
import pytest
from mpe2 import simple_tag_v3

from rllib_amagail.games import (
    GAME_NAMES,
    CooperativeNavigation,
    CooperativeReaching,
    ParticleGame,
    PredatorPrey,
    episode_score,
    make_game,
)
from rllib_amagail.games.predator_prey import boundary_penalties
from rllib_amagail.player_functions import (
    IndependentStochastic,
    StatePlayerFunction,
    Synchronous,
    paper_pattern,
)

NAVIGATION = "stochastic_cooperative_navigation"


def play(game, rounds, seed=0):
    """Uniformly random actions for a number of rounds: rewards `[T, B, N]`."""
    rng = np.random.default_rng(seed)
    shape = game.participation.shape
    return np.array([game.step(rng.integers(0, 5, shape)).rewards for _ in range(rounds)])


def place(game, positions, velocities=None):
    """Put all worlds of a game into one given state."""
    state = game.get_state()
    state["positions"][:] = positions
    state["velocities"][:] = 0.0 if velocities is None else velocities
    game.set_state(state)


# Rewards and observations


def test_navigation_rewards_by_hand():
    # Agents at 0, 0.1 and 2 on the x axis, landmarks at 0, 1 and 3.
    xs = [0.0, 0.1, 2.0, 0.0, 1.0, 3.0]
    positions = np.array([[(x, 0.0) for x in xs]])
    # Nearest agents: 0, then 0.9 (from 0.1), then 1: together 1.9. Everybody overlaps itself by
    # 0.3; the first two, 0.1 apart, overlap each other by 0.2.
    np.testing.assert_allclose(
        CooperativeNavigation().rewards(positions), [[-1.9 - 0.5, -1.9 - 0.5, -1.9 - 0.3]]
    )


def test_navigation_observation_is_velocity_landmarks_others():
    positions = np.array([[(0, 0), (1, 0), (0, 2), (3, 3), (-1, 0), (0, -1)]], dtype=float)
    velocities = np.array([[(0.1, 0.2), (0.3, 0.4), (0.5, 0.6)]])
    found = CooperativeNavigation().observations(positions, velocities)
    assert [rows.shape for rows in found] == [(1, 12)] * 3
    assert found[0].dtype == np.float32
    np.testing.assert_allclose(found[0][0], [0.1, 0.2, 3, 3, -1, 0, 0, -1, 1, 0, 0, 2])
    np.testing.assert_allclose(found[1][0], [0.3, 0.4, 2, 3, -2, 0, -1, -1, -1, 0, -1, 2])


def test_reaching_rewards_and_observations_by_hand():
    # Landmark at the origin; agents at distances 5, 1 and 0, none within 0.3 of another.
    positions = np.array([[(3, 4), (0, 1), (0, 0), (0, 0)]], dtype=float)
    scenario = CooperativeReaching()
    np.testing.assert_allclose(scenario.rewards(positions), [[-6.3, -6.3, -6.3]])
    second = scenario.observations(positions, np.zeros((1, 3, 2)))[1][0]
    np.testing.assert_allclose(second, [0, 0, 0, -1, 3, 3, 0, -1])


def test_predator_prey_rewards_by_hand():
    # Two adversaries touch the agent (0.12 < 0.075 + 0.05 < 0.13), which sits at x = 0.95.
    adversaries = [(0.95, 0.12), (0.95, -0.12), (0.95 + 0.13, 0.0)]
    positions = np.array([[*adversaries, (0.95, 0.0), (-0.5, 0.0), (-0.5, 0.5)]])
    np.testing.assert_allclose(PredatorPrey().rewards(positions), [[20, 20, 20, -20 - 0.5]])


@pytest.mark.parametrize("sizes", [(3, 1, 2), (2, 2, 1)])
def test_predator_prey_rewards_and_observations_as_in_simple_tag(sizes):
    num_adversaries, num_good_agents, num_landmarks = sizes
    env = simple_tag_v3.raw_env(num_good_agents, num_adversaries, num_landmarks)
    env.reset(seed=0)
    num_agents = num_adversaries + num_good_agents
    rng = np.random.default_rng(0)
    positions = rng.uniform(-0.3, 0.3, (200, num_agents + num_landmarks, 2))
    positions[100:] *= 5.0  # half of the states spread out, over the boundary
    velocities = rng.uniform(-1, 1, (200, num_agents, 2))
    scenario = PredatorPrey(num_adversaries, num_good_agents, num_landmarks)
    rewards = scenario.rewards(positions)
    observations = scenario.observations(positions, velocities)
    assert 0.0 < (rewards[:, 0] > 0).mean() < 1.0  # some touch, some do not
    for world in range(200):
        for entity, position in zip(env.world.entities, positions[world], strict=True):
            entity.state.p_pos = position
        for agent, velocity in zip(env.world.agents, velocities[world], strict=True):
            agent.state.p_vel = velocity
        for index, agent in enumerate(env.world.agents):
            expected = env.scenario.reward(agent, env.world)
            np.testing.assert_allclose(rewards[world, index], expected, atol=1e-9)
            expected = env.scenario.observation(agent, env.world)
            np.testing.assert_allclose(observations[index][world], expected, atol=1e-6)


def test_predator_prey_observation_sizes():
    spaces = make_game("stochastic_predator_prey", seed=0).observation_spaces
    assert [space.shape for space in spaces.values()] == [(16,), (16,), (16,), (14,)]


def test_boundary_penalty_by_hand():
    xs = np.array([0.0, 0.9, 0.95, 1.0, 1.5, 3.0, 1e6])
    expected = [0.0, 0.0, 0.5, 1.0, np.e, 10.0, 10.0]
    points = np.stack([xs, np.zeros_like(xs)], axis=1)
    np.testing.assert_allclose(boundary_penalties(points), expected, atol=1e-12)
    np.testing.assert_allclose(boundary_penalties(np.array([-0.95, -1.0])), 1.5)


# Participation


def test_reward_is_of_the_state_after_the_move_and_for_participants_only():
    game = make_game("deterministic_cooperative_reaching", seed=0)
    far_apart = [(1, 0), (0, 1), (0, -1), (0, 0)]
    place(game, far_apart)
    first = game.step(np.array([[2, 0, 0]])).rewards  # agent 1 moves 0.05 towards the landmark
    np.testing.assert_allclose(first, [[-2.95 - 0.3] * 3], rtol=1e-6)
    place(game, far_apart)
    second = game.step(np.array([[2, 0, 0]])).rewards  # round 1: agent 3 does not participate
    np.testing.assert_allclose(second, [[-3.25, -3.25, 0.0]], rtol=1e-6)


def test_non_participant_applies_the_null_action():
    game = make_game("deterministic_cooperative_navigation", seed=0)
    game.step(np.zeros((1, 3), dtype=int))
    np.testing.assert_array_equal(game.participation, [[True, True, False]])
    place(game, [(0, 0), (1, 0), (2, 0), (5, 5), (5, 5), (5, 5)])
    game.step(np.array([[3, 3, 3]]))
    np.testing.assert_allclose(game.velocities[0], [(0, 0.5), (0, 0.5), (0, 0)])


def test_ignored_actions_may_be_anything_and_applied_ones_may_not():
    game = make_game("deterministic_cooperative_navigation", seed=0)
    game.step(np.zeros((1, 3), dtype=int))
    game.step(np.array([[0, 0, -1]]))  # agent 3 does not participate
    with pytest.raises(ValueError, match="agent_1 in world 0 is 5, expected 0 to 4"):
        game.step(np.array([[5, 0, 0]]))


@pytest.mark.parametrize("actions", [np.zeros((3,), int), np.zeros((2, 3)), np.zeros((2, 2), int)])
def test_actions_of_wrong_shape_or_type_are_an_error(actions):
    game = make_game(NAVIGATION, batch_size=2, seed=0)
    with pytest.raises(ValueError, match=r"expected integers of shape \(2, 3\)"):
        game.step(actions)


def test_deterministic_games_follow_the_papers_pattern():
    for name in ("deterministic_cooperative_navigation", "deterministic_cooperative_reaching"):
        game = make_game(name, seed=0)
        assert game.player_function == paper_pattern()
        assert game.agents == ("agent_1", "agent_2", "agent_3")


def test_stochastic_predator_prey_lets_the_agent_always_act():
    game = make_game("stochastic_predator_prey", batch_size=500, seed=0)
    assert game.agents == ("adversary_1", "adversary_2", "adversary_3", "agent_1")
    participation = []
    for _ in range(20):
        participation.append(game.participation)
        game.step(np.zeros((500, 4), dtype=int))
    shares = np.mean(participation, axis=(0, 1))
    assert shares[3] == 1.0
    np.testing.assert_allclose(shares[:3], 0.5, atol=0.025)  # 5 standard errors of 10,000 draws


@pytest.mark.parametrize("name", [name for name in GAME_NAMES if name.startswith("synchronous")])
def test_synchronous_games_let_everybody_act(name):
    game = make_game(name, seed=0)
    play(game, 5)
    assert game.participation.all()


def test_state_player_function_sees_the_joint_state():
    def near_the_centre(history):  # agent i acts while its x is inside the unit interval
        return (np.abs(history.states[:, [0, 2, 4]]) < 1.0).astype(float)

    player_function = StatePlayerFunction(near_the_centre, 3, np.ones(3))
    game = make_game(NAVIGATION, player_function=player_function, seed=0)
    place(game, [(0, 0), (2, 0), (0.5, 5), (0, 0), (0, 0), (0, 0)])
    game.step(np.zeros((1, 3), dtype=int))
    np.testing.assert_array_equal(game.participation, [[True, False, True]])


def test_state_player_function_sees_past_actions():
    def whoever_moved_pauses(history):
        return (history.states[:, -3:] == 0).astype(float)

    player_function = StatePlayerFunction(
        whoever_moved_pauses, 3, np.array([1.0, 1.0, 0.0]), needs_actions=True
    )
    game = make_game(NAVIGATION, player_function=player_function, seed=0)
    game.step(np.array([[1, 0, 4]]))  # the third agent is absent: its action does not count
    np.testing.assert_array_equal(game.participation, [[False, True, True]])


# Episodes


def test_episode_is_truncated_at_the_horizon_and_must_be_reset():
    game = make_game(NAVIGATION, batch_size=2, horizon=3, seed=0)
    noop = np.zeros((2, 3), dtype=int)
    results = [game.step(noop) for _ in range(3)]
    truncated = [result.truncated.tolist() for result in results]
    assert truncated == [[False, False], [False, False], [True, True]]
    assert not any(result.terminated.any() for result in results)
    with pytest.raises(RuntimeError, match=r"worlds \[0, 1\]"):
        game.step(noop)
    game.reset(np.array([True, False]))
    with pytest.raises(RuntimeError, match=r"worlds \[1\]"):
        game.step(noop)
    game.reset(game.ended)
    np.testing.assert_array_equal(game.rounds, [0, 0])
    game.step(noop)


def test_reset_of_some_worlds_leaves_the_others_alone():
    game = make_game(NAVIGATION, batch_size=3, seed=0)
    play(game, 4)
    before, velocities, participation = game.positions, game.velocities, game.participation.copy()
    game.reset(np.array([False, True, False]))
    np.testing.assert_array_equal(game.rounds, [4, 0, 4])
    np.testing.assert_array_equal(game.positions[[0, 2]], before[[0, 2]])
    np.testing.assert_array_equal(game.velocities[[0, 2]], velocities[[0, 2]])
    np.testing.assert_array_equal(game.participation[[0, 2]], participation[[0, 2]])
    assert (game.positions[1] != before[1]).all()
    np.testing.assert_array_equal(game.velocities[1], np.zeros((3, 2)))


def test_early_ending_is_an_option():
    covered = [(0, 0), (1, 0), (0, 1), (0.09, 0), (1, 0), (0, 1)]
    uncovered = [(0, 0), (1, 0), (0, 1), (0.11, 0), (1, 0), (0, 1)]
    for option, positions, expected in [
        (True, covered, True),
        (True, uncovered, False),
        (False, covered, False),
    ]:
        game = make_game(NAVIGATION, end_when_covered=option, horizon=1, seed=0)
        place(game, positions)
        result = game.step(np.zeros((1, 3), dtype=int))
        assert result.terminated[0] == expected
        assert result.truncated[0] == (not expected)  # the horizon ends what did not end itself


def test_starts_are_uniform_and_at_rest():
    game = make_game("stochastic_predator_prey", batch_size=4000, seed=0)
    agents, landmarks = np.abs(game.positions[:, :4]), np.abs(game.positions[:, 4:])
    assert agents.max() <= 1.0
    assert landmarks.max() <= 0.9
    np.testing.assert_allclose(agents.mean(), 0.5, atol=0.01)
    np.testing.assert_allclose(landmarks.mean(), 0.45, atol=0.01)
    assert not game.velocities.any()


def test_observation_spaces_hold_the_observations():
    for name in GAME_NAMES:
        game = make_game(name, seed=0)
        for agent, rows in game.observations().items():
            assert game.observation_spaces[agent].contains(rows[0])
            assert game.action_spaces[agent].n == 5


# Batches, seeds and state


@pytest.mark.parametrize("name", [NAVIGATION, "stochastic_predator_prey"])
def test_batch_equals_single_worlds(name):
    synchronous = Synchronous(4 if name == "stochastic_predator_prey" else 3)
    batch = make_game(name, batch_size=4, player_function=synchronous, seed=0)
    singles = [make_game(name, player_function=synchronous, seed=9) for _ in range(4)]
    for world, single in enumerate(singles):
        place(single, batch.positions[world] * 0.3)
    place(batch, batch.positions * 0.3)  # crowded: contacts matter
    rng = np.random.default_rng(1)
    for _ in range(10):
        actions = rng.integers(0, 5, batch.participation.shape)
        together = batch.step(actions)
        for world, single in enumerate(singles):
            alone = single.step(actions[world : world + 1])
            np.testing.assert_array_equal(together.rewards[world], alone.rewards[0])
            for agent, rows in single.observations().items():
                np.testing.assert_array_equal(batch.observations()[agent][world], rows[0])


@pytest.mark.parametrize("name", GAME_NAMES)
def test_equal_seeds_give_equal_episodes_and_others_do_not(name):
    same, again, other = (make_game(name, batch_size=3, seed=s) for s in (5, 5, 6))
    rewards = [play(game, 10) for game in (same, again, other)]
    np.testing.assert_array_equal(rewards[0], rewards[1])
    np.testing.assert_array_equal(same.participation, again.participation)
    assert (same.positions != other.positions).any(axis=(1, 2)).all()


def test_starts_depend_neither_on_the_player_function_nor_on_the_rounds_played():
    own = make_game(NAVIGATION, batch_size=3, seed=0)
    other = make_game(NAVIGATION, batch_size=3, player_function=Synchronous(3), seed=0)
    for _ in range(3):
        np.testing.assert_array_equal(own.positions, other.positions)
        play(own, 3)
        play(other, 5)
        own.reset()
        other.reset()


@pytest.mark.parametrize("name", GAME_NAMES)
def test_set_state_goes_on_as_if_nothing_had_happened(name):
    game = make_game(name, batch_size=2, horizon=8, seed=0)
    play(game, 5)
    state = game.get_state()
    expected = play(game, 3)
    game.reset()
    expected_start, expected_turns = game.positions, game.participation.copy()
    restored = make_game(name, batch_size=2, horizon=8, seed=99)
    restored.set_state(state)
    np.testing.assert_array_equal(play(restored, 3), expected)
    restored.reset()
    np.testing.assert_array_equal(restored.positions, expected_start)
    np.testing.assert_array_equal(restored.participation, expected_turns)


def test_state_remembers_that_an_episode_is_over():
    game = make_game(NAVIGATION, horizon=1, seed=0)
    play(game, 1)
    restored = make_game(NAVIGATION, horizon=1, seed=0)
    restored.set_state(game.get_state())
    with pytest.raises(RuntimeError, match="reset"):
        play(restored, 1)


def test_state_of_another_game_is_an_error():
    game = make_game(NAVIGATION, seed=0)
    with pytest.raises(ValueError, match=r"positions of shape \(2, 6, 2\), expected \(1, 6, 2\)"):
        game.set_state(make_game(NAVIGATION, batch_size=2, seed=0).get_state())
    with pytest.raises(ValueError, match=r"lacks .*positions"):
        game.set_state({})


# Registry and scores


def test_unknown_game_is_an_error_with_the_closest_name():
    with pytest.raises(ValueError, match="did you mean 'stochastic_predator_prey'") as error:
        make_game("stochastic_predator_pray")
    assert all(name in str(error.value) for name in GAME_NAMES)


def test_unknown_scenario_option_is_an_error_with_the_closest_name():
    with pytest.raises(ValueError, match="did you mean 'num_agents'"):
        make_game(NAVIGATION, num_agent=4)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (NAVIGATION, {"num_agents": 0}, "num_agents must be at least 1, found 0"),
        ("deterministic_cooperative_reaching", {"num_agents": 0}, "at least 1, found 0"),
        ("stochastic_predator_prey", {"num_adversaries": 0}, "num_adversaries=0"),
        (NAVIGATION, {"batch_size": 0}, "batch_size is 0"),
        (NAVIGATION, {"horizon": 0}, "horizon is 0"),
        (NAVIGATION, {"player_function": Synchronous(4)}, "for 4 agents, expected 3"),
    ],
)
def test_impossible_options_are_errors(name, options, message):
    with pytest.raises(ValueError, match=message):
        make_game(name, seed=0, **options)


@pytest.mark.parametrize("num_agents", [1, 3, 48])
def test_navigation_scales_with_the_number_of_agents(num_agents):
    game = make_game("deterministic_cooperative_navigation", num_agents=num_agents, seed=0)
    assert {rows.shape for rows in game.observations().values()} == {(1, 4 * num_agents)}
    counts = []
    for _ in range(num_agents + 1):
        counts.append(int(game.participation.sum()))
        game.step(np.zeros((1, num_agents), dtype=int))
    assert counts == [*range(num_agents, 0, -1), num_agents]


def test_physics_options_reach_the_physics():
    game = make_game(
        "synchronous_cooperative_navigation",
        integration="position_first",
        action_order="negative_first",
        seed=0,
    )
    start = [(0, 0), (1, 0), (2, 0), (5, 5), (5, 5), (5, 5)]
    place(game, start)
    game.step(np.array([[1, 1, 1]]))
    np.testing.assert_array_equal(game.positions[0], start)
    np.testing.assert_allclose(game.velocities[0], [(-0.5, 0)] * 3)


def test_own_scenario_makes_a_game_without_the_registry():
    game = ParticleGame(
        CooperativeReaching(num_agents=2),
        IndependentStochastic([1.0, 0.0]),
        rng=np.random.default_rng(0),
    )
    assert game.name == "cooperative_reaching"
    rewards = play(game, 50)
    assert (rewards[..., 0] < 0).all()
    assert (rewards[..., 1] == 0).all()


def test_episode_score_sums_rounds_and_averages_agents():
    rewards = np.array([[[1.0, 3.0]], [[2.0, 0.0]], [[0.0, 4.0]]])  # [3 rounds, 1 world, 2 agents]
    np.testing.assert_array_equal(episode_score(rewards), [5.0])


@pytest.mark.parametrize(
    ("name", "mean", "deviation"),
    [
        ("stochastic_cooperative_navigation", -59.7, 16.4),
        ("deterministic_cooperative_navigation", -81.8, 21.6),
        ("deterministic_cooperative_reaching", -131.7, 33.1),
    ],
)
def test_random_policy_scores(name, mean, deviation):
    """Random scores of an independent implementation; the paper's are -61.6, -61.6 and -140.7."""
    episodes = 2000
    scores = episode_score(play(make_game(name, batch_size=episodes, seed=0), 50))
    # Both means are estimates: three standard errors of their difference.
    np.testing.assert_allclose(scores.mean(), mean, atol=3 * deviation * np.sqrt(2 / episodes))
    np.testing.assert_allclose(scores.std(), deviation, rtol=0.1)
