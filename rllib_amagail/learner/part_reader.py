"""Files of demonstrations to sorted expert rows, read by Ray Data anywhere in the cluster."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from rllib_amagail.demonstrations import DemonstrationsError
from rllib_amagail.demonstrations.catalogue import Part
from rllib_amagail.learner.expert_rows import ExpertRows
from rllib_amagail.learner.row_sorter import RowSorter

_SEPARATOR = "/"
_ERROR = "error"
_READERS = 2  # a learner; a window is in use for far longer than reading the next takes
_FIELDS = tuple(field.name for field in fields(ExpertRows))


def read_parts(parts: Sequence[Part], sorter: RowSorter) -> dict[str, ExpertRows]:
    """Read and check all parts, sort their rows by module, and join them in the order of parts.

    Raises:
        DemonstrationsError: an unreadable part, or a module without rows (from `RowSorter.join`).
    """
    import ray.data  # takes a second, and only large demonstrations need it

    # Read tasks ask for no CPU: learners may hold them all, and would wait for ever. So their
    # number has to be limited here: each is a process that imports this package.
    dataset = ray.data.from_items(
        [{"part": index} for index in range(len(parts))], override_num_blocks=len(parts)
    ).map(_ReadPart(parts, sorter), num_cpus=0, compute=ray.data.TaskPoolStrategy(_READERS))
    dataset.context.enable_progress_bars = False
    dataset.context.print_on_execution_start = False
    dataset.context.execution_options.preserve_order = True
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it reports every dataset twice
    sorted_parts = []
    for columns in dataset.iter_rows():
        if _ERROR in columns:
            raise DemonstrationsError(columns[_ERROR])
        sorted_parts.append(_rows_from_columns(columns))
    return sorter.join(sorted_parts, sum(part.episodes for part in parts))


class _ReadPart:
    """The task that reads one part, as a function of plain data."""

    def __init__(self, parts: Sequence[Part], sorter: RowSorter) -> None:
        self._parts, self._sorter = tuple(parts), sorter

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        part = self._parts[item["part"]]
        try:
            rows = self._sorter.sort_part(part.load())
        except DemonstrationsError as error:  # of those raised Ray Data keeps a traceback only
            return {_ERROR: str(error)}
        return {
            f"{name}{_SEPARATOR}{module_id}": column
            for module_id, module_rows in rows.items()
            for name in _FIELDS
            if (column := getattr(module_rows, name)) is not None
        }


def _rows_from_columns(columns: dict[str, Any]) -> dict[str, ExpertRows]:
    found: dict[str, dict[str, np.ndarray]] = {}
    for key, column in columns.items():
        name, module_id = key.split(_SEPARATOR, 1)
        if column is not None:
            found.setdefault(module_id, {})[name] = np.asarray(column)
    return {
        module_id: ExpertRows(
            rows["observations"],
            rows.get("actions"),
            rows["inputs"],
            rows["is_judged"],
            rows.get("starts"),
        )
        for module_id, rows in found.items()
    }
