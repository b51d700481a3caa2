"""Demonstrations larger than memory: windows of files, their order, and training on them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rllib_amagail import AMAGAILConfig, Demonstrations, DemonstrationsError, MultiAgentBCConfig
from rllib_amagail.demonstrations import Catalogue
from rllib_amagail.learner.expert_source import StreamedRows
from rllib_amagail.learner.row_sorter import RowSorter
from rllib_amagail.past_turns import History
from tests.toys import CHOICES, echo_demonstrations, register_echo

SEEN = gym.spaces.Box(0.0, 1.0, (CHOICES,), np.float32)
PART_EPISODES = 2
pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Twelve episodes in six parts; what was seen tells the part."""
    folder = tmp_path / "recording"
    folder.mkdir()
    whole = echo_demonstrations(episodes=12)
    for part in range(6):
        chosen = range(part * PART_EPISODES, (part + 1) * PART_EPISODES)
        whole.select(chosen).save(folder / f"part-{part:05}.parquet")
    return folder


def streamed(recording: Path, **options: Any) -> StreamedRows:
    """The stream of a recording, two parts a window."""
    catalogue = Catalogue.read(recording)
    config = SimpleNamespace(
        policies={"agent_1": None, "agent_2": None},
        imitates=lambda agent: True,
        policy_mapping_fn=lambda agent, episode: agent,
        phi="filtered",
        discriminator_inputs="state_action",
        discriminator_structure="decentralised",
        shown_past=History(),
        shaping_discount=lambda module_id: None,
    )
    module = SimpleNamespace(observation_space=SEEN, action_space=gym.spaces.Discrete(CHOICES))
    modules = {"agent_1": module, "agent_2": module}
    sorter = RowSorter.from_config(config, modules, catalogue.agents)
    window = 2 * max(part.num_bytes for part in catalogue.parts)
    return StreamedRows(catalogue, sorter, **{"window_bytes": window, "seed": 0} | options)


def contents(source: StreamedRows) -> dict[str, bytes]:
    return {module_id: rows.inputs.tobytes() for module_id, rows in source.rows.items()}


def next_window(source: StreamedRows) -> None:
    assert source.drawn(source.rows_left())


def test_a_pass_has_every_row_once(recording: Path) -> None:
    source, counts = streamed(recording), Counter[str]()
    for _ in range(3):
        counts.update({module_id: len(rows) for module_id, rows in source.rows.items()})
        next_window(source)
    whole = Demonstrations.load(recording)
    assert counts == {agent: record.num_turns for agent, record in whole.records.items()}


def test_every_pass_has_another_order_and_a_seed_the_same(recording: Path) -> None:
    orders = []
    for seed in (0, 0, 1):
        source, windows = streamed(recording, seed=seed), []
        for _ in range(6):
            windows.append(contents(source))
            next_window(source)
        orders.append(windows)
    assert orders[0] == orders[1] != orders[2]
    assert orders[0][:3] != orders[0][3:]


def test_a_window_stays_until_it_was_drawn(recording: Path) -> None:
    source = streamed(recording)
    before, rows = contents(source), max(map(len, source.rows.values()))
    assert not source.drawn(rows - 1)
    assert source.rows_left() == 1
    assert contents(source) == before
    assert source.drawn(1)
    assert contents(source) != before


def test_a_stream_goes_on_where_it_stopped(recording: Path) -> None:
    source = streamed(recording)
    for _ in range(4):
        next_window(source)
    source.drawn(1)
    again = streamed(recording, seed=99)
    again.set_state(source.get_state())
    assert again.rows_left() == source.rows_left()
    for _ in range(3):
        assert contents(again) == contents(source)
        next_window(again)
        next_window(source)


def test_a_checkpoint_is_of_its_files(recording: Path) -> None:
    state = streamed(recording).get_state()
    (recording / "part-00005.parquet").unlink()
    with pytest.raises(DemonstrationsError, match="found num_parts 5, expected 6"):
        streamed(recording).set_state(state)


def test_a_damaged_part_is_named(recording: Path) -> None:
    source = streamed(recording)
    (recording / "part-00003.parquet").write_bytes(b"not Parquet")
    whole_pass = (next_window(source) for _ in range(3))
    with pytest.raises(Exception, match="part-00003"):
        list(whole_pass)


