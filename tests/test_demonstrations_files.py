"""Demonstrations files: they keep every bit, hold plain types and are written in one step."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from gymnasium.spaces import Box, Discrete
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_amagail.demonstrations import (
    AgentRecord,
    Demonstrations,
    DemonstrationsError,
    parquet,
)
from tests.demonstration_samples import SPACES, assert_same, assert_same_rows, example, play


def saved_and_loaded(demonstrations: Demonstrations) -> Demonstrations:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "z.parquet"
        demonstrations.save(path)
        return Demonstrations.load(path)


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(SPACES), min_size=1, max_size=3),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.integers(0, 99),
    st.booleans(),
)
def test_files_keep_everything(
    spaces: list, lengths: list[int], share: float, seed: int, rewards: bool
) -> None:
    dense = play(spaces, lengths, share, seed, rewards)
    loaded = saved_and_loaded(dense)
    assert_same(loaded, dense)
    # The sparse form; agent "0" keeps its phi rows, so that no episode is empty.
    turns = {agent: record.turns() for agent, record in dense.records.items() if agent != "0"}
    sparse = replace(dense, records={**dense.records, **turns})
    loaded_sparse = saved_and_loaded(sparse)
    assert_same(loaded_sparse, sparse)
    for agent in dense.agents:
        assert_same_rows(loaded_sparse.records[agent].turns(), loaded.records[agent].turns())


def test_an_agent_without_rows_a_single_turn_and_nothing_survive_a_file() -> None:
    one_turn = play(SPACES[:2], [1], 1.0, 0)
    no_rows = AgentRecord("1", **one_turn.records["1"].columns(slice(0, 0)))
    lonely = replace(one_turn, records={**one_turn.records, "1": no_rows})
    for demonstrations in (one_turn, lonely, one_turn.select([])):
        assert_same(saved_and_loaded(demonstrations), demonstrations)


def test_several_row_groups_read_as_one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_MAX_GROUP_ROWS", 4)
    demonstrations = play([SPACES[0], SPACES[5], SPACES[3]], [5, 4, 1], 0.5, 1)
    assert_same(saved_and_loaded(demonstrations), demonstrations)


def test_wide_rows_get_smaller_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_MAX_GROUP_VALUES", 7)  # 2 features: 3 rows
    play([SPACES[0]], [5, 2], 1.0, 0).save(tmp_path / "z.parquet")
    footer = pq.read_metadata(tmp_path / "z.parquet")
    assert [footer.row_group(i).num_rows for i in range(3)] == [3, 3, 1]


def test_files_are_plain_tables(tmp_path: Path) -> None:
    example().save(tmp_path / "z.parquet")
    rows = pq.read_table(tmp_path / "z.parquet").to_pylist()
    assert len(rows) == 10
    assert rows[1] == {
        "episode": 0,
        "round": 1,
        "agent": "a",
        "participates": False,
        "observation": [1.0],
        "action": None,
        "reward": 0.0,
    }
    assert (rows[7]["agent"], rows[7]["action"], rows[7]["reward"]) == ("b", [2.0], 4.0)


def test_validate_says_what_a_file_holds(tmp_path: Path) -> None:
    example().save(tmp_path / "z.parquet")
    rows = {"rows": 5, "turns": 3, "phi_share": pytest.approx(0.4)}
    assert Demonstrations.validate(tmp_path / "z.parquet") == {
        "game": "toy",
        "episodes": 2,
        "has_actions": True,
        "turns_kept_every": 1,
        "agents": {"a": rows, "b": rows},
    }


def test_a_file_is_smaller_than_its_features_alone(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    agents = ("a", "b", "c")
    steps = {agent: rng.normal(scale=0.05, size=(200, 50, 12)) for agent in agents}
    participation = rng.random((200, 50, 3)) < 0.5
    Demonstrations.from_rounds(
        agents,
        dict.fromkeys(agents, Box(-np.inf, np.inf, (12,))),
        dict.fromkeys(agents, Discrete(5)),
        observations={agent: step.cumsum(axis=1) for agent, step in steps.items()},
        participation=participation,
        actions=rng.integers(0, 5, (200, 50, 3)),
        rewards=rng.normal(size=(200, 50, 3)) * participation,
    ).save(tmp_path / "z.parquet")
    features = 200 * 50 * 3 * 12 * 4  # bytes, random to their last bits
    assert (tmp_path / "z.parquet").stat().st_size < 0.95 * features


def test_the_checksum_does_not_depend_on_how_rows_are_grouped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demonstrations = play([SPACES[0]], [5, 4], 0.5, 1)
    demonstrations.save(tmp_path / "one.parquet")
    monkeypatch.setattr(parquet, "_MAX_GROUP_ROWS", 2)
    demonstrations.save(tmp_path / "many.parquet")
    texts = [
        pq.read_metadata(tmp_path / name).metadata[parquet._KEY]
        for name in ("one.parquet", "many.parquet")
    ]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("broken", ["write_table", "add_key_value_metadata"])
def test_a_failing_writer_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    path = tmp_path / "z.parquet"
    example().save(path)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(parquet.pq.ParquetWriter, broken, fail)
        with pytest.raises(OSError, match="disk full"):
            play(SPACES, [3], 0.5, 0).save(path)
    assert os.listdir(tmp_path) == ["z.parquet"]
    assert_same(Demonstrations.load(path), example())


@pytest.mark.parametrize("broken", ["replace", "fsync"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failing_system_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, error: type[BaseException]
) -> None:
    path = tmp_path / "z.parquet"
    example().save(path)

    def fail(*args: Any) -> None:
        assert len(os.listdir(tmp_path)) == 2  # the new file is there, under another name
        raise error("stop")

    with monkeypatch.context() as patch:
        patch.setattr(os, broken, fail)
        with pytest.raises(error, match="stop"):
            play(SPACES, [3], 0.5, 0).save(path)
    assert os.listdir(tmp_path) == ["z.parquet"]
    assert_same(Demonstrations.load(path), example())


def test_the_new_file_takes_the_old_ones_place_with_ordinary_permissions(tmp_path: Path) -> None:
    path = tmp_path / "z.parquet"
    example().save(path)
    again = play(SPACES, [3], 0.5, 0)
    again.save(path)
    assert_same(Demonstrations.load(path), again)
    assert os.listdir(tmp_path) == ["z.parquet"]
    (tmp_path / "ordinary").touch()
    assert path.stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_saving_needs_a_directory(tmp_path: Path) -> None:
    with pytest.raises(DemonstrationsError, match=r"found no directory .*nowhere"):
        example().save(tmp_path / "nowhere" / "z.parquet")


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    large = replace(example(), provenance={"log": "x" * 2**24})
    with pytest.raises(DemonstrationsError, match="bytes of metadata, expected at most"):
        large.save(tmp_path / "z.parquet")
    assert os.listdir(tmp_path) == []
