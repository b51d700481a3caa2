"""From the columns of a table to the rows of each agent. K counts rows of the table."""

import fnmatch
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rllib_amagail.demonstrations.errors import DemonstrationsError
from rllib_amagail.demonstrations.readers.interpretation import AgentRows, Interpretation

FIELDS = (
    "episode",
    "round",
    "agent",
    "observation",
    "action",
    "reward",
    "participates",
    "action_mask",
)
_NEEDED = ("episode", "observation")
_SEVERAL = ("observation", "action", "action_mask")  # fields that may have several columns
_ONE_AGENT = "agent"
_MAX_AGENTS = 1000


def chosen_columns(found: Sequence[str], how: Interpretation) -> dict[str, list[str]]:
    """The columns of each field; none for a field that is not there.

    Raises DemonstrationsError if a field's columns are missing or more than they may be.
    """
    told = how.field_names(FIELDS, {})
    doubled = sorted(name for name, count in Counter(found).items() if count > 1)
    if doubled:
        raise DemonstrationsError(f"found several columns {doubled[:5]}, expected one of a name")
    columns = {}
    for field in FIELDS:
        names = _matching(told[field], found)
        if not names and field not in how.names and field in _SEVERAL:
            names = _matching(f"{field}_*", found)
            if field == "action":  # the masks of actions begin with the same word
                names = [name for name in names if not name.startswith("action_mask")]
        if not names and (field in how.names or field in _NEEDED):
            raise DemonstrationsError(
                f"found columns {list(found)[:20]}, expected {told[field]!r} for the {field}: say "
                f"what the source calls its columns with names"
            )
        if len(names) > 1 and field not in _SEVERAL:
            raise DemonstrationsError(f"found {names[:5]} for the {field}, expected one column")
        columns[field] = names
    return columns


def agent_rows(table: pa.Table, how: Interpretation) -> dict[str, AgentRows]:
    """The rows of every agent. Raises DemonstrationsError naming column and row, from 0."""
    columns = chosen_columns(table.column_names, how)
    if table.num_rows == 0:
        raise DemonstrationsError("found no rows, expected one for each agent and round")
    episode = _episodes(table[columns["episode"][0]], columns["episode"][0])
    codes, names = _agents(table, columns["agent"])
    values, present = {}, {}
    for field in ("observation", "action", "reward", "participates", "action_mask"):
        if columns[field]:
            values[field], present[field] = _values(table, columns[field])
    own = _participation(values, present)
    everywhere = np.ones(len(own), bool)
    for field, needed in (
        ("observation", everywhere),
        ("action", own),
        ("reward", own),  # an absent agent is not paid
        ("participates", everywhere),
        ("action_mask", everywhere),
    ):
        if field in values and not present[field][needed].all():
            row = int(np.flatnonzero(needed & ~present[field])[0])
            raise DemonstrationsError(
                f"row {row}: found an empty {field} ({', '.join(columns[field][:3])}), expected one"
            )
    if columns["round"]:
        rounds = _integers(table[columns["round"][0]], columns["round"][0])
    else:
        rounds = _counted(episode, codes)
    rows = {}
    for agent in how.ordered_agents(sorted(names, key=_natural)):
        mine = np.flatnonzero(codes == names.index(agent))
        part = {field: array[mine] for field, array in values.items()}
        rows[agent] = AgentRows(
            episode=episode[mine],
            round=rounds[mine],
            observation=part["observation"],
            action=part.get("action"),
            reward=part.get("reward"),
            participates=own[mine],
            action_mask=part.get("action_mask"),
        )
    return rows


def _matching(spec: str, found: Sequence[str]) -> list[str]:
    """The columns that a name, names with commas, or a pattern stand for."""
    if spec in found:
        return [spec]
    parts = [part.strip() for part in spec.split(",")]
    if len(parts) > 1:
        return parts if set(parts) <= set(found) else []
    if "*" not in spec:
        return []
    return sorted((name for name in found if fnmatch.fnmatchcase(name, spec)), key=_natural)


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts obs_10 after obs_2."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _episodes(column: pa.ChunkedArray, name: str) -> np.ndarray:
    """[K] int64 from 0: numbers in their order, text in that of its first occurrence."""
    codes, values = _encoded(column, name)
    try:
        numbers = pc.cast(values, pa.int64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return codes
    return np.unique(numbers[codes], return_inverse=True)[1].astype(np.int64)


def _agents(table: pa.Table, columns: list[str]) -> tuple[np.ndarray, list[str]]:
    """[K] codes of the agents, and their names."""
    if not columns:
        return np.zeros(table.num_rows, np.int64), [_ONE_AGENT]
    codes, values = _encoded(table[columns[0]], columns[0])
    if len(values) > _MAX_AGENTS:
        raise DemonstrationsError(
            f"column {columns[0]!r}: found {len(values)} agents, expected at most {_MAX_AGENTS}"
        )
    return codes, pc.cast(values, pa.string()).to_pylist()


def _encoded(column: pa.ChunkedArray, name: str) -> tuple[np.ndarray, pa.Array]:
    """[K] int64 codes of text or whole numbers, and the different values, by first occurrence."""
    is_encoded = pa.types.is_dictionary(column.type)
    kind = column.type.value_type if is_encoded else column.type
    if not (
        pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)
    ):
        raise DemonstrationsError(
            f"column {name!r}: found {kind} values, expected text or whole numbers"
        )
    if column.null_count:
        raise DemonstrationsError(f"column {name!r}: found empty cells, expected none")
    # Never decoded: a repeated long text would take its length in memory per row.
    encoded = (column if is_encoded else column.dictionary_encode()).combine_chunks()
    values = encoded.dictionary.dictionary_encode()  # a file may list a value twice
    codes = values.indices.to_numpy(zero_copy_only=False)[
        encoded.indices.to_numpy(zero_copy_only=False)
    ]
    return codes.astype(np.int64), values.dictionary


