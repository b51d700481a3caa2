"""Files that are foreign, damaged or hostile: one clear error each, and nothing is executed."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rllib_amagail.demonstrations import Demonstrations, DemonstrationsError, metadata, parquet
from tests.demonstration_samples import SPACES, assert_same, example, play

KEY = parquet._KEY


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good file: agents a and b, 5 rows each."""
    example().save(tmp_path / "z.parquet")
    return tmp_path / "z.parquet"


def refuse(path: Path, message: str, **kwargs: Any) -> None:
    """Expect an error that names the file."""
    with pytest.raises(DemonstrationsError, match=message) as caught:
        Demonstrations.load(path, **kwargs)
    assert str(caught.value).startswith(f"{path}: ")


def rewrite(
    path: Path,
    change_rows: Callable[[pa.Table], pa.Table] = lambda table: table,
    change_text: Callable[[bytes], bytes | None] = lambda text: text,
    rows_per_group: int = 5,
    **options: Any,
) -> None:
    """Write a file again with other rows or another metadata text."""
    text = change_text(pq.read_metadata(path).metadata[KEY])
    table = change_rows(pq.read_table(path, read_dictionary=["agent"]))
    with pq.ParquetWriter(path, table.schema, **{"store_schema": False, **options}) as writer:
        writer.write_table(table, row_group_size=rows_per_group)
        if text is not None:
            writer.add_key_value_metadata({KEY: text})


def with_values(name: str, row: int, value: Any) -> Callable[[pa.Table], pa.Table]:
    """Change one value of a table."""

    def change(table: pa.Table) -> pa.Table:
        values = table[name].to_pylist()
        values[row] = value
        index = table.schema.get_field_index(name)
        field = table.schema.field(index)
        return table.set_column(index, field, pa.array(values, field.type))

    return change


def with_column(name: str, dtype: pa.DataType, values: Any = None) -> Callable:
    """Add a column, or replace one by another of another type."""

    def change(table: pa.Table) -> pa.Table:
        index = table.schema.get_field_index(name)
        column = table[name].to_pylist() if values is None else values
        array = column if isinstance(column, pa.Array) else pa.array(column, dtype)
        if index == -1:
            return table.append_column(pa.field(name, dtype), array)
        return table.set_column(index, pa.field(name, dtype, nullable=False), array)

    return change


def with_text(**changes: Any) -> Callable[[bytes], bytes]:
    return lambda text: json.dumps({**json.loads(text), **changes}).encode()


def test_rewriting_alone_breaks_nothing(path: Path) -> None:
    rewrite(path, with_values("round", 0, 0), with_text())
    assert_same(Demonstrations.load(path), example())


def test_missing_files(tmp_path: Path) -> None:
    refuse(tmp_path / "none.parquet", "found no such file")


