"""The paper's baselines by name: in the registry, in Ray Tune and on the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from ray import tune
from ray.tune import RunConfig

from rllib_amagail import (
    MAGAIL,
    AMAGAILConfig,
    Demonstrations,
    GAILConfig,
    MACKConfig,
    MAGAILConfig,
    TurnBasedEnv,
)
from rllib_amagail.cli.experiment import Experiment
from rllib_amagail.cli.names import list_names
from rllib_amagail.cli.plan import make_plan
from rllib_amagail.envs.vector_env import GymnasiumGame
from rllib_amagail.registration import ALGORITHM_NAMES
from tests.test_algorithm import learner_numbers, small_config, train
from tests.test_cli import run
from tests.toys import EchoGame, echo_demonstrations, register_echo

GAME = "stochastic_cooperative_navigation"
SHORT: dict[str, Any] = {
    "num_envs_per_env_runner": 4,
    "train_batch_size_per_learner": 20,
    "num_epochs": 1,
    "bc_steps": 2,
    "model_config": {"fcnet_hiddens": [8]},
    "log_level": "ERROR",
}
CART_STEPS = 50


def cart_demonstrations(episodes: int = 10) -> Demonstrations:
    """A scripted expert of CartPole, who pushes to where the pole is falling."""
    env = gym.make("CartPole-v1", max_episode_steps=CART_STEPS)
    seen: list[list[np.ndarray]] = [[] for _ in range(episodes)]
    done: list[list[int]] = [[] for _ in range(episodes)]
    for episode in range(episodes):
        observation, _ = env.reset(seed=episode)
        over = False
        while not over:
            action = int(observation[2] + observation[3] > 0)
            seen[episode].append(observation)
            done[episode].append(action)
            observation, _, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
        assert len(done[episode]) == CART_STEPS  # the pole never falls
    return Demonstrations.from_rounds(
        ("agent",),
        {"agent": env.observation_space},
        {"agent": env.action_space},
        observations={"agent": np.array(seen)},
        participation=np.ones((episodes, CART_STEPS, 1), bool),
        actions={"agent": np.array(done)},
    )


def settings_of(name: str, folder: Path) -> dict[str, Any]:
    """What trains the algorithm for a moment, as Tune and the command line take it."""
    if name == "MACK":
        return SHORT | {"env": GAME, "env_config": {"horizon": 5}}
    settings = SHORT | {"minibatch_size": None}
    if name != "GAIL":
        return settings | {"env": GAME, "env_config": {"horizon": 5}}
    path = folder / "cart.parquet"
    cart_demonstrations(2).save(path)
    options = {"max_episode_steps": 5}
    return settings | {"env": "CartPole-v1", "env_config": options, "demonstrations": str(path)}


# --- by name -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("name", ALGORITHM_NAMES)
def test_what_the_command_line_plans_trains(name: str, tmp_path: Path) -> None:
    config = settings_of(name, tmp_path)
    plan = make_plan(Experiment(run=name, config=config))
    assert plan.algorithm is ALGORITHM_NAMES[name]
    algorithm = plan.algorithm(config=plan.param_space)
    result = algorithm.train()
    algorithm.stop()
    assert result["training_iteration"] == 1
    assert result[plan.metric] == result["score"]
    assert name in list_names()


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_ray_tune_knows_the_names(tmp_path: Path) -> None:
    run_config = RunConfig(storage_path=str(tmp_path), stop={"training_iteration": 1}, verbose=0)
    space = settings_of("MAGAIL", tmp_path)
    results = tune.Tuner("MAGAIL", param_space=space, run_config=run_config).fit()
    assert results.num_errors == 0
    assert results[0].metrics["training_iteration"] == 1
    for name, algorithm in ALGORITHM_NAMES.items():
        assert tune.registry.get_trainable_cls(name) is algorithm


def test_rllibs_own_bc_stays_what_it_is() -> None:
    assert tune.registry.get_trainable_cls("BC").__module__.startswith("ray.rllib")
    code, _, err = run("train", "--algo", "BC", "-e", GAME)
    assert code == 2
    assert err.startswith("Note: BC is RLlib's algorithm")
    assert "--algo MultiAgentBC" in err.splitlines()[0]


def test_mack_learns_from_the_true_reward_only() -> None:
    config = MACKConfig()
    assert (config.generator, config.reward_source, config.lr) == ("mack", "environment", 0.3)
    with pytest.raises(ValueError, match="reward_source is 'zero'; expected 'environment'"):
        MACKConfig().imitation(reward_source="zero").validate()


def test_close_names_are_suggested() -> None:
    code, _, err = run("train", "--algo", "MAGIAL", "-e", GAME)
    assert code == 2
    assert "did you mean 'MAGAIL'?" in err


@pytest.mark.usefixtures("ray_session")
def test_cloning_on_the_command_line_needs_no_environment(tmp_path: Path) -> None:
    echo_demonstrations().save("echo.parquet")
    config = json.dumps({"demonstrations": "echo.parquet", "lr": 0.01})
    stop = ["--stop", '{"training_iteration": 2}']
    words = ["--storage-path", str(tmp_path), "--experiment-name", "cloned"]
    code, out, err = run("train", "--algo", "MultiAgentBC", "-c", config, *stop, *words)
    assert code == 0, err
    header, *_ = out.splitlines()
    assert header.split() == ["iteration", "rounds", "seconds", "log", "lik."]
    (checkpoint,) = (tmp_path / "cloned").glob("*/checkpoint_*")
    assert re.search(rf"Best checkpoint \(log_likelihood -?\d+\.\d+\): {checkpoint}", out), out
    code, out, err = run("train", "--algo", "MultiAgentBC", "--resume", str(tmp_path / "cloned"))
    assert code == 0, err
    assert re.search(rf"Best checkpoint \(log_likelihood -?\d+\.\d+\): {checkpoint}", out), out
    code, _, err = run("evaluate", str(checkpoint))
    assert code == 1
    assert "rllib evaluate --env NAME" in err
    register_echo()
    code, out, err = run("evaluate", str(checkpoint), "--env", "echo", "--episodes", "2")
    assert code == 0, err


# --- MAGAIL --------------------------------------------------------------------------------------


def test_magail_is_amagail_with_phi_as_an_action() -> None:
    ours, theirs = vars(AMAGAILConfig()), vars(MAGAILConfig())
    assert ours.keys() == theirs.keys()
    different = {key for key in ours if ours[key] != theirs[key]}
    assert different == {"algo_class", "phi"}
    assert (theirs["algo_class"], theirs["phi"]) == (MAGAIL, "chosen")
    with pytest.raises(ValueError, match="it is AMAGAIL, not MAGAIL"):
        MAGAILConfig().imitation(phi="filtered").validate()


@pytest.mark.usefixtures("ray_session")
def test_magail_gives_the_numbers_of_the_setting() -> None:
    by_setting = small_config().imitation(phi="chosen")
    settings = {k: v for k, v in by_setting.to_dict().items() if k != "algo_class"}
    by_name = MAGAILConfig().update_from_dict(settings)
    found, expected = train(by_name, 2), train(by_setting, 2)
    for ours, theirs in zip(found, expected, strict=True):
        assert learner_numbers(ours) == learner_numbers(theirs)
        assert ours["score"] == theirs["score"]


# --- GAIL ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ray_session")
def test_gail_learns_a_gymnasium_environment() -> None:
    config = GAILConfig().environment("CartPole-v1", env_config={"max_episode_steps": CART_STEPS})
    config.env_runners(num_envs_per_env_runner=8)
    config.training(train_batch_size_per_learner=8 * CART_STEPS, minibatch_size=100)
    config.rl_module(model_config={"fcnet_hiddens": [32]})
    config.imitation(demonstrations=cart_demonstrations(), bc_steps=300, bc_lr=1e-2)
    config.debugging(seed=0, log_level="ERROR")
    *_, last = train(config, 2)
    assert set(last["learners"]) == {"__all_modules__", "agent", "agent_discriminator"}
    assert last["score"] > 0.8 * CART_STEPS  # random play falls after about 20 steps


def test_gail_takes_registered_names_and_classes() -> None:
    class Cart(gym.Wrapper):
        def __init__(self, options: dict[str, Any]) -> None:
            super().__init__(gym.make("CartPole-v1", **options))

    tune.register_env("cart", Cart)
    env: Any
    for env in ("cart", Cart):
        config = GAILConfig().environment(env, env_config={"max_episode_steps": 3})
        config.imitation(demonstrations=cart_demonstrations(2)).validate()
        assert config.env is GymnasiumGame
        worlds = config.env(config.env_config).batched(2, seed=0)
        worlds.reset()
        endings = [worlds.step(np.zeros((2, 1), np.int64)).truncated.all() for _ in range(3)]
        assert endings == [False, False, True]


def test_gail_refuses_several_agents() -> None:
    config = GAILConfig().environment(GAME)
    with pytest.raises(ValueError, match=r"agents \('agent_1', .*GAIL is for one. Use AMAGAIL"):
        config.validate()


def test_gail_takes_games_of_one_agent() -> None:
    tune.register_env("solo", lambda env_config: TurnBasedEnv(EchoGame(num_agents=1)))
    config = GAILConfig().environment("solo")
    config.imitation(demonstrations=echo_demonstrations(num_agents=1, participation=1.0)).validate()
    assert config.env == "solo"
    assert set(config.policies) == {"agent_1"}


def test_gail_passes_options_on_and_can_be_validated_again() -> None:
    config = GAILConfig().environment("CartPole-v1", env_config={"max_episode_steps": 7})
    config.imitation(demonstrations=cart_demonstrations(2))
    for _ in range(2):
        config.validate()
        assert config.env is GymnasiumGame
        assert config.env_config == {"max_episode_steps": 7, GymnasiumGame.ENV: "CartPole-v1"}
    worlds = GymnasiumGame(config.env_config).batched(2, seed=0)
    worlds.reset()
    for steps in range(1, 8):
        ended = worlds.step(np.full((2, 1), steps % 2))
    assert ended.truncated.tolist() == [True, True]
