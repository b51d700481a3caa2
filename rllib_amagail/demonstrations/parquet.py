"""Demonstrations as Parquet files of plain types: nothing in a file is ever executed.

One row per agent and round, agents one after the other, each in its own row groups. Everything
is checked on reading, and sizes are checked before reading.
"""

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from gymnasium.spaces.utils import flatdim

from rllib_amagail.demonstrations import metadata
from rllib_amagail.demonstrations.atomic_file import replacing
from rllib_amagail.demonstrations.errors import DemonstrationsError
from rllib_amagail.demonstrations.locations import Location
from rllib_amagail.demonstrations.record import AgentRecord
from rllib_amagail.spaces import ActionLayout, ObservationLayout

MAX_BYTES = 8 * 2**30
_Columns = dict[str, np.ndarray]
_KEY = b"rllib_amagail.demonstrations"
_MAX_GROUP_ROWS = 2**17
_MAX_GROUP_VALUES = 2**27  # list offsets are int32


def _list_of(values: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", values, nullable=False))


_COLUMNS = [
    pa.field("episode", pa.int64(), nullable=False),
    pa.field("round", pa.int64(), nullable=False),
    pa.field("agent", pa.dictionary(pa.int32(), pa.string()), nullable=False),
    pa.field("participates", pa.bool_(), nullable=False),
    pa.field("observation", _list_of(pa.float32()), nullable=False),
    pa.field("action", _list_of(pa.float64())),  # null: phi, or actions were not recorded
]
_MASK = pa.field("action_mask", _list_of(pa.bool_()))  # null: an agent without a mask
_REWARD = pa.field("reward", pa.float32(), nullable=False)
_ENCODINGS = {
    "episode": "DELTA_BINARY_PACKED",
    "round": "DELTA_BINARY_PACKED",
    "observation.list.element": "BYTE_STREAM_SPLIT",
    "action.list.element": "BYTE_STREAM_SPLIT",
    "reward": "BYTE_STREAM_SPLIT",
}

_FIXED_WIDTH = 17  # bytes of a decoded row's episode, round and participation


@dataclass(frozen=True)
class Footer:
    """The contents of a file, as it says: not checked against its rows."""

    about: metadata.Metadata
    num_rows: int  # of all agents
    num_bytes: int  # in memory, an upper bound


def write(
    path: str | os.PathLike[str], records: Mapping[str, AgentRecord], description: dict[str, Any]
) -> None:
    """Write records and their JSON description; see `Demonstrations.save`."""
    with_mask = any(record.action_mask is not None for record in records.values())
    with_reward = any(record.reward is not None for record in records.values())
    schema = pa.schema(_COLUMNS + [_MASK] * with_mask + [_REWARD] * with_reward)
    text = metadata.encode(description, records)
    with (
        replacing(os.fspath(path)) as file,
        pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            use_dictionary=["agent"],
            column_encoding={k: v for k, v in _ENCODINGS.items() if k != "reward" or with_reward},
            write_page_checksum=True,
            store_schema=False,
        ) as writer,
    ):
        for record in records.values():
            for table in _tables(record, schema):
                writer.write_table(table)
        writer.add_key_value_metadata({_KEY: text})


def read(location: Location, max_bytes: int, *, with_rows: bool = True) -> dict[str, Any]:
    """The fields of `Demonstrations` and num_episodes, from a file; see `Demonstrations.load`.

    Without rows it is what the footer says, which is cheap and does not look for damage.
    """
    with _opened(location) as source:
        return _read(source, max_bytes, with_rows)


def read_footer(location: Location, max_bytes: int = MAX_BYTES) -> Footer:
    """What a file says about its contents, without reading them; refuses as `read`."""
    with _opened(location) as source:
        footer, about = _footer(source, max_bytes)
        return Footer(about, footer.num_rows, max(source.size(), _size(footer, about)))


@contextlib.contextmanager
def _opened(location: Location) -> Iterator[pa.NativeFile]:
    """The file, whatever is wrong with it told by an error that names it."""
    try:
        with location.open() as source:
            yield source
    except DemonstrationsError as error:
        raise DemonstrationsError(f"{location.name}: {error}") from error
    except (pa.ArrowException, OSError, ValueError, MemoryError, RecursionError) as error:
        raise DemonstrationsError(
            f"{location.name}: found a file that cannot be read as Parquet, expected a file "
            f"written by Demonstrations.save: get it anew ({error})"
        ) from error


