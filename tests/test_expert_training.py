"""Experts are trained on team rewards, with a value function that sees more than the policy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from ray.rllib.core.columns import Columns

from rllib_amagail.algorithm.expert_training import Phase, phase_config, policy_weights, train_phase
from rllib_amagail.envs.expert_worlds import ExpertTrainingWorlds, num_privileged_features
from rllib_amagail.evaluation import random_policy
from rllib_amagail.games import make_game
from rllib_amagail.learned_files import save_learned
from rllib_amagail.learned_policy import load_policy
from rllib_amagail.learner.privileged_critic import PrivilegedCriticModule
from rllib_amagail.runners.batched_env_runner import BatchedEnvRunner
from rllib_amagail.testing.batched_worlds_contract import BatchedWorldsContract

PREY = "stochastic_predator_prey"
REACHING = "deterministic_cooperative_reaching"


def worlds_of(game: str, batch_size: int = 3, shaping: float = 0.0) -> ExpertTrainingWorlds:
    return ExpertTrainingWorlds(make_game(game, batch_size=batch_size, seed=4), shaping, gamma=0.5)


class TestContract(BatchedWorldsContract):
    """They keep the promises that runners rely on."""

    def make_worlds(self, batch_size: int, seed: int) -> ExpertTrainingWorlds:
        game = make_game(PREY, batch_size=batch_size, seed=seed, horizon=7)
        return ExpertTrainingWorlds(game, shaping=1.0, gamma=0.9)


def test_a_team_shares_the_mean_of_its_gated_rewards() -> None:
    worlds, plain = worlds_of(REACHING), make_game(REACHING, batch_size=3, seed=4)
    actions = np.ones((3, 3), np.int64)
    for _ in range(3):  # all three participate, then two, then one
        shared, own = worlds.step(actions).rewards, plain.step(actions).rewards
        np.testing.assert_allclose(shared, np.tile(own.mean(axis=1)[:, None], 3), rtol=1e-6)


def test_adversaries_earn_touches_even_when_absent() -> None:
    game = make_game(PREY, batch_size=1, seed=0)
    worlds = ExpertTrainingWorlds(game, shaping=0.0, gamma=1.0)
    state = game.get_state()
    state["positions"][0] = [[0, 0], [5, 5], [-5, 5], [0.25, 0], [9, 9], [9, -9]]
    state["velocities"][0, [0, 3], 0] = [1.0, -1.0]
    game.set_state(state)
    rewards = worlds.step(np.zeros((1, 4), np.int64)).rewards
    # One adversary comes as near as 0.1 to the agent, who stays inside the arena.
    np.testing.assert_array_equal(rewards, [[10.0, 10.0, 10.0, -10.0]])


def test_shaping_telescopes_to_the_first_distance() -> None:
    shaped, plain = worlds_of(PREY, shaping=2.0), worlds_of(PREY)
    start = shaped._game.positions
    distances = np.linalg.norm(start[:, :3] - start[:, 3:4], axis=-1)
    rng = np.random.default_rng(0)
    total = np.zeros((3, 4))
    for t in range(50):
        actions = rng.integers(5, size=(3, 4))
        difference = shaped.step(actions).rewards - plain.step(actions).rewards
        total += 0.5**t * difference
    # Discounted by gamma = 0.5, potentials cancel but for the first: -2 * -distance.
    np.testing.assert_allclose(total[:, :3], 2.0 * distances, atol=1e-5)
    np.testing.assert_array_equal(total[:, 3], 0.0)


def test_shaping_needs_adversaries() -> None:
    with pytest.raises(ValueError, match=r"shaping is 1\.0, expected 0"):
        worlds_of(REACHING, shaping=1.0)


def test_privileged_features_come_last() -> None:
    worlds, plain = worlds_of(REACHING), make_game(REACHING, batch_size=3, seed=4)
    for _ in range(4):
        worlds.step(np.ones((3, 3), np.int64))
        plain.step(np.ones((3, 3), np.int64))
    seen, extra = plain.observations()["agent_2"], num_privileged_features(3)
    rows = worlds.observations()["agent_2"]
    assert rows.shape == (3, seen.shape[1] + extra)
    np.testing.assert_array_equal(rows[:, :-extra], seen)
    # Round 4 of 50; the second round of the pattern, of agents 1 and 2.
    np.testing.assert_allclose(rows[0, -extra:-6], [0.08, 0, 1, 0, 1, 1, 0], rtol=1e-6)
    np.testing.assert_allclose(rows[:, -6:], plain.velocities.reshape(3, 6), rtol=1e-6)


def test_the_horizon_is_the_end() -> None:
    worlds = worlds_of(REACHING)
    played = [worlds.step(np.zeros((3, 3), np.int64)) for _ in range(50)]
    assert not played[48].terminated.any()
    assert played[49].terminated.all()
    assert not played[49].truncated.any()


def test_the_policy_does_not_see_privileged_features_and_the_value_function_does() -> None:
    module = PrivilegedCriticModule(
        observation_space=Box(-1, 1, (5,)),
        action_space=Discrete(3),
        model_config={
            "fcnet_hiddens": [8],
            "fcnet_activation": "tanh",
            "vf_share_layers": False,
            "privileged_features": 2,
        },
    )
    rows = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    other = rows.clone()
    other[:, -2:] += 1.0
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    for _ in range(3):
        outputs = module.forward_train({Columns.OBS: rows})
        loss = outputs[Columns.ACTION_DIST_INPUTS].square().sum()
        loss = loss + module.compute_values({Columns.OBS: rows}).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    logits = [
        module.forward_train({Columns.OBS: o})[Columns.ACTION_DIST_INPUTS] for o in (rows, other)
    ]
    torch.testing.assert_close(*logits, rtol=0, atol=0)
    values = [module.compute_values({Columns.OBS: o}) for o in (rows, other)]
    assert (values[0] - values[1]).abs().min() > 1e-4


def test_a_low_temperature_multiplies_the_logits() -> None:
    weights = {
        "encoder.actor_encoder.net.mlp.0.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "encoder.critic_encoder.net.mlp.0.weight": np.ones((2, 3), np.float32),
        "pi.net.mlp.0.weight": np.ones((1, 2), np.float32),
        "pi.net.mlp.0.bias": np.array([3.0], np.float32),
    }
    policy = policy_weights(weights, num_features=2, temperature=0.5)
    assert set(policy) == set(weights) - {"encoder.critic_encoder.net.mlp.0.weight"}
    first = policy["encoder.actor_encoder.net.mlp.0.weight"]
    np.testing.assert_array_equal(first, [[0, 1], [3, 4]])
    np.testing.assert_array_equal(policy["pi.net.mlp.0.weight"], [[2.0, 2.0]])
    np.testing.assert_array_equal(policy["pi.net.mlp.0.bias"], [6.0])


@pytest.mark.usefixtures("ray_session")
class TestPhases:
    def test_phases_are_played_by_the_batched_runner(self) -> None:
        config = phase_config(REACHING, Phase(rounds=1), seed=0, is_first=True)
        config.validate()
        assert config.env_runner_cls is BatchedEnvRunner

    def test_plain_phases_have_own_rewards_and_values_of_own_observations(self) -> None:
        phase = Phase(rounds=1, plain=True)
        config = phase_config(REACHING, phase, seed=0, is_first=False)
        config.validate()
        assert (config.env, config.value_only_iterations) == (REACHING, 0)
        weights = train_phase(REACHING, phase, None, seed=0, report=lambda *told: None)
        seen = make_game(REACHING).observation_spaces["agent_1"].shape[0]
        assert weights["agent_1"]["encoder.critic_encoder.net.mlp.0.weight"].shape == (128, seen)
        with pytest.raises(ValueError, match=r"shaping is 1\.0, expected 0 in a plain phase"):
            Phase(rounds=1, plain=True, shaping=1.0)

    def test_policies_cannot_be_blinded_for_kfac(self) -> None:
        config = phase_config(REACHING, Phase(rounds=1), seed=0, is_first=True)
        with pytest.raises(ValueError, match="generator is 'mack'; expected 'ppo'"):
            config.imitation(generator="mack").validate()

    def test_shared_policies_part_and_absent_sides_stay(self, tmp_path) -> None:
        reports: list[int] = []
        first = train_phase(
            PREY,
            Phase(rounds=1, shared=True),
            None,
            seed=0,
            report=lambda rounds, returns: reports.append(rounds),
        )
        assert reports == [12_800]
        head = "pi.net.mlp.0.weight"
        np.testing.assert_array_equal(first["adversary_1"][head], first["adversary_3"][head])
        # The policies learn only after three iterations: value functions come first.
        second = train_phase(
            PREY,
            Phase(rounds=40_000, trains="adversary"),
            first,
            seed=0,
            report=lambda rounds, returns: reports.append(rounds),
        )
        np.testing.assert_array_equal(second["agent_1"][head], first["agent_1"][head])
        moved = [second[f"adversary_{i}"][head] for i in (1, 3)]
        assert not np.array_equal(moved[0], moved[1])
        # What is saved plays in the plain game.
        space = make_game(PREY).observation_spaces["agent_1"]
        path = save_learned(
            tmp_path,
            "agent_1",
            policy_weights(second["agent_1"], space.shape[0], temperature=1.0),
            kind="policy",
            observation_space=space,
            action_space=Discrete(5),
            model={
                "fcnet_hiddens": [128, 128],
                "fcnet_activation": "tanh",
                "vf_share_layers": False,
            },
            provenance={},
        )
        rows = make_game(PREY, batch_size=4, seed=0).observations()["agent_1"]
        actions = load_policy(path)(rows, np.random.default_rng(0))
        assert actions.shape == random_policy(rows, np.random.default_rng(0)).shape
