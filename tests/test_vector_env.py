"""Gymnasium environments as games of one agent, in every mode of autoreset."""

from __future__ import annotations

import doctest
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from ray import tune

from rllib_amagail import AMAGAILConfig, Demonstrations, TurnBasedEnv
from rllib_amagail.envs import vector_env
from rllib_amagail.envs.vector_env import OneWorld, SingleAgentGame, VectorEnvWorlds
from rllib_amagail.games import make_game
from rllib_amagail.runners.batched_env_runner import BatchedEnvRunner
from rllib_amagail.runners.batched_worlds import BatchedWorlds
from rllib_amagail.testing import BatchedWorldsContract, TurnBasedEnvContract
from tests.batched_toys import make_runner

MODES = list(AutoresetMode)


class Counter(gym.Env):
    """Observes (number of the episode, number of steps) and is paid the action.

    Episodes have `length` steps; those with even numbers are truncated.
    """

    observation_space = Box(0, 100, (2,), np.float32)
    action_space = Discrete(100)

    def __init__(self, length: int) -> None:
        self.length, self.episode = length, -1

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.episode, self.steps = self.episode + 1, 0
        return self._see(), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        over, even = self.steps == self.length, self.episode % 2 == 0
        return self._see(), float(action), over and not even, over and even, {}

    def _see(self) -> np.ndarray:
        return np.array([self.episode, self.steps], np.float32)


def counters(mode: AutoresetMode, *lengths: int) -> VectorEnvWorlds:
    makers = [lambda n=n: Counter(n) for n in lengths]
    worlds = VectorEnvWorlds(SyncVectorEnv(makers, autoreset_mode=mode), seed=0)
    worlds.reset()
    return worlds


def look(worlds: VectorEnvWorlds) -> list[tuple[int, ...]]:
    """Episode, steps, round and whether the agent participates, by world."""
    rows = worlds.observations()["agent"].astype(int)
    columns = (rows[:, 0], rows[:, 1], worlds.rounds, worlds.participation[:, 0])
    return [tuple(int(x) for x in world) for world in zip(*columns, strict=True)]


@pytest.mark.parametrize("mode", MODES)
def test_episodes_are_the_same_in_all_modes(mode: AutoresetMode) -> None:
    worlds = counters(mode, 2, 3)
    assert look(worlds) == [(0, 0, 0, 1), (0, 0, 0, 1)]
    result = worlds.step(np.array([[7], [8]]))
    assert result.rewards.tolist() == [[7], [8]]
    assert not (result.terminated | result.truncated).any()
    assert look(worlds) == [(0, 1, 1, 1), (0, 1, 1, 1)]
    result = worlds.step(np.array([[7], [8]]))
    assert result.rewards.tolist() == [[7], [8]]
    assert (result.terminated.tolist(), result.truncated.tolist()) == ([0, 0], [1, 0])
    assert look(worlds) == [(0, 2, 2, 1), (0, 2, 2, 1)]  # the final observation of world 0
    worlds.reset(np.array([True, False]))
    if mode == AutoresetMode.NEXT_STEP:
        assert look(worlds) == [(0, 2, 0, 0), (0, 2, 2, 1)]
    else:
        assert look(worlds) == [(1, 0, 0, 1), (0, 2, 2, 1)]
    result = worlds.step(np.array([[7], [8]]))
    assert result.truncated.tolist() == [0, 1]
    if mode == AutoresetMode.NEXT_STEP:  # the step was spent on the reset
        assert result.rewards.tolist() == [[0], [8]]
        assert look(worlds) == [(1, 0, 1, 1), (0, 3, 3, 1)]
    else:
        assert result.rewards.tolist() == [[7], [8]]
        assert look(worlds) == [(1, 1, 1, 1), (0, 3, 3, 1)]


@pytest.mark.parametrize("mode", MODES)
def test_all_worlds_can_be_reset_at_any_time(mode: AutoresetMode) -> None:
    worlds = counters(mode, 2, 3)
    for _ in range(2):  # world 0 has ended after the second step, world 1 has not
        worlds.step(np.array([[7], [8]]))
    worlds.reset()
    rows = worlds.observations()["agent"]
    assert rows[:, 1].tolist() == [0, 0]
    assert worlds.rounds.tolist() == [0, 0]
    assert worlds.participation.all()
    assert not worlds.step(np.array([[7], [8]])).truncated.any()


def test_what_is_refused() -> None:
    for mode in (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP):
        with pytest.raises(ValueError, match=r"worlds \[1\] are to be reset in the middle"):
            counters(mode, 2, 3).reset(np.array([False, True]))
    worlds = counters(AutoresetMode.DISABLED, 1, 3)
    worlds.step(np.array([[7], [8]]))
    with pytest.raises(RuntimeError, match=r"over in worlds \[0\]"):
        worlds.step(np.array([[7], [8]]))
    vague = SyncVectorEnv([lambda: Counter(3)])
    vague.metadata = {}
    with pytest.raises(ValueError, match=r"metadata\['autoreset_mode'\] .* is None"):
        VectorEnvWorlds(vague, seed=0)
    with pytest.raises(ValueError, match=r"observes a Discrete\(16\), expected a Box"):
        SingleAgentGame("FrozenLake-v1")


