"""Physics of the particle world: parity with mpe2, a scalar reference, and numbers by hand."""

import math

import numpy as np
import pytest
from mpe2 import simple_spread_v3, simple_tag_v3

from rllib_amagail.games.navigation import CooperativeNavigation
from rllib_amagail.games.particles import (
    AgentBody,
    Landmark,
    ParticlePhysics,
    displacements,
    lengths,
)
from rllib_amagail.games.predator_prey import PredatorPrey

NUM_STATES = 2000
MPE2 = {"integration": "position_first", "action_order": "negative_first"}


def random_states(scenario, seed=0):
    """Crowded and fast states: discs overlap often, and agents exceed their speed limits."""
    rng = np.random.default_rng(seed)
    bodies, landmarks = scenario.make_entities()
    positions = rng.uniform(-0.5, 0.5, (NUM_STATES, len(bodies) + len(landmarks), 2))
    velocities = rng.uniform(-1.5, 1.5, (NUM_STATES, len(bodies), 2))
    actions = rng.integers(0, 5, (NUM_STATES, len(bodies)))
    return positions, velocities, actions


def mpe2_round(env, positions, velocities, actions):
    """Copy one state into mpe2's world, play one round, read the agents' new state."""
    world = env.world
    for entity, position in zip(world.entities, positions, strict=True):
        entity.state.p_pos = position.copy()
        entity.state.p_vel = np.zeros(2)
    for agent, velocity, action in zip(world.agents, velocities, actions, strict=True):
        agent.state.p_vel = velocity.copy()
        env._set_action([action], agent, env.action_spaces[agent.name])
    world.step()
    return [a.state.p_pos for a in world.agents], [a.state.p_vel for a in world.agents]


@pytest.mark.parametrize(
    ("scenario", "module"),
    [(CooperativeNavigation(), simple_spread_v3), (PredatorPrey(), simple_tag_v3)],
    ids=["simple_spread", "simple_tag"],
)
def test_parity_with_mpe2(scenario, module):
    env = module.raw_env()
    env.reset(seed=0)
    bodies, landmarks = scenario.make_entities()
    positions, velocities, actions = random_states(scenario)
    gaps = lengths(displacements(positions[:, :1], positions[:, 1:2]))[0, 0]
    assert (gaps < bodies[0].size + bodies[1].size).mean() > 0.05  # contacts do matter
    new_positions, new_velocities = ParticlePhysics(bodies, landmarks, **MPE2).step(
        positions, velocities, actions
    )
    expected = [
        mpe2_round(env, *state) for state in zip(positions, velocities, actions, strict=True)
    ]
    agents = slice(0, len(bodies))
    np.testing.assert_allclose(new_positions[:, agents], [e[0] for e in expected], atol=1e-6)
    np.testing.assert_allclose(new_velocities, [e[1] for e in expected], atol=1e-6)
    np.testing.assert_array_equal(new_positions[:, len(bodies) :], positions[:, len(bodies) :])


PUSHES = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]  # of actions 0 to 4 in 2018


def reference_round(bodies, landmarks, positions, velocities, actions):
    """One round of one world of 2018 in plain floats: force, then velocity, then position."""
    discs = [*bodies, *landmarks]
    new_positions, new_velocities = [], []
    for i, body in enumerate(bodies):
        fx = PUSHES[actions[i]][0] * body.acceleration
        fy = PUSHES[actions[i]][1] * body.acceleration
        for j, other in enumerate(discs):
            if i == j or (isinstance(other, Landmark) and not other.collides):
                continue
            dx, dy = positions[i][0] - positions[j][0], positions[i][1] - positions[j][1]
            distance = math.hypot(dx, dy)
            overlap = (body.size + other.size - distance) / 0.001
            softplus = max(overlap, 0.0) + math.log1p(math.exp(-abs(overlap)))
            fx += 100.0 * 0.001 * softplus * dx / distance
            fy += 100.0 * 0.001 * softplus * dy / distance
        vx, vy = velocities[i][0] * 0.75 + fx * 0.1, velocities[i][1] * 0.75 + fy * 0.1
        speed = math.hypot(vx, vy)
        if body.max_speed is not None and speed > body.max_speed:
            vx, vy = vx * body.max_speed / speed, vy * body.max_speed / speed
        new_velocities.append((vx, vy))
        new_positions.append((positions[i][0] + vx * 0.1, positions[i][1] + vy * 0.1))
    return new_positions, new_velocities


@pytest.mark.parametrize("scenario", [CooperativeNavigation(), PredatorPrey()])
def test_default_conventions_match_scalar_reference(scenario):
    bodies, landmarks = scenario.make_entities()
    positions, velocities, actions = random_states(scenario, seed=1)
    new_positions, new_velocities = ParticlePhysics(bodies, landmarks).step(
        positions, velocities, actions
    )
    for world in range(200):
        expected_positions, expected_velocities = reference_round(
            bodies, landmarks, positions[world], velocities[world], actions[world]
        )
        np.testing.assert_allclose(
            new_positions[world, : len(bodies)], expected_positions, atol=1e-12
        )
        np.testing.assert_allclose(new_velocities[world], expected_velocities, atol=1e-12)