def _footer(source: pa.NativeFile, max_bytes: int) -> tuple[pq.FileMetaData, metadata.Metadata]:
    if source.size() > max_bytes:
        raise DemonstrationsError(f"found {source.size()} bytes, expected at most {max_bytes}")
    footer = pq.read_metadata(source)
    text = (footer.metadata or {}).get(_KEY)
    if text is None:
        raise DemonstrationsError(
            f"found a Parquet file without {_KEY.decode()} metadata, expected a file written by "
            f"Demonstrations.save"
        )
    about = metadata.decode(text)
    size = _size(footer, about)
    if size > max_bytes:
        raise DemonstrationsError(
            f"found {size} bytes of contents in {footer.num_rows} rows, expected at most "
            f"{max_bytes}: raise max_bytes if you trust the file"
        )
    return footer, about


def _read(source: pa.NativeFile, max_bytes: int, with_rows: bool) -> dict[str, Any]:
    footer, about = _footer(source, max_bytes)
    try:
        # As a dictionary, since a repeated long name would take its length in memory per row.
        file = pq.ParquetFile(source, read_dictionary=["agent"], page_checksum_verification=True)
    except KeyError as error:
        names = footer.schema.names[:9]
        raise DemonstrationsError(f"found columns {names}, expected also agent") from error
    _check_schema(file)
    groups: dict[str, list[_Columns]] = {agent: [] for agent in about.agents}
    first_row = 0
    for index in range(file.num_row_groups if with_rows else 0):
        table = file.read_row_group(index)
        table.validate(full=True)  # codes, offsets and text of a damaged file may point anywhere
        if table.num_rows:
            agent = _agent_of(table, about.agents, first_row)
            groups[agent].append(_columns(table, agent, about, first_row))
        first_row += table.num_rows
    records = {}
    for agent, parts in groups.items():
        parts = parts or [_columns(file.schema_arrow.empty_table(), agent, about, 0)]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        action = joined.pop("action", None)
        records[agent] = AgentRecord(agent, action=action, **joined)
    if with_rows and metadata.checksum(about.description, records) != about.checksum:
        raise DemonstrationsError(
            "found contents that do not match the checksum, expected the file as it was written: "
            "it was damaged or edited, get it anew"
        )
    names = ("game", "player_function", "provenance", "num_episodes")
    return {
        "agents": about.agents,
        "records": records,
        "observation_spaces": about.observation_spaces,
        "action_spaces": about.action_spaces,
        **{name: about.description[name] for name in names},
        "turns_kept_every": about.turns_kept_every,
    }


def _check_schema(file: pq.ParquetFile) -> None:
    """Refuse other columns, and any stored Arrow schema: it could ask for extension types."""
    if b"ARROW:schema" in file.metadata.metadata:
        raise DemonstrationsError("found a stored Arrow schema, expected plain Parquet types only")
    found = file.schema_arrow
    optional = [field for field in (_MASK, _REWARD) if field.name in found.names]
    expected = pa.schema(_COLUMNS + optional)
    if not found.equals(expected):
        raise DemonstrationsError(
            f"found columns {_describe(found)}, expected {_describe(expected)}: record the "
            f"episodes anew with Demonstrations.save"
        )


def _describe(schema: pa.Schema) -> str:
    text = ", ".join(str(field).removeprefix("pyarrow.Field") for field in schema)
    return text if len(text) <= 1000 else text[:1000] + "..."


def _size(footer: pq.FileMetaData, about: metadata.Metadata) -> int:
    """Bytes of the contents, by what the footer and the spaces say.

    The footer counts encoded bytes, of which a few can stand for many equal values, so the rows
    are counted as well. Not by column: pyarrow aborts the process on a damaged column entry.
    """
    groups = [footer.row_group(index) for index in range(footer.num_row_groups)]
    rows = [group.num_rows for group in groups]
    if min(rows, default=0) < 0 or sum(rows) != footer.num_rows:
        raise DemonstrationsError(f"found {footer.num_rows} rows in groups that do not add up")
    encoded = sum(max(group.total_byte_size, 0) for group in groups)
    features = max(map(flatdim, about.observation_spaces.values()))
    actions = max(math.prod(space.shape or ()) for space in about.action_spaces.values())
    return max(encoded, footer.num_rows * (4 * features + 8 * actions + _FIXED_WIDTH))


def _agent_of(table: pa.Table, agents: tuple[str, ...], first_row: int) -> str:
    """The one agent of a row group."""
    column = table["agent"].combine_chunks()
    codes = column.indices.to_numpy()
    names = column.dictionary.to_pylist()
    agent = names[codes[0]]
    if agent not in agents:
        raise DemonstrationsError(
            f"row {first_row}: found agent {agent[:100]!r}, expected one of {agents}"
        )
    wrong = ~np.array([name == agent for name in names])[codes]
    if wrong.any():
        row = int(wrong.argmax())
        raise DemonstrationsError(
            f"row {first_row + row}: found agent {names[codes[row]][:100]!r} in a row group of "
            f"{agent!r}, expected one agent per row group"
        )
    return agent