def test_other_observations_are_wrapped() -> None:
    game = SingleAgentGame("FrozenLake-v1", wrappers=[gym.wrappers.FlattenObservation])
    assert game.observation_spaces["agent"].shape == (16,)


class CartPoleContract(BatchedWorldsContract):
    __test__ = False
    mode = AutoresetMode.DISABLED

    def make_worlds(self, batch_size: int, seed: int) -> BatchedWorlds:
        make = [lambda: gym.make("CartPole-v1", max_episode_steps=15)] * batch_size
        return VectorEnvWorlds(SyncVectorEnv(make, autoreset_mode=self.mode), seed)


class TestDisabled(CartPoleContract):
    __test__ = True


class TestSameStep(CartPoleContract):
    __test__ = True
    mode = AutoresetMode.SAME_STEP
    resets_in_mid_episode = False


class TestNextStep(CartPoleContract):
    __test__ = True
    mode = AutoresetMode.NEXT_STEP
    resets_in_mid_episode = False


class TestArraysOfGymnasium(BatchedWorldsContract):
    """CartPole's own vector environment resets worlds in the next step."""

    resets_in_mid_episode = False

    def make_worlds(self, batch_size: int, seed: int) -> BatchedWorlds:
        env = gym.make_vec("CartPole-v1", batch_size, vectorization_mode="vector_entry_point")
        return VectorEnvWorlds(env, seed)


class TestOneByOne(TurnBasedEnvContract):
    def make_env(self) -> TurnBasedEnv:
        return SingleAgentGame("CartPole-v1", max_episode_steps=15)


class TestOneParticleGame(TurnBasedEnvContract):
    """Several agents, of whom not all participate."""

    def make_env(self) -> TurnBasedEnv:
        name = "stochastic_cooperative_navigation"
        one = OneWorld(lambda size, seed: make_game(name, batch_size=size, seed=seed, horizon=6))
        return TurnBasedEnv(one)


class GymnasiumsArrays(SingleAgentGame):
    def __init__(self, config: Any) -> None:
        super().__init__(
            lambda size: gym.make_vec("CartPole-v1", size, vectorization_mode="vector_entry_point")
        )


def test_a_reset_in_the_next_step_is_no_turn() -> None:
    runner = make_runner(GymnasiumsArrays, batch_size=2)
    episodes = runner.sample(num_timesteps=200)
    starts = [e.custom_data["rounds"][0] for e in episodes if e.t_started == 0]
    assert len(starts) > 4
    assert starts.count(0) == 2  # the first episode of each world
    assert set(starts) == {0, 1}
    for episode in episodes:
        assert (episode.get_rewards() == 1).all()
        assert (np.diff(episode.custom_data["rounds"]) == 1).all()


def cartpole_config() -> AMAGAILConfig:
    tune.register_env("cartpole", lambda _: SingleAgentGame("CartPole-v1", max_episode_steps=50))
    return (
        AMAGAILConfig()
        .environment("cartpole")
        .env_runners(num_envs_per_env_runner=8)
        .training(train_batch_size_per_learner=400, minibatch_size=None, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": [16]})
        .debugging(seed=0, log_level="ERROR")
    )


def cartpole_demonstrations(episodes: int = 8, rounds: int = 50) -> Demonstrations:
    """A player who pushes to the side to which the pole is falling; it never falls."""
    game = SingleAgentGame("CartPole-v1")
    worlds = game.batched(episodes, seed=1)
    worlds.reset()
    observed, played = [], []
    for _ in range(rounds):
        rows = worlds.observations()["agent"]
        actions = (rows[:, 2] + rows[:, 3] > 0).astype(np.int64)
        observed.append(rows)
        played.append(actions)
        assert not worlds.step(actions[:, None]).terminated.any()
    return Demonstrations.from_rounds(
        ["agent"],
        game.observation_spaces,
        game.action_spaces,
        observations={"agent": np.stack(observed, axis=1)},
        participation=np.ones((episodes, rounds, 1), bool),
        actions={"agent": np.stack(played, axis=1)},
    )


@pytest.mark.usefixtures("ray_session")
def test_trains_on_the_true_reward() -> None:
    algorithm = cartpole_config().imitation(reward_source="environment").build_algo()
    assert isinstance(algorithm.env_runner, BatchedEnvRunner)
    result = algorithm.train()
    algorithm.stop()
    assert 5 < result["score"] < 50
    assert result["env_runners"]["agent_episode_returns_mean"]["agent"] == result["score"]


@pytest.mark.usefixtures("ray_session")
def test_gail_from_a_few_episodes() -> None:
    config = cartpole_config().imitation(
        demonstrations=cartpole_demonstrations(),
        bc_steps=150,
        bc_lr=1e-2,
        discriminator_hiddens=(16,),
        discriminator_batch_size=64,
    )
    algorithm = config.build_algo()
    result = algorithm.train()
    algorithm.stop()
    assert np.isfinite(result["learners"]["agent"]["discriminator_loss"])
    assert result["score"] > 40  # of 50; 22 by chance


def test_example_of_a_game_runs() -> None:
    results = doctest.testmod(vector_env)
    assert results.attempted > 0
    assert results.failed == 0