def one_round(bodies, positions, velocities, actions, landmarks=(), **options):
    physics = ParticlePhysics(tuple(bodies), tuple(landmarks), **options)
    new_positions, new_velocities = physics.step(
        np.array([positions], dtype=float), np.array([velocities], dtype=float), np.array([actions])
    )
    return new_positions[0], new_velocities[0]


@pytest.mark.parametrize(
    ("action_order", "expected"),
    [
        ("positive_first", [(0, 0), (0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)]),
        ("negative_first", [(0, 0), (-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5)]),
    ],
)
def test_actions_push_along_the_axes(action_order, expected):
    for action, velocity in enumerate(expected):  # force 5 for 0.1 time units on unit mass
        _, found = one_round(
            [AgentBody("a", 0.1)], [(0, 0)], [(0, 0)], [action], action_order=action_order
        )
        np.testing.assert_allclose(found, [velocity], atol=1e-15)


def test_integration_orders_differ_by_which_velocity_moves():
    # From rest, a push gives velocity 0.5: the new one moves by 0.05, the old one by nothing.
    body, at_rest = [AgentBody("a", 0.1)], ([(0, 0)], [(0, 0)], [1])
    new, _ = one_round(body, *at_rest, integration="velocity_first")
    old, _ = one_round(body, *at_rest, integration="position_first")
    np.testing.assert_allclose(new, [(0.05, 0)])
    np.testing.assert_allclose(old, [(0.0, 0)])


def test_speed_limit_shortens_velocity_before_moving():
    # (3, 4) * 0.75 has length 3.75; limited to 1 it is (0.6, 0.8).
    positions, velocities = one_round([AgentBody("a", 0.1, max_speed=1.0)], [(0, 0)], [(3, 4)], [0])
    np.testing.assert_allclose(velocities, [(0.6, 0.8)])
    np.testing.assert_allclose(positions, [(0.06, 0.08)])


def test_speed_limit_leaves_others_alone():
    bodies = [AgentBody("a", 0.1, max_speed=1.0), AgentBody("b", 0.1)]
    _, velocities = one_round(bodies, [(-1, 0), (1, 0)], [(0.4, 0), (4, 0)], [0, 0])
    np.testing.assert_allclose(velocities, [(0.3, 0), (3, 0)], atol=1e-15)


def test_touching_discs_repel_with_softplus_of_zero():
    # Just touching: force 100 * 0.001 * log 2, for 0.1 time units, along the line of centres.
    bodies = [AgentBody("a", 0.1), AgentBody("b", 0.2)]
    _, velocities = one_round(bodies, [(0, 0), (0.3, 0)], [(0, 0), (0, 0)], [0, 0])
    speed = 0.01 * math.log(2)
    np.testing.assert_allclose(velocities, [(-speed, 0), (speed, 0)], rtol=1e-9, atol=1e-15)


def test_only_solid_landmarks_push_and_none_moves():
    body = [AgentBody("a", 0.1)]
    state = ([(0, 0), (0.15, 0)], [(0, 0)], [0])
    positions, velocities = one_round(body, *state, landmarks=[Landmark("l", 0.1, collides=True)])
    assert velocities[0, 0] < -0.1
    np.testing.assert_array_equal(positions[1], (0.15, 0))
    _, velocities = one_round(body, *state, landmarks=[Landmark("l", 0.1)])
    np.testing.assert_array_equal(velocities, [(0, 0)])


def test_coinciding_discs_exert_no_force():
    bodies = [AgentBody("a", 0.1), AgentBody("b", 0.1)]
    _, velocities = one_round(bodies, [(0.5, 0.5), (0.5, 0.5)], [(0, 0), (0, 0)], [0, 0])
    np.testing.assert_array_equal(velocities, np.zeros((2, 2)))


def test_step_leaves_its_inputs_alone():
    scenario = PredatorPrey()
    positions, velocities, actions = random_states(scenario)
    before = positions.copy(), velocities.copy()
    ParticlePhysics(*scenario.make_entities()).step(positions, velocities, actions)
    np.testing.assert_array_equal(positions, before[0])
    np.testing.assert_array_equal(velocities, before[1])


@pytest.mark.parametrize(
    ("option", "known"), [("integration", "velocity_first"), ("action_order", "positive_first")]
)
def test_unknown_convention_is_an_error_that_lists_the_known(option, known):
    with pytest.raises(ValueError, match=f"{option}='euler'.*{known}"):
        ParticlePhysics((AgentBody("a", 0.1),), (), **{option: "euler"})
