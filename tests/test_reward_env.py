"""Environments that pay learned rewards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from ray import tune
from ray.rllib.algorithms.ppo import PPOConfig

from rllib_amagail import LearnedRewardEnv, TrueScore, TurnBasedEnv
from rllib_amagail.learner.turns import credited_rewards
from tests.test_aec_rounds import play
from tests.test_examples import ROOT, load
from tests.toys import HORIZON, make_echo_env
from tests.turn_based_toys import AGENTS, Alternating, ParallelToy, pattern


class CountingReward:
    """Stands for a `LearnedReward`: 100 times the round, the action, and the next round / 10."""

    agents = AGENTS
    observation_spaces: Any = dict.fromkeys(AGENTS, Box(0, 100, (1,), np.float32))
    action_spaces: Any = dict.fromkeys(AGENTS, Discrete(3))

    def __init__(self, judged: str = "state_action", agents: str = "abc") -> None:
        self.judged = judged
        self.agents = tuple(agents)
        self.observation_spaces = dict.fromkeys(agents, Box(0, 100, (1,), np.float32))
        self.action_spaces = dict.fromkeys(agents, Discrete(3))

    def reward(self, agent: str, observation: Any, action: Any, *, next_observation: Any) -> float:
        later = 0.0 if next_observation is None else float(next_observation[0]) / 10
        return 100 * float(observation[0]) + action + later


def wrapped(env: Any, *args: Any) -> LearnedRewardEnv:
    return LearnedRewardEnv(env, CountingReward(*args))  # type: ignore[arg-type]


def test_who_acts_earns_the_learned_reward_and_true_ones_are_told() -> None:
    env = wrapped(TurnBasedEnv(ParallelToy(), pattern("ab", "a", "b", "ab")))
    env.reset(seed=0)
    _, rewards, _, _, infos = env.step({"a": 1, "b": 2})
    assert rewards == {"a": 1, "b": 2}
    assert infos["a"]["true_reward"] == 1  # 2**0
    _, rewards, _, _, infos = env.step({"a": 2})
    assert rewards == {"a": 102}
    assert infos["b"]["true_reward"] == 1  # for round 0; in round 1 it did nothing
    _, rewards, _, _, _ = env.step({"b": 0})
    assert rewards == {"b": 200}
    _, rewards, _, truncateds, infos = env.step({"a": 0, "b": 0})
    assert rewards == {"a": 300, "b": 300}
    assert truncateds["__all__"]
    assert infos["a"]["true_reward"] == 2 + 8 - 2  # round 3; round 1 was told in round 3
    assert env.true_returns == {"a": 1 + 2 + 8, "b": 1 + 4 + 8, "c": 0}
    assert infos["b"]["true_return"] == 13


def test_absentees_who_are_shown_everything_earn_nothing() -> None:
    env = wrapped(TurnBasedEnv(ParallelToy(), pattern("ab", "a"), show_everyone=True))
    env.reset(seed=0)
    env.step(dict.fromkeys("abc", 1))
    _, rewards, *_ = env.step(dict.fromkeys("abc", 1))
    assert rewards == {"a": 101, "b": 0, "c": 0}


def test_rewards_of_pairs_wait_for_the_next_observation() -> None:
    env = wrapped(Alternating(end=4), "state_pair", "xy")
    env.reset()
    _, rewards, *_ = env.step({"x": 1})
    assert rewards == {"x": 0, "y": 0}
    _, rewards, *_ = env.step({"y": 2})  # now x sees 2
    assert rewards == {"x": 0 + 1 + 0.2, "y": 0}
    _, rewards, *_ = env.step({"x": 0})  # y acted on 1 and sees 3
    assert rewards == {"x": 0, "y": pytest.approx(100 + 2 + 0.3)}
    _, rewards, terminateds, *_ = env.step({"y": 0})  # both see the end, 4
    assert terminateds["__all__"]
    assert rewards == {"x": pytest.approx(200 + 0.4), "y": pytest.approx(300 + 0.4)}


def test_true_rewards_that_come_late_are_not_discounted_into_learned_ones() -> None:
    env = wrapped(TurnBasedEnv(Alternating(end=5), reward_absent=True), "state_action", "xy")
    _, episode = play(env, action=1)
    earned = {a: list(credited_rewards(e, 0.9)) for a, e in episode.agent_episodes.items()}
    assert earned == {"x": [1, 201, 401], "y": [101, 301]}


def test_other_agents_and_spaces_are_refused() -> None:
    with pytest.raises(ValueError, match="no learned reward of agent 'c'"):
        wrapped(TurnBasedEnv(ParallelToy()), "state", "ab")
    with pytest.raises(ValueError, match=r"Discrete\(7\).*expected the same"):
        wrapped(TurnBasedEnv(ParallelToy(action_space=Discrete(7))))


@pytest.mark.usefixtures("ray_session")
def test_stock_ppo_trains_on_it_and_reports_the_true_score() -> None:
    class Echo(CountingReward):
        """Pays whoever never echoes but says 0."""

        def __init__(self, env: TurnBasedEnv) -> None:
            super().__init__()
            self.agents = tuple(env.possible_agents)
            self.observation_spaces, self.action_spaces = env.observation_spaces, env.action_spaces

        def reward(self, agent: str, observation: Any, action: Any, **others: Any) -> float:
            return float(action == 0)

    def make(options: dict[str, Any]) -> LearnedRewardEnv:
        env = make_echo_env({"participation": 1.0})
        return LearnedRewardEnv(env, Echo(env))  # type: ignore[arg-type]

    tune.register_env("paid_echo", make)
    config = (
        PPOConfig()
        .environment("paid_echo")
        .env_runners(num_env_runners=0, num_envs_per_env_runner=4, batch_mode="complete_episodes")
        .training(train_batch_size=32 * HORIZON, minibatch_size=64, lr=0.02)
        .rl_module(model_config={"fcnet_hiddens": [16]})
        .multi_agent(policies={"p"}, policy_mapping_fn=lambda *args, **kwargs: "p")
        .callbacks(TrueScore)
        .debugging(seed=0, log_level="ERROR")
    )
    algorithm = config.build_algo()
    results = [algorithm.train()["env_runners"] for _ in range(5)]
    algorithm.stop()
    learned = [found["agent_episode_returns_mean"]["agent_1"] for found in results]
    assert learned[-1] > learned[0] + 1
    # Whoever says 0 echoes one number of three.
    assert abs(results[-1]["true_score"] - HORIZON / 3) < 1
    assert set(results[-1]["true_returns"]) == {"agent_1", "agent_2"}


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_the_example_learns_a_reward_and_trains_on_it(tmp_path: Path) -> None:
    script = load(ROOT / "examples" / "reward_transfer.py")
    short = ["--imitation-iterations", "1", "--ppo-iterations", "1", "--rounds", "800"]
    (score,) = script.main([*short, "--output", str(tmp_path)])
    assert abs(score) < 0.5  # near random play
    again = script.main(["--reward", str(tmp_path), *short])
    assert again == [score]