def _participation(
    values: Mapping[str, np.ndarray], present: Mapping[str, np.ndarray]
) -> np.ndarray:
    """[K] bool: as the column says, else where there is an action, else everywhere."""
    if "participates" in values:
        flags = values["participates"]
        if flags.ndim != 1 or not np.isin(flags, (0, 1)).all():
            raise DemonstrationsError("participates: found other values, expected true and false")
        return flags.astype(bool)
    if "action" in present:
        return present["action"]
    return np.ones(len(values["observation"]), bool)


def _counted(episode: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """[K] position of each row among the rows of its agent in its episode."""
    order = np.lexsort((codes, episode))  # stable
    keys = np.stack([episode[order], codes[order]])
    is_first = np.append(True, (np.diff(keys) != 0).any(axis=0))
    first = np.flatnonzero(is_first)
    rounds = np.empty(len(order), np.int64)
    rounds[order] = np.arange(len(order)) - first[np.cumsum(is_first) - 1]
    return rounds


def _integers(column: pa.ChunkedArray, name: str) -> np.ndarray:
    try:
        if column.null_count:
            raise ValueError("there are empty cells")
        return pc.cast(column, pa.int64()).to_numpy()
    except (pa.ArrowException, ValueError) as error:
        raise DemonstrationsError(
            f"column {name!r}: found {column.type} values, expected whole numbers: {error}"
        ) from error


def _values(table: pa.Table, columns: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers [K] of a column, or [K, n] of several or of one of lists; [K] which are there."""
    first = table[columns[0]]
    if len(columns) == 1 and _is_list(first.type):
        return _lists(first, columns[0])
    cells = [_cells(table[name], name) for name in columns]
    present = [there for _, there in cells]
    if (np.any(present, axis=0) != np.all(present, axis=0)).any():
        row = int(np.flatnonzero(np.any(present, axis=0) != np.all(present, axis=0))[0])
        raise DemonstrationsError(f"row {row}: found some of {columns[:5]} empty, expected all")
    if len(columns) == 1:
        return cells[0]
    return np.stack([values for values, _ in cells], axis=1), present[0]


def _cells(column: pa.ChunkedArray, name: str) -> tuple[np.ndarray, np.ndarray]:
    present = ~pc.is_null(column, nan_is_null=True).to_numpy().astype(bool)
    return _filled(column, name), present


def _filled(column: pa.ChunkedArray | pa.Array, name: str) -> np.ndarray:
    """[K] numbers, 0 where there is none."""
    is_encoded = pa.types.is_dictionary(column.type)
    kind = column.type.value_type if is_encoded else column.type
    if pa.types.is_null(kind):
        return np.zeros(len(column))
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise DemonstrationsError(f"column {name!r}: found {kind} values, expected numbers")
    if is_encoded:
        column = pc.cast(column, kind)
    values = pc.fill_null(column, pa.scalar(0).cast(kind)).to_numpy(zero_copy_only=False)
    return np.where(np.isnan(values), 0, values) if values.dtype.kind == "f" else values


def _is_list(kind: pa.DataType) -> bool:
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _lists(column: pa.ChunkedArray, name: str) -> tuple[np.ndarray, np.ndarray]:
    lists = column.combine_chunks()
    lengths = pc.list_value_length(lists).fill_null(-1).to_numpy(zero_copy_only=False)
    present = lengths >= 0
    widths = np.unique(lengths[present])
    if len(widths) > 1:
        raise DemonstrationsError(
            f"column {name!r}: found lists of {widths[:5].tolist()} values, expected one length"
        )
    width = int(widths[0]) if len(widths) else 0
    flat = lists.drop_null().flatten()
    if flat.null_count:
        raise DemonstrationsError(
            f"column {name!r}: found lists with missing values, expected none"
        )
    values = np.zeros((len(lists), width))
    values[present] = _filled(flat, name).reshape(-1, width)
    return values, present
