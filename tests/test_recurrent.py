"""Recurrent policies: their states step once per own turn, and learners see what they saw."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns

from rllib_amagail import AMAGAILConfig, MultiAgentBCConfig
from rllib_amagail.algorithm.export import export_learned
from rllib_amagail.learner.advantage_columns import advantage_columns
from rllib_amagail.learner.agent_module import AgentModule
from rllib_amagail.learner.behaviour_cloning import policy_parameters
from rllib_amagail.learner.expert_rows import ExpertRows
from rllib_amagail.learner.phi_filter import filter_phi
from rllib_amagail.learner.ppo_generator import update_by_ppo
from rllib_amagail.learner.sequences import (
    SEQUENCE_STARTS,
    Sequences,
    in_pieces,
    rows_of_sequences,
)
from rllib_amagail.learner.turns import EpisodesToTurns, TurnBatch
from rllib_amagail.recording import record
from rllib_amagail.runners.turn_env_runner import TurnEnvRunner
from rllib_amagail.running_moments import RunningMoments
from rllib_amagail.spaces import ObservationLayout
from tests.test_algorithm import assert_learners_stay_equal, small_config
from tests.test_exact_resume import assert_resumes
from tests.toys import HORIZON, echo_demonstrations

LSTM = {"use_lstm": True, "lstm_cell_size": 8, "max_seq_len": 3, "fcnet_hiddens": [8]}


def starts(*rows: int, length: int) -> torch.Tensor:
    column = torch.zeros(length, dtype=torch.bool)
    column[list(rows)] = True
    return column


def test_sequences_are_padded_behind() -> None:
    sequences = Sequences(starts(0, 1, 4, length=6))  # of 1, 3 and 2 rows
    padded = sequences.padded(torch.arange(1.0, 7.0))
    assert padded.tolist() == [[1, 0, 0], [2, 3, 4], [5, 6, 0]]
    assert sequences.rows(padded).tolist() == [1, 2, 3, 4, 5, 6]
    assert sequences.first_rows.tolist() == [0, 1, 4]


def test_pieces_of_sequences() -> None:
    pieces = in_pieces({SEQUENCE_STARTS: starts(0, 5, length=7)}, length=2)
    assert torch.nonzero(pieces[SEQUENCE_STARTS])[:, 0].tolist() == [0, 2, 4, 5]
    rows = {"obs": torch.zeros(3)}
    assert in_pieces(rows, length=2) is rows


def test_rows_of_chosen_sequences() -> None:
    rows = rows_of_sequences(np.array([0, 1, 4]), 6, np.array([1, 2, 1]))
    assert rows.tolist() == [1, 2, 3, 4, 5, 1, 2, 3]


@pytest.mark.parametrize("minibatches", [1, 2, 5])
def test_ppo_keeps_sequences_whole(minibatches: int) -> None:
    """Three sequences: each minibatch begins with a start, and none is empty."""
    weight = torch.nn.Parameter(torch.ones(()))
    batch = {"row": torch.arange(6.0), SEQUENCE_STARTS: starts(0, 1, 4, length=6)}
    seen: list[list[int]] = []

    def loss_of(minibatch: dict[str, torch.Tensor]) -> torch.Tensor:
        rows, first = minibatch["row"].int().tolist(), minibatch[SEQUENCE_STARTS].tolist()
        seen.append(rows)
        assert first == [row in (0, 1, 4) for row in rows]
        follows = [b == a + 1 for a, b in itertools.pairwise(rows)]
        assert all(f or s for f, s in zip(follows, first[1:], strict=True))
        return weight * 0.0

    optimizer = torch.optim.SGD([weight], 0.1)
    how: dict[str, Any] = {"epochs": 1, "grad_clip": None, "rng": np.random.default_rng(0)}
    update_by_ppo(loss_of, optimizer, batch, minibatches=minibatches, **how)
    assert len(seen) == minibatches
    assert {row for rows in seen for row in rows} == set(range(6))
    assert all(seen)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_rows_give_what_acting_step_by_step_gives(shared: bool, masked: bool) -> None:
    shown: gym.Space = gym.spaces.Box(-1, 1, (2,), np.float32)
    if masked:
        shown = gym.spaces.Dict({"action_mask": gym.spaces.MultiBinary(3), "x": shown})
    module = AgentModule(
        observation_space=shown,
        action_space=gym.spaces.Discrete(3),
        model_config={**LSTM, "vf_share_layers": shared},
    )
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(7, 2)).astype(np.float32)
    masks = np.ones((7, 3), np.int8)
    masks[:, 0] = rng.integers(2, size=7)
    episodes = [range(5), range(5, 7)]  # longer and shorter than max_seq_len
    expected, values = [], []
    for episode in episodes:
        states = {Columns.STATE_IN: _first_states(module)}
        for row in episode:
            seen: Any = torch.from_numpy(rows[row])[None, None]
            if masked:
                seen = {"x": seen, "action_mask": torch.from_numpy(masks[row])[None, None]}
            outputs = module.forward_train({Columns.OBS: seen, **states})
            states = {Columns.STATE_IN: outputs[Columns.STATE_OUT]}
            expected.append(outputs[Columns.ACTION_DIST_INPUTS][0, 0])
            values.append(module.vf(outputs[Columns.EMBEDDINGS])[0, 0, 0])
    flat = rows
    if masked:  # features first
        flat = np.concatenate([rows, masks.astype(np.float32)], axis=1)
    batch = {Columns.OBS: torch.from_numpy(flat), SEQUENCE_STARTS: starts(0, 5, length=7)}
    torch.testing.assert_close(policy_parameters(module, batch), torch.stack(expected))
    torch.testing.assert_close(module.compute_values(batch), torch.stack(values))
    trained = module.forward_train(batch)
    torch.testing.assert_close(trained[Columns.ACTION_DIST_INPUTS], torch.stack(expected))
    again = module.compute_values(batch, trained[Columns.EMBEDDINGS])
    torch.testing.assert_close(again, torch.stack(values))


def _first_states(module: AgentModule) -> Any:
    import tree

    return tree.map_structure(lambda part: part[None], module.get_initial_state())


def lstm_config(**env_config: Any) -> AMAGAILConfig:
    config = small_config(**env_config).rl_module(model_config=LSTM)
    config.env_runners(num_envs_per_env_runner=3, batch_mode="complete_episodes")
    return config.training(minibatch_size=16)


def turns_of(runner: TurnEnvRunner, **how: Any) -> dict[str, TurnBatch]:
    episodes = runner.sample(**how)
    return EpisodesToTurns()(rl_module=runner.module, batch={}, episodes=episodes)


@pytest.mark.parametrize("kind", ["discrete", "masked"])
def test_states_step_once_per_own_turn(kind: str) -> None:
    """Agents are asynchronous, and their turns alone give what the policy said."""
    config = lstm_config(kind=kind, participation=0.4).history(elapsed_rounds=True)
    config.imitation(reward_source="environment")
    config.validate()
    assert config.env_runner_cls is TurnEnvRunner
    runner = TurnEnvRunner(config)
    for module_id, turns in turns_of(runner, num_episodes=4).items():
        module = runner.module[module_id]
        column = torch.zeros(len(turns), dtype=torch.bool)
        column[turns.segment_starts[:-1]] = True
        batch = {Columns.OBS: torch.from_numpy(turns.observations), SEQUENCE_STARTS: column}
        found = policy_parameters(module, batch).numpy()
        np.testing.assert_allclose(found, turns.action_dist_inputs, rtol=1e-4, atol=1e-5)
        assert turns.states is not None
        batch[Columns.STATE_IN] = torch.from_numpy(turns.states)
        pieces = in_pieces(batch, 2)  # from recorded states, in shorter sequences
        found = policy_parameters(module, pieces).numpy()
        np.testing.assert_allclose(found, turns.action_dist_inputs, rtol=1e-4, atol=1e-5)
        assert np.diff(turns.rounds).max() > 1  # there were rounds without a turn


def test_chunks_of_episodes_are_refused() -> None:
    config = lstm_config().imitation(reward_source="environment")
    config.validate()
    runner = TurnEnvRunner(config)
    turns_of(runner, num_timesteps=15)
    with pytest.raises(ValueError, match="expected whole episodes for a recurrent policy"):
        turns_of(runner, num_timesteps=15)


def test_final_observations_are_valued_from_the_states_that_were_left() -> None:
    config = lstm_config().imitation(reward_source="environment")
    config.validate()
    runner = TurnEnvRunner(config)
    turns = turns_of(runner, num_timesteps=9)["agent_1"]
    module = runner.module["agent_1"]
    columns = advantage_columns(
        turns, turns.rewards * 0, module, RunningMoments(), gamma=1.0, lambda_=0.0
    )
    assert columns[SEQUENCE_STARTS].sum() == len(turns.segment_starts) - 1
    # Without rewards and lambda the last target of an episode is V of its final observation.
    widths = np.diff(turns.segment_starts)
    rows = np.arange(len(turns)) + np.repeat(np.arange(len(widths)), widths)
    observations = np.zeros((len(turns) + len(widths), turns.observations.shape[1]), np.float32)
    observations[rows] = turns.observations
    last = np.cumsum(widths + 1) - 1
    observations[last] = turns.final_observations
    column = torch.zeros(len(observations), dtype=torch.bool)
    column[[0, *(last[:-1] + 1)]] = True
    with torch.no_grad():
        values = module.compute_values(
            {Columns.OBS: torch.from_numpy(observations), SEQUENCE_STARTS: column}
        ).numpy()
    expected = np.delete(values[1:], last[:-1])  # of the next observation, episode by episode
    moments = RunningMoments()
    moments.update(expected)
    targets = columns["value_targets"].numpy()
    np.testing.assert_allclose(targets, moments.standardise(expected), rtol=1e-3, atol=1e-4)


def test_rounds_without_a_turn_are_refused() -> None:
    config = lstm_config(show_everyone=True).imitation(reward_source="environment")
    config.validate()
    turns = turns_of(TurnEnvRunner(config), num_timesteps=30)["agent_1"]
    with pytest.raises(ValueError, match="expected an environment that shows agents their own"):
        filter_phi(turns)


def test_expert_rows_are_drawn_by_episodes() -> None:
    demonstrations = echo_demonstrations(episodes=6)
    rows = ExpertRows.collect(
        demonstrations,
        ["agent_1", "agent_2"],
        demonstrations.observation_spaces["agent_1"],
        demonstrations.action_spaces["agent_1"],
        "filtered",
    )
    assert rows.starts is not None
    assert rows.starts.sum() == 12
    counts = np.diff(np.append(np.flatnonzero(rows.starts), len(rows)))
    drawn = rows.draw(20, np.random.default_rng(0), torch.device("cpu"), whole_episodes=True)
    lengths = np.diff(np.append(np.flatnonzero(drawn[SEQUENCE_STARTS]), len(drawn["obs"])))
    assert len(lengths) == round(20 / counts.mean())
    assert set(lengths) <= set(counts)


def remembering_config() -> AMAGAILConfig:
    config = lstm_config().history(elapsed_rounds=True)
    config.training(train_batch_size_per_learner=3 * (HORIZON + HORIZON // 2), num_epochs=2)
    return config.imitation(bc_steps=5, bc_loss_coeff=0.1)


@pytest.mark.usefixtures("ray_session")
def test_training_recording_and_what_is_refused(tmp_path: Path) -> None:
    algorithm = remembering_config().build_algo()
    try:
        for _ in range(2):
            results = algorithm.train()["learners"]["agent_1"]
            assert math.isfinite(results["total_loss"])
            assert results["kl"] < 1
        recorded = record(algorithm, 2, seed=0)
        with pytest.raises(ValueError, match="Keep recurrent policies as checkpoints"):
            export_learned(algorithm, tmp_path)
    finally:
        algorithm.stop()
    found = recorded.records["agent_1"]
    assert found.participates.all()  # it was not shown other rounds
    layout = ObservationLayout.from_space(recorded.observation_spaces["agent_1"])
    assert layout.feature_size == found.observation.shape[1]


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_a_restored_run_goes_on(tmp_path: Path) -> None:
    assert_resumes(remembering_config(), tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_two_learners_stay_equal() -> None:
    config = small_config().rl_module(model_config=LSTM)
    config.learners(num_learners=2, num_cpus_per_learner=1)
    config.env_runners(batch_mode="complete_episodes")
    assert_learners_stay_equal(config.training(train_batch_size_per_learner=16 * HORIZON))


@pytest.mark.usefixtures("ray_session")
def test_behaviour_cloning() -> None:
    """Cloned by sequences, it fits; the figures are of whole episodes."""
    config = MultiAgentBCConfig().imitation(
        demonstrations=echo_demonstrations(), bc_steps=60, bc_batch_size=64
    )
    config.training(lr=1e-2).rl_module(model_config=LSTM).debugging(seed=0)
    config.env_runners(batch_mode="complete_episodes")
    algorithm = config.build_algo()
    try:
        results = algorithm.train()
    finally:
        algorithm.stop()
    assert results["learners"]["agent_1"]["accuracy"] > 0.9