class _Bomb:
    def __reduce__(self) -> tuple:
        return Path("executed").touch, ()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PAR1",
        b"PAR1PAR1",
        b"episode,round\n0,0\n" * 99,
        pickle.dumps(_Bomb()),
        b"PAR1" + pickle.dumps(_Bomb()) + b"\xff\xff\xff\x7fPAR1",
        b"PAR1" + b"\0" * 99 + b"\x40\0\0\0PAR1",
    ],
)
def test_files_that_are_not_parquet(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refuse(path, "cannot be read as Parquet, expected a file written by Demonstrations.save")
    assert not Path("executed").exists()


def test_truncated_files(path: Path) -> None:
    content = path.read_bytes()
    for size in range(0, len(content), 53):
        path.write_bytes(content[:size])
        refuse(path, "cannot be read as Parquet")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("checksums", [True, False])
def test_flipped_bytes_give_an_error_or_the_same_data(
    path: Path, seed: int, checksums: bool
) -> None:
    original = play(SPACES[2:5], [3, 2], 0.5, seed)
    original.save(path)
    if not checksums:
        rewrite(path, compression="none")
        assert_same(Demonstrations.load(path), original)
    content = np.frombuffer(path.read_bytes(), np.uint8)
    rng = np.random.default_rng(seed)
    refused = 0
    for _ in range(150):
        damaged = content.copy()
        damaged[rng.integers(len(content), size=rng.integers(1, 4))] = rng.integers(256)
        path.write_bytes(damaged.tobytes())
        try:
            loaded = Demonstrations.load(path)
        except DemonstrationsError:
            refused += 1
        else:
            assert_same(loaded, original)
    assert refused > 50


def test_damaged_agent_columns(path: Path) -> None:
    content = path.read_bytes()
    column = pq.read_metadata(path).row_group(0).column(2)
    assert column.path_in_schema == "agent"
    for index in range(column.total_compressed_size):
        for value in (0, 1, 2):
            damaged = bytearray(content)
            damaged[column.dictionary_page_offset + index] = value
            path.write_bytes(damaged)
            try:
                loaded = Demonstrations.load(path)
            except DemonstrationsError:
                continue
            assert_same(loaded, example())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: None, "without rllib_amagail.demonstrations metadata"),
        (lambda text: text[:-9], "not JSON"),
        (lambda text: b"\xff" + text, "not JSON"),
        (lambda text: b"[" * 10**5, "not JSON"),
        (lambda text: text.replace(b'"game":"toy"', b'"game":NaN'), "not JSON: NaN"),
        (lambda text: b"[]", "found schema version None, expected 1 to 2"),
        (with_text(schema_version=3), "found schema version 3, expected 1 to 2: .* upgrade"),
        (with_text(schema_version=True), "found schema version True"),
        (with_text(extra=1), r"missing or unknown fields \['extra'\]"),
        (lambda text: text.replace(b'"agents"', b'"gents"'), "missing or unknown fields"),
        (with_text(agents="ab"), "found agents ab"),
        (with_text(agents=[]), "expected a list of names"),
        (with_text(agents=["a", 1]), "expected a list of names"),
        (with_text(agents=["a", "c"]), "observation_spaces are not those of agents"),
        (with_text(action_spaces=None), "action_spaces are not those of agents"),
        (with_text(action_spaces={"a": {}, "b": {}}), "action_spaces: found space description"),
        (
            with_text(action_spaces={a: {"type": "MultiBinary", "n": 2} for a in "ab"}),
            "found action space .*, expected Discrete",
        ),
        (with_text(num_episodes=3), "do not match the checksum"),
        (with_text(checksum=None), "do not match the checksum"),
        (with_text(game="chess"), "do not match the checksum"),
        (with_text(provenance={"seed": 1}), "do not match the checksum"),
        (lambda text: text + b" " * 2**24, "bytes of metadata, expected at most"),
    ],
)
def test_bad_metadata(path: Path, change: Callable, message: str) -> None:
    rewrite(path, change_text=change)
    refuse(path, message)


def test_the_number_of_episodes_must_be_right(path: Path) -> None:
    def change(text: bytes) -> bytes:
        described = {**json.loads(text), "num_episodes": 3}
        del described["checksum"]
        described["checksum"] = metadata.checksum(described, example().records)
        return json.dumps(described).encode()

    rewrite(path, change_text=change)
    refuse(path, "found 2 episodes, expected 3 as its metadata says")


def lists(dtype: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", dtype, nullable=False))


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.drop_columns("agent"),
        lambda table: table.drop_columns("round"),
        lambda table: table.select(table.column_names[::-1]),
        with_column("episode", pa.int32()),
        with_column("round", pa.float64()),
        with_column("observation", lists(pa.float64())),
        with_column("observation", lists(lists(pa.float32())), [[[1.0]]] * 10),
        with_column("observation", pa.struct({"x": pa.float32()}), [{"x": 1.0}] * 10),
        with_column("participates", pa.string(), ["yes"] * 10),
        with_column("agent", pa.int64(), [0] * 10),
        with_column("agent", pa.struct({"agent": pa.string()}), [{"agent": "a"}] * 10),
        with_column("reward", pa.decimal128(9, 2), [1] * 10),
        with_column("extra", pa.int64(), [0] * 10),
    ],
)
def test_other_columns(path: Path, change: Callable) -> None:
    rewrite(path, change)
    refuse(path, "found columns .*, expected")


