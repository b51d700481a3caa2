"""Scenarios of VMAS, where it is installed."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from ray import tune

from rllib_amagail import AMAGAILConfig, IndependentStochastic, StatePlayerFunction, TurnBasedEnv
from rllib_amagail.envs import vmas as adapter
from rllib_amagail.envs.vmas import VmasGame, VmasWorlds
from rllib_amagail.runners.batched_env_runner import BatchedEnvRunner
from rllib_amagail.runners.batched_worlds import BatchedWorlds
from rllib_amagail.testing import BatchedWorldsContract, TurnBasedEnvContract

pytest.importorskip("vmas")

TURNS = IndependentStochastic([0.5, 0.7, 1.0])


def spread(batch_size: int, seed: int, **options: Any) -> VmasWorlds:
    settings = {"horizon": 7, "player_function": TURNS} | options
    return VmasWorlds("simple_spread", batch_size, seed, **settings)


class TestContinuous(BatchedWorldsContract):
    num_rounds = 20

    def make_worlds(self, batch_size: int, seed: int) -> BatchedWorlds:
        return spread(batch_size, seed)


class TestDiscreteScenarioThatTerminates(BatchedWorldsContract):
    num_rounds = 20

    def make_worlds(self, batch_size: int, seed: int) -> BatchedWorlds:
        options: dict[str, Any] = {"horizon": 9, "continuous_actions": False, "n_agents": 2}
        return VmasWorlds("navigation", batch_size, seed, **options)


class TestOneByOne(TurnBasedEnvContract):
    num_episodes = 2

    def make_env(self) -> TurnBasedEnv:
        return VmasGame("simple_spread", horizon=5, player_function=TURNS)


def test_absent_agents_apply_zero_and_earn_nothing() -> None:
    """The same worlds as when everybody acts, and some choose zero."""
    worlds, synchronous = spread(64, 0), spread(64, 0, player_function=None)
    for each in (worlds, synchronous):
        each.reset()
    acts = worlds.participation.copy()
    assert (acts.mean(axis=0) < [1, 1, 1.1]).all()
    actions = np.full((64, 3, 2), 1.0, np.float32)
    rewards = worlds.step(actions).rewards
    expected = synchronous.step(actions * acts[..., None]).rewards
    np.testing.assert_array_equal(rewards, np.where(acts, expected, 0))
    for agent, rows in synchronous.observations().items():
        np.testing.assert_array_equal(worlds.observations()[agent], rows)


def test_spaces() -> None:
    assert spread(1, 0).action_spaces["agent_0"] == Box(-1, 1, (2,), np.float32)
    assert spread(1, 0, continuous_actions=False).action_spaces["agent_0"] == Discrete(9)
    several = spread(1, 0, continuous_actions=False, multidiscrete_actions=True)
    assert several.action_spaces["agent_0"] == MultiDiscrete([3, 3])
    several.reset()
    assert several.step(np.zeros((1, 3, 2), np.int64)).rewards.shape == (1, 3)


def test_streams_are_apart() -> None:
    """Neither other environments of VMAS nor the global streams decide."""

    def starts(disturb: bool) -> np.ndarray:
        worlds = spread(2, 5)
        if disturb:
            spread(2, 6).reset()
            torch.manual_seed(3)
        rows = []
        for _ in range(2):
            worlds.reset()
            rows.append(worlds.observations()["agent_0"])
        return np.concatenate(rows)

    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = starts(disturb=False)
    assert len(np.unique(first[:, 0])) == 4  # no reset is like another
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(first, starts(disturb=True))


def test_player_functions_may_look_at_states() -> None:
    seen = []

    def everybody(history: Any) -> np.ndarray:
        seen.append(history.states)
        return np.ones((2, 3))

    worlds = spread(2, 0, player_function=StatePlayerFunction(everybody, 3, np.ones(3)))
    worlds.reset()
    worlds.step(np.zeros((2, 3, 2), np.float32))
    rows = [worlds.observations()[agent] for agent in worlds.agents]
    np.testing.assert_array_equal(seen[-1], np.concatenate(rows, axis=1).astype(seen[-1].dtype))


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="for 2 agents, expected 3: agent_0"):
        spread(1, 0, player_function=IndependentStochastic([0.5, 0.5]))


@pytest.mark.usefixtures("ray_session")
def test_trains() -> None:
    tune.register_env(
        "spread",
        lambda env_config: VmasGame(
            "simple_spread",
            horizon=7,
            player_function=TURNS,
            continuous_actions=False,
            **env_config,
        ),
    )
    for phi in ("filtered", "chosen"):
        config = (
            AMAGAILConfig()
            .environment("spread")
            .env_runners(num_envs_per_env_runner=8)
            .training(train_batch_size_per_learner=80, minibatch_size=None, num_epochs=1)
            .rl_module(model_config={"fcnet_hiddens": [8]})
            .imitation(reward_source="environment", phi=phi)
            .debugging(seed=0, log_level="ERROR")
        )
        algorithm = config.build_algo()
        assert isinstance(algorithm.env_runner, BatchedEnvRunner)
        result = algorithm.train()
        algorithm.stop()
        assert np.isfinite(result["score"])
        shares = [result["learners"][f"agent_{i}"]["phi_share"] for i in range(3)]
        np.testing.assert_allclose(shares, [0.5, 0.3, 0.0], atol=0.15)


def test_example_of_a_game_runs() -> None:
    results = doctest.testmod(adapter)
    assert results.attempted > 0
    assert results.failed == 0