def _columns(table: pa.Table, agent: str, about: metadata.Metadata, first_row: int) -> _Columns:
    """The arrays of an AgentRecord from the K rows of one agent."""
    columns = {name: table[name].to_numpy() for name in ("episode", "round", "participates")}
    if "reward" in table.column_names:
        columns["reward"] = table["reward"].to_numpy()
    own = columns["participates"]
    everywhere = np.ones(len(own), bool)
    try:
        observations = ObservationLayout.from_space(about.observation_spaces[agent])
        actions = ActionLayout.from_space(about.action_spaces[agent])
        columns["observation"] = _matrix(
            table, "observation", observations.feature_size, everywhere
        )
        values = _matrix(table, "action", actions.low.size, own & about.has_actions)
        if about.has_actions:
            columns["action"] = np.zeros((len(own), *actions.shape), actions.dtype)
            columns["action"][own] = actions.encode(values.reshape(-1, *actions.shape))
        if observations.mask_size:
            if "action_mask" not in table.column_names:
                raise ValueError("found no column action_mask, expected the masks of this agent")
            mask = _matrix(table, "action_mask", observations.mask_size, everywhere)
            columns["action_mask"] = mask
        elif "action_mask" in table.column_names:
            _matrix(table, "action_mask", 1, ~everywhere)
    except _RowError as error:
        row, reason = error.args
        place = f"episode {columns['episode'][row]}, round {columns['round'][row]}"
        raise DemonstrationsError(
            f"row {first_row + row} (agent {agent!r}, {place}): {reason}"
        ) from error
    except ValueError as error:
        last_row = first_row + max(len(own), 1) - 1
        raise DemonstrationsError(
            f"rows {first_row} to {last_row} (agent {agent!r}): {error}"
        ) from error
    return columns


class _RowError(Exception):
    """Arguments: the row within its group, what is wrong with it."""


def _matrix(table: pa.Table, name: str, width: int, present: np.ndarray) -> np.ndarray:
    """Lists of `width` values as [rows present, width]; the other rows must be null."""
    lists = table[name].combine_chunks()
    found = pc.list_value_length(lists).fill_null(-1).to_numpy()
    expected = np.where(present, width, -1)
    wrong = found != expected
    if wrong.any():
        row = int(wrong.argmax())
        counts = [f"{n} values" if n >= 0 else "null" for n in (found[row], expected[row])]
        who = "participant" if present[row] else "non-participant"
        reason = f"found {counts[0]} in {name}, expected {counts[1]}"
        raise _RowError(row, f"{reason} for a {who}" if name == "action" else reason)
    return lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)


def _tables(record: AgentRecord, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of one agent, in tables of the size of a row group."""
    action_width = 1 if record.action is None else math.prod(record.action.shape[1:])
    width = max(record.observation.shape[1], action_width)
    if record.action_mask is not None:
        width = max(width, record.action_mask.shape[1])
    step = max(1, min(_MAX_GROUP_ROWS, _MAX_GROUP_VALUES // width))
    for start in range(0, len(record), step):
        columns = record.columns(slice(start, start + step))
        own, mask = columns["participates"], columns["action_mask"]
        everywhere = np.ones(len(own), bool)
        columns["agent"] = pa.DictionaryArray.from_arrays(
            np.zeros(len(own), np.int32), pa.array([record.agent])
        )
        columns["observation"] = _lists(columns["observation"], everywhere, pa.float32())
        if record.action is None:
            columns["action"] = pa.nulls(len(own), _list_of(pa.float64()))
        else:
            actions = columns["action"].reshape(len(own), action_width)[own].astype(np.float64)
            columns["action"] = _lists(actions, own, pa.float64())
        if mask is None:
            columns["action_mask"] = pa.nulls(len(own), _MASK.type)
        else:
            columns["action_mask"] = _lists(mask, everywhere, pa.bool_())
        yield pa.table([columns[name] for name in schema.names], schema=schema)


def _lists(values: np.ndarray, present: np.ndarray, dtype: pa.DataType) -> pa.ListArray:
    """Rows of `values` [rows present, width] as lists, null where not present."""
    ends = np.cumsum(present * values.shape[1])
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    mask = None if present.all() else pa.array(~present)
    flat = pa.array(values.ravel(), dtype)
    return pa.ListArray.from_arrays(offsets, flat, type=_list_of(dtype), mask=mask)