class _Tensor(pa.ExtensionType):
    def __init__(self) -> None:
        super().__init__(pa.float32(), "rllib_amagail.test_tensor")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> pa.DataType:
        return cls()


@pytest.mark.parametrize("known", [True, False])
def test_extension_types(path: Path, known: bool) -> None:
    values = pa.array(np.zeros(10, np.float32))
    dtype = _Tensor()
    if known:
        pa.register_extension_type(dtype)
    try:
        column = pa.ExtensionArray.from_storage(dtype, values)
        rewrite(path, with_column("reward", dtype, column), store_schema=True)
        refuse(path, "found a stored Arrow schema, expected plain Parquet types only")
    finally:
        if known:
            pa.unregister_extension_type("rllib_amagail.test_tensor")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_values("observation", 2, [np.nan]), r"'a', row 2 \(episode 0, round 2\): .* nan"),
        (with_values("reward", 4, np.inf), r"'a', row 4 \(episode 1, round 1\): found reward inf"),
        (with_values("action", 7, None), r"row 7 \(agent 'b', episode 0, round 2\): found null in"),
        (with_values("action", 1, [0.0]), "row 1 .*: found 1 values .*, expected null .* non-part"),
        (with_values("action", 0, [1.0, 2.0]), "row 0 .*: found 2 values in action, expected 1"),
        (with_values("action", 0, [0.5]), r"rows 0 to 4 \(agent 'a'\): .* found 0.5"),
        (with_values("action", 0, [2.0]), "do not match the checksum"),
        (with_values("observation", 6, [1.0, 2.0]), "row 6 .*'b'.* found 2 values in observation"),
        (with_values("observation", 6, []), "row 6 .* found 0 values in observation, expected 1"),
        (with_values("agent", 0, "c"), "row 0: found agent 'c', expected one of"),
        (with_values("agent", 3, "b"), "row 3: found agent 'b' in a row group of 'a'"),
        (with_values("round", 2, 1), r"row 2 \(episode 0, round 1\): found it after .* round 1"),
        (with_values("episode", 0, -1), "found episode -1"),
        (lambda table: table.slice(0, 9), "do not match the checksum"),
    ],
)
def test_bad_rows_are_named(path: Path, change: Callable, message: str) -> None:
    rewrite(path, change)
    refuse(path, message)


def test_agents_share_no_row_group(path: Path) -> None:
    rewrite(path, rows_per_group=10)
    refuse(path, "row 5: found agent 'b' in a row group of 'a', expected one agent per row group")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns("action_mask"), r"\(agent '1'\): .* no column action_m"),
        (with_values("action_mask", 4, None), "row 4 .* found null in action_mask, expected 3"),
        (with_values("action_mask", 0, [True] * 3), "row 0 .* found 3 values .*, expected null"),
        (with_values("action_mask", 3, [True] * 2), "row 3 .* found 2 values in action_mask"),
        (with_values("action_mask", 3, [False] * 3), "do not match the checksum"),
    ],
)
def test_bad_masks_are_named(path: Path, change: Callable, message: str) -> None:
    play([SPACES[0], SPACES[4]], [3], 1.0, 0).save(path)
    rewrite(path, change, rows_per_group=3)
    refuse(path, message)


def test_sizes_are_refused_before_rows_are_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flat = play([SPACES[0]], [10_000], 1.0, 0)
    zeros = {name: 0 * getattr(flat.records["0"], name) for name in ("observation", "reward")}
    replace(flat, records={"0": replace(flat.records["0"], **zeros)}).save(path)
    rewrite(path, rows_per_group=10_000, use_dictionary=True)  # equal values take no space
    assert pq.read_metadata(path).row_group(0).total_byte_size < 329_999

    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("rows were read")

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", never)
    refuse(path, "bytes, expected at most 1000", max_bytes=1000)
    # 8 + 8 + 1 bytes, 2 features of 4 bytes, an action of 8 bytes
    message = "found 330000 bytes of contents in 10000 rows, expected at most 329999"
    refuse(path, message, max_bytes=329_999)
