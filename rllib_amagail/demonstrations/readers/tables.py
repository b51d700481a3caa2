"""Tables with a row for each agent and round: CSV, plain Parquet, and rows in memory."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from rllib_amagail.demonstrations.data import Demonstrations
from rllib_amagail.demonstrations.errors import DemonstrationsError
from rllib_amagail.demonstrations.readers.interpretation import Interpretation, assemble
from rllib_amagail.demonstrations.readers.source_file import SourceFile
from rllib_amagail.demonstrations.readers.table_columns import FIELDS, agent_rows, chosen_columns

_BYTES_PER_CSV_BYTE = 8  # "1," becomes a float64, which is copied once
_BYTES_PER_CELL = 8
_BATCH_ROWS = 2**16
_BLOCK_BYTES = 2**24
_CSV_TYPES = {
    "agent": pa.string(),
    "episode": pa.string(),
    "round": pa.int64(),
    "participates": pa.bool_(),
}


def from_rows(rows: Sequence[Mapping[str, Any]], **options: Any) -> Demonstrations:
    """Demonstrations of rows in memory, a dict for each agent and round, in any order.

    | field | value | |
    |---|---|---|
    | episode | whole number or text | needed |
    | round | whole number; missing: an agent's rows of an episode are counted | |
    | agent | text or whole number; missing: there is one agent, called "agent" | |
    | observation | numbers: a list, or several columns | needed |
    | action | a number, a list, or several columns; a Discrete one may be one-hot | |
    | reward | a number | |
    | participates | true or false; missing: where there is an action | |
    | action_mask | a list, or several columns of 0 and 1 | |

    `names` says what the columns of a field are called: one name, several with commas, or a pattern
    such as "obs_*", whose columns are taken in the order of their numbers. By default they are
    called as the field, or as the field and something after an underscore.

    Args:
        rows: the dicts; other keys are ignored.
        **options: of `Interpretation`.

    Raises DemonstrationsError, naming column and row, from 0.
    """
    how = Interpretation(**options)
    try:
        table = pa.Table.from_pylist([dict(row) for row in rows])
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DemonstrationsError(
            f"found rows that make no table, expected a dict for each agent and round: {error}"
        ) from error
    return assemble(agent_rows(table, how), how, {"format": "rows"})


def read_csv(path: str | os.PathLike[str], **options: Any) -> Demonstrations:
    """Demonstrations of a CSV file with a header; the columns are those of `from_rows`.

    Cells are separated by commas, semicolons or tabs, whichever the header has most of. An empty
    cell is a missing value.

    Args:
        path: the file.
        **options: of `Interpretation`.

    Raises DemonstrationsError naming the file.
    """
    how = Interpretation(**options)
    return _read(path, "csv", how, how.max_bytes // _BYTES_PER_CSV_BYTE)


def read_table(path: str | os.PathLike[str], **options: Any) -> Demonstrations:
    """Demonstrations of a plain Parquet file; the columns are those of `from_rows`.

    Files that `Demonstrations.save` wrote are for `Demonstrations.load`.

    Args:
        path: the file.
        **options: of `Interpretation`.

    Raises DemonstrationsError naming the file.
    """
    how = Interpretation(**options)
    return _read(path, "parquet", how, how.max_bytes)


def _read(
    path: str | os.PathLike[str], form: str, how: Interpretation, max_bytes: int
) -> Demonstrations:
    try:
        source = SourceFile.read(path, max_bytes)
        try:
            table = (_csv_table if form == "csv" else _parquet_table)(source.data, how)
        except DemonstrationsError:
            raise
        except (pa.ArrowException, csv.Error, OSError, ValueError, MemoryError) as error:
            reason = " ".join(str(error).split())[:300]
            raise DemonstrationsError(
                f"found a file that cannot be read as {form}, expected a table: {reason}"
            ) from error
        return assemble(agent_rows(table, how), how, source.provenance(form))
    except DemonstrationsError as error:
        raise DemonstrationsError(f"{os.fspath(path)}: {error}") from error


def _csv_table(data: bytes, how: Interpretation) -> pa.Table:
    header = data[: data.find(b"\n") if b"\n" in data else None].decode("utf-8-sig")
    separator = max(",;\t", key=header.count)
    found = next(csv.reader(io.StringIO(header), delimiter=separator), [])
    columns = chosen_columns(found, how)
    types = {
        column: _CSV_TYPES.get(field, pa.float64()) for field in FIELDS for column in columns[field]
    }
    return pyarrow.csv.read_csv(
        pa.BufferReader(data),
        # One thread, since only then errors name the row.
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
        parse_options=pyarrow.csv.ParseOptions(delimiter=separator),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=types, include_columns=list(types), strings_can_be_null=True
        ),
    )


def _parquet_table(data: bytes, how: Interpretation) -> pa.Table:
    source = pa.BufferReader(data)
    footer = pq.read_metadata(source)
    schema = footer.schema.to_arrow_schema()
    columns = chosen_columns(schema.names, how)
    wanted = [column for field in FIELDS for column in columns[field]]
    texts = [name for name in wanted if pa.types.is_string(schema.field(name).type)]
    # As dictionaries, since a repeated long text would take its length in memory per row.
    file = pq.ParquetFile(source, read_dictionary=texts)
    _check_size(footer.num_rows * max(len(wanted), 1) * _BYTES_PER_CELL, how.max_bytes)
    batches, size = [], 0
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted):
        batch.validate(full=True)  # offsets of a damaged file may point anywhere
        size += batch.nbytes
        _check_size(size, how.max_bytes)
        batches.append(batch)
    return pa.Table.from_batches(
        batches, None if batches else file.schema_arrow
    ).unify_dictionaries()


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise DemonstrationsError(
            f"found at least {size} bytes of contents, expected at most {max_bytes}: raise "
            f"max_bytes if you trust the file"
        )
