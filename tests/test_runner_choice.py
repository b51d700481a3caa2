"""Which runner plays, and what both runners owe: streams of their own and the same batches."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.connectors.env_to_module import FlattenObservations

from rllib_amagail import AMAGAIL, AMAGAILConfig
from rllib_amagail.learner.step_metrics import count_rounds
from rllib_amagail.learner.turns import EpisodesToTurns, agent_episodes
from rllib_amagail.runners.batched_env_runner import BatchedEnvRunner
from rllib_amagail.runners.turn_env_runner import TurnEnvRunner
from tests.test_algorithm import learner_numbers, small_config

pytestmark = pytest.mark.usefixtures("ray_session")
GAME = "stochastic_cooperative_navigation"


def game_config(**imitation: Any) -> AMAGAILConfig:
    return (
        AMAGAILConfig()
        .environment(GAME, env_config={"horizon": 7})
        .env_runners(num_envs_per_env_runner=6)
        .training(train_batch_size_per_learner=60, minibatch_size=None, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": [8]})
        .imitation(**{"reward_source": "environment", "value_only_iterations": 0} | imitation)
        .debugging(seed=0, log_level="ERROR")
    )


def chosen(config: AMAGAILConfig) -> type:
    config = config.copy(copy_frozen=False)
    config.validate()
    return config.env_runner_cls


class _Watcher(RLlibCallback):
    def on_episode_step(self, **kwargs: Any) -> None:
        """Needs RLlib's own runner."""


class _Ender(RLlibCallback):
    def on_episode_end(self, **kwargs: Any) -> None:
        """Does not."""


def test_games_are_played_in_batches() -> None:
    assert chosen(game_config()) is BatchedEnvRunner
    assert chosen(game_config().callbacks(_Ender)) is BatchedEnvRunner


def test_what_needs_rllibs_runner_gets_it() -> None:
    assert chosen(small_config()) is TurnEnvRunner
    assert chosen(game_config().callbacks(_Watcher)) is TurnEnvRunner
    connected = game_config().env_runners(
        env_to_module_connector=lambda env, spaces, device: FlattenObservations(multi_agent=True)
    )
    assert chosen(connected) is TurnEnvRunner


def test_a_runner_set_by_hand_is_kept() -> None:
    by_hand = game_config().env_runners(env_runner_cls=TurnEnvRunner)
    assert chosen(by_hand) is TurnEnvRunner


def test_batched_games_resume_in_the_middle_of_episodes(tmp_path: Path) -> None:
    # 60 rounds an iteration are ten of each world: every chunk ends within an episode of seven.
    algorithm = game_config().build_algo()
    algorithm.train()
    algorithm.save_to_path(str(tmp_path / "checkpoint"))
    expected = [learner_numbers(algorithm.train()) for _ in range(3)]
    algorithm.stop()
    restored = AMAGAIL.from_checkpoint(str(tmp_path / "checkpoint"))
    found = [learner_numbers(restored.train()) for _ in range(3)]
    restored.stop()
    assert found == expected


@pytest.mark.parametrize("runner", [BatchedEnvRunner, TurnEnvRunner])
def test_seeded_runners_do_not_replay_their_first_episodes(runner: type) -> None:
    config = game_config().env_runners(env_runner_cls=runner, batch_mode="complete_episodes")
    algorithm = config.build_algo()
    starts = []
    for _ in range(2):
        episode = algorithm.env_runner.sample()[0]
        starts.append(agent_episodes(episode)[0].get_observations()[0])
    algorithm.stop()
    assert not np.allclose(starts[0], starts[1])


@pytest.mark.parametrize("runner", [BatchedEnvRunner, TurnEnvRunner])
def test_runners_leave_the_global_generator_alone(runner: type) -> None:
    algorithm = game_config().env_runners(env_runner_cls=runner).build_algo()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    algorithm.env_runner.sample()
    assert torch.equal(torch.get_rng_state(), before)
    assert gc.isenabled()
    algorithm.stop()


def test_both_runners_play_the_same_game() -> None:
    """Not the same episodes, but the same rounds, counts and scale of rewards."""
    batches, rounds = [], []
    for runner in (BatchedEnvRunner, TurnEnvRunner):
        config = game_config().env_runners(env_runner_cls=runner, batch_mode="complete_episodes")
        algorithm = config.build_algo()
        episodes = [e for _ in range(10) for e in algorithm.env_runner.sample()]
        modules = algorithm.learner_group._learner.module
        batches.append(EpisodesToTurns()(rl_module=modules, batch={}, episodes=episodes))
        rounds.append(count_rounds(episodes))
        algorithm.stop()
    for agent in ("agent_1", "agent_2", "agent_3"):
        ours, theirs = (batch[agent] for batch in batches)
        assert ours.phi_share == pytest.approx(theirs.phi_share, abs=0.12)
        assert ours.rewards.mean() == pytest.approx(theirs.rewards.mean(), rel=0.25)
        for turns in (ours, theirs):
            assert turns.final_rounds.tolist() == [7] * len(turns.final_rounds)
            assert (turns.elapsed_rounds >= 1).all()
            assert turns.observations.shape[1] == 12
    # RLlib's runner does not count rounds before the first turn of anybody.
    assert rounds[0] <= 60 * 7
    assert rounds[1] <= 60 * 7
