"""Recording while RLlib samples: with all runners, whole episodes only, and every one of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box
from ray import tune
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from rllib_amagail import Demonstrations, DemonstrationsError, TurnBasedEnv
from rllib_amagail.algorithm.recording_callback import RecordDemonstrations
from rllib_amagail.recorded_episodes import OpenEpisodes, RecordedGame, Rows
from rllib_amagail.runners.batched_env_runner import BatchedEnvRunner
from rllib_amagail.runners.pooled_worlds import PooledEnvRunner
from rllib_amagail.runners.turn_env_runner import TurnEnvRunner
from tests.batched_toys import AGENTS, Script, make_config
from tests.test_algorithm import small_config
from tests.turn_based_toys import TERMINATED, Alternating, ParallelToy, pattern

ROUNDS = 7
TURNS = {"a": [0, 2, 4, 6], "b": [2, 3, 6], "c": [3]}  # of the pattern below


def toy_config(folder: Path, **endings: tuple[int, str]) -> PPOConfig:
    """Stock PPO on a game of 7 rounds in which b and c appear late; fragments of 5 rounds."""

    def make_env(env_config: Any) -> TurnBasedEnv:
        return TurnBasedEnv(ParallelToy(endings, ROUNDS), pattern("a", "", "ab", "bc"))

    tune.register_env("recorded_toy", make_env)
    return (
        PPOConfig()
        .environment("recorded_toy", disable_env_checking=True)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=2, rollout_fragment_length=5)
        .training(train_batch_size=20, minibatch_size=20, num_epochs=1)
        .multi_agent(policies={"p"}, policy_mapping_fn=lambda agent, episode, **kw: "p")
        .rl_module(model_config={"fcnet_hiddens": [4]})
        .callbacks(RecordDemonstrations.into(folder))
        .debugging(seed=0, log_level="ERROR")
    )


def trained(config: Any, iterations: int) -> Demonstrations:
    """What is recorded in training."""
    algorithm = config.build_algo()
    for _ in range(iterations):
        algorithm.train()
    algorithm.stop()
    return Demonstrations.load(config.callbacks_class.folder)


def parts(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def assert_toy_episodes(recorded: Demonstrations, count: int, turns: dict[str, list[int]]) -> None:
    """That every episode holds these turns, with what the toy says about them."""
    assert recorded.num_episodes == count
    for agent, rounds in turns.items():
        record = recorded.records[agent]
        assert record.round.tolist() == rounds * count
        assert record.observation[:, 0].tolist() == rounds * count
        assert record.reward.tolist() == [2.0**t for t in rounds] * count
        assert record.participates.all()


@pytest.mark.usefixtures("ray_session")
def test_stock_training_is_recorded_chunk_by_chunk(tmp_path: Path) -> None:
    """30 rounds in each of 2 worlds are 4 whole episodes each."""
    config = toy_config(tmp_path)
    recorded = trained(config, iterations=3)
    assert_toy_episodes(recorded, 8, TURNS)
    assert recorded.provenance == {"algorithm": "PPO"}
    assert recorded.game == "recorded_toy"
    assert recorded.player_function is not None
    assert {label.rsplit("-", 1)[0] for label in parts(tmp_path)} == {"part-train0"}


@pytest.mark.parametrize("runner", [MultiAgentEnvRunner, TurnEnvRunner, PooledEnvRunner])
def test_runners_of_separate_worlds(tmp_path: Path, runner: type) -> None:
    config = toy_config(tmp_path).env_runners(env_runner_cls=runner)
    playing = runner(config=config)
    for _ in range(6):
        playing.sample(num_timesteps=2, random_actions=True)  # a round of each world
    assert parts(tmp_path) == []
    for _ in range(9):
        playing.sample(num_timesteps=2, random_actions=True)
    playing.stop()
    assert_toy_episodes(Demonstrations.load(tmp_path), 4, TURNS)


def test_deaths_in_other_chunks_than_the_end(tmp_path: Path) -> None:
    config = toy_config(tmp_path, a=(2, TERMINATED))
    playing = TurnEnvRunner(config=config)
    for _ in range(7):
        playing.sample(num_timesteps=4, random_actions=True)
    playing.stop()
    assert_toy_episodes(Demonstrations.load(tmp_path), 4, TURNS | {"a": [0, 2]})


def test_the_batched_runner_is_kept_and_recorded(tmp_path: Path) -> None:
    script = Script(pattern=((True, False),) * 6 + ((False, True),), lengths=(7, 3))
    config = make_config(script=script).callbacks(RecordDemonstrations.into(tmp_path))
    config.env_runner_cls = None
    config.validate()
    assert config.env_runner_cls is BatchedEnvRunner
    playing = BatchedEnvRunner(config)
    for _ in range(14):
        playing.sample(num_timesteps=2)  # a round of each world
    state = playing.get_state()
    playing.sample(num_timesteps=6)
    playing.stop()
    recorded = Demonstrations.load(tmp_path)
    # 17 rounds: 2 episodes of 7 and 5 of 3, as they end.
    lengths = {0: 7, 1: 3}
    record = recorded.records["left"]
    worlds = record.observation[np.flatnonzero(record.round == 0), 0].astype(int)
    assert sorted(worlds) == [0] * 2 + [1] * 5
    for episode, world in enumerate(worlds):
        own = record.episode == episode
        expected = [t for t in range(lengths[world]) if script.acts(world, t)[0]]
        assert record.round[own].tolist() == expected
        # Round t earns t + 1; what comes between two turns goes to the first one.
        nexts = [*expected[1:], lengths[world]]
        earned = [sum(range(t + 1, after + 1)) for t, after in zip(expected, nexts, strict=True)]
        assert record.reward[own].tolist() == earned
    right = recorded.records[AGENTS[1]]
    expected_right = [t for w in worlds for t in range(lengths[w]) if script.acts(w, t)[1]]
    assert right.round.tolist() == expected_right

    # World 1 is in the middle of an episode in the state; a new runner has not seen its beginning.
    again = BatchedEnvRunner(config)
    again.set_state(state)
    again.sample(num_timesteps=8)
    again.stop()
    assert Demonstrations.load(tmp_path).num_episodes == recorded.num_episodes + 1


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_remote_runners_and_evaluation_have_parts_of_their_own(tmp_path: Path) -> None:
    config = make_config().callbacks(RecordDemonstrations.into(tmp_path))
    config.env_runner_cls = None
    config.env_runners(num_env_runners=2, rollout_fragment_length=10)
    config.training(train_batch_size_per_learner=40, minibatch_size=None, num_epochs=1)
    config.evaluation(evaluation_interval=1, evaluation_duration=2)
    recorded = trained(config, iterations=2)
    labels = {name.rsplit("-", 1)[0] for name in parts(tmp_path)}
    assert labels == {"part-train1", "part-train2", "part-evaluation0"}
    # Each runner plays 20 rounds in worlds of 3 and 5 rounds; evaluation 2 episodes an iteration.
    assert recorded.num_episodes == 2 * (6 + 4) + 2 * 2


class TestOtherEnvironments:
    def config(self, folder: Path) -> PPOConfig:
        tune.register_env("recorded_board", lambda env_config: Alternating(end=5))
        return toy_config(folder).environment("recorded_board")

    def test_whole_episodes_are_recorded(self, tmp_path: Path) -> None:
        config = self.config(tmp_path).env_runners(batch_mode="complete_episodes")
        playing = MultiAgentEnvRunner(config=config)
        playing.sample(num_episodes=2, random_actions=True)
        playing.stop()
        recorded = Demonstrations.load(tmp_path)
        assert recorded.records["x"].round.tolist() == [0, 2, 4] * 2
        assert recorded.records["y"].round.tolist() == [1, 3] * 2

    def test_chunks_need_rounds(self, tmp_path: Path) -> None:
        playing = MultiAgentEnvRunner(config=self.config(tmp_path))
        playing.sample(num_timesteps=4, random_actions=True)
        with pytest.raises(ValueError, match=r"Wrap the environment in .*TurnBasedEnv"):
            playing.sample(num_timesteps=4, random_actions=True)
        playing.stop()


@pytest.mark.usefixtures("ray_session")
def test_policies_that_choose_phi_are_not_recorded(tmp_path: Path) -> None:
    config = small_config().imitation(phi="chosen")
    config.callbacks(RecordDemonstrations.into(tmp_path / "z"))
    algorithm = config.build_algo()
    with pytest.raises(DemonstrationsError, match="choose phi themselves"):
        algorithm.train()
    algorithm.stop()


def test_abandoned_episodes_are_forgotten() -> None:
    def rows(game: str, ends: bool = False) -> Rows:
        return Rows(game, ends, {"a"}, {"a": {}})

    under_way = OpenEpisodes(num_envs=2)
    assert under_way.add([rows("1"), rows("2")]) == []
    assert under_way.add([rows("3")]) == []  # a third: the first has been abandoned
    assert under_way.add([rows("1", ends=True), rows("2", ends=True)]) == [
        [rows("1", ends=True)],
        [rows("2"), rows("2", ends=True)],
    ]


@pytest.mark.parametrize("normalised", [True, False])
def test_box_actions_are_those_that_were_executed(normalised: bool) -> None:
    space, seen = Box(0, 4, (1,)), Box(-9, 9, (1,))
    game = RecordedGame(("a",), {"a": seen}, {"a": space}, normalised_actions=normalised)
    episode = SingleAgentEpisode(
        agent_id="a",
        observations=[np.zeros(1, np.float32)] * 4,
        infos=[{"round": t} for t in range(4)],
        actions=[np.array([value], np.float32) for value in (-1.0, 0.5, 7.0)],
        rewards=[0.0] * 3,
        terminated=True,
        observation_space=seen,
        action_space=space,
        len_lookback_buffer=0,
    ).to_numpy()
    recorded = game.demonstrations([[game.rows(episode)]])
    # -1 to 1 stretched to 0 to 4, or clipped to it.
    assert recorded.records["a"].action[:, 0].tolist() == ([0, 3, 4] if normalised else [0, 0.5, 4])