def test_parts_must_be_of_one_game(recording: Path) -> None:
    echo_demonstrations(num_agents=3).save(recording / "part-00006.parquet")
    with pytest.raises(DemonstrationsError, match=r"part-00006.*agent_3.*different folders"):
        Catalogue.read(recording)


def test_the_first_episodes_may_end_within_a_part(recording: Path) -> None:
    catalogue = Catalogue.read(recording).head(5)
    assert [part.load().num_episodes for part in catalogue.parts] == [2, 2, 1]
    with pytest.raises(DemonstrationsError, match="12 episodes, expected at least 13"):
        Catalogue.read(recording).head(13)


def test_learners_share_the_parts(recording: Path) -> None:
    catalogue = Catalogue.read(recording)
    shares = [catalogue.share(rank, 4) for rank in range(4)]
    assert sorted(p.path for s in shares for p in s.parts) == [p.path for p in catalogue.parts]
    assert [len(share.parts) for share in shares] == [2, 2, 1, 1]
    with pytest.raises(DemonstrationsError, match="6 files of demonstrations for 7 learners"):
        catalogue.share(0, 7)


def config_of(recording: Path, **settings: Any) -> AMAGAILConfig:
    memory = 4 * max(part.num_bytes for part in Catalogue.read(recording).parts)
    register_echo()
    return (
        AMAGAILConfig()
        .environment("echo")
        .env_runners(num_envs_per_env_runner=2)
        .training(train_batch_size_per_learner=40, minibatch_size=20)
        .imitation(
            demonstrations=str(recording),
            discriminator_batch_size=8,
            bc_steps=20,
            bc_batch_size=16,
            **settings,
        )
        .streaming(demonstrations_memory=memory)
        .debugging(seed=0, log_level="ERROR")
    )


def test_training_from_a_stream_resumes_exactly(recording: Path, tmp_path: Path) -> None:
    whole = config_of(recording).build_algo()
    positions = []
    for iteration in range(4):
        whole.train()
        if iteration == 1:
            whole.save_to_path(tmp_path / "checkpoint")
        positions.append(whole.learner_group._learner._own_rows.get_state())
    assert positions[1]["window"] != positions[3]["window"]  # it moved in between
    restored = config_of(recording).build_algo()
    restored.restore_from_path(tmp_path / "checkpoint")
    for _ in range(2):
        restored.train()
    found, expected = (
        algorithm.learner_group._learner.module.get_state() for algorithm in (restored, whole)
    )
    for module_id, weights in expected.items():
        for name, array in weights.items():
            np.testing.assert_array_equal(found[module_id][name], array)
    assert restored.learner_group._learner._own_rows.get_state() == positions[3]
    whole.stop()
    restored.stop()


def test_cloning_from_a_stream_learns_the_expert(recording: Path) -> None:
    memory = 4 * max(part.num_bytes for part in Catalogue.read(recording).parts)
    algorithm = (
        MultiAgentBCConfig()
        .training(lr=3e-2)
        .imitation(demonstrations=str(recording), bc_steps=80, bc_batch_size=16)
        .streaming(demonstrations_memory=memory)
        .debugging(seed=0, log_level="ERROR")
        .build_algo()
    )
    assert max(algorithm.clone_behaviour().values()) < 0.05
    algorithm.stop()


@pytest.mark.slow
def test_two_learners_stream_their_own_parts(recording: Path) -> None:
    algorithm = config_of(recording).learners(num_learners=2).build_algo()
    algorithm.train()
    states = algorithm.learner_group.foreach_learner(
        lambda learner: [source.get_state()["num_parts"] for source in learner._expert_sources]
    )
    assert [result.get() for result in states] == [[6, 3], [6, 3]]
    algorithm.stop()


def test_a_part_must_fit_into_a_window(recording: Path) -> None:
    config = config_of(recording).streaming(demonstrations_memory=100)
    with pytest.raises(DemonstrationsError, match=r"part-.*Record fewer episodes a part"):
        config.build_algo()


def test_small_demonstrations_are_held(recording: Path) -> None:
    config = config_of(recording).streaming(demonstrations_memory=10**9)
    assert config.streamed_demonstrations() is None


def test_a_stream_holds_out_nothing(recording: Path) -> None:
    config = MultiAgentBCConfig().imitation(demonstrations=str(recording), validation_share=0.5)
    config.streaming(demonstrations_memory=1)
    with pytest.raises(ValueError, match=r"validation_share is 0\.5.*streamed"):
        config.validate()
