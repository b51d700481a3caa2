"""Where a learner's expert rows come from: held in memory, or streamed in windows."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from rllib_amagail.demonstrations import Demonstrations, DemonstrationsError
from rllib_amagail.demonstrations.catalogue import Catalogue, Part
from rllib_amagail.learner.expert_rows import ExpertRows
from rllib_amagail.learner.part_reader import read_parts
from rllib_amagail.learner.row_sorter import RowSorter


class ExpertSource(Protocol):
    """Rows to draw from, which may be others after enough were drawn."""

    @property
    def rows(self) -> Mapping[str, ExpertRows]:
        """Module -> its rows now."""

    def rows_left(self) -> int | None:
        """Rows a module may still draw before others take their place; None: no end."""

    def drawn(self, rows: int) -> bool:
        """Say that every module drew so many; whether others have taken their place."""

    def get_state(self) -> dict[str, Any]:
        """Where the source stands, as plain JSON."""

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""


class HeldRows:
    """All rows, in memory."""

    def __init__(self, rows: Mapping[str, ExpertRows]) -> None:
        self._held = rows

    @property
    def rows(self) -> Mapping[str, ExpertRows]:
        """All."""
        return self._held

    def rows_left(self) -> int | None:
        """None."""
        return None

    def drawn(self, rows: int) -> bool:
        """False."""
        return False

    def get_state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Nothing to do."""


class StreamedRows:
    """Windows of the rows of a `Catalogue`, pass after pass, every pass in a new order.

    A window is some whole files. Its rows are drawn at random, as often as it has rows, and then
    the next window takes its place, which is read while this one is in use. The order follows from
    the seed, so that a position (pass, window, rows drawn) is all there is to keep.

    Args:
        catalogue: of the files.
        sorter: sorts their rows by module.
        window_bytes: of a window; two are in memory.
        seed: of the order.
    """

    def __init__(
        self, catalogue: Catalogue, sorter: RowSorter, *, window_bytes: int, seed: int
    ) -> None:
        self._catalogue, self._sorter = catalogue, sorter
        self._window_bytes, self._seed = window_bytes, seed
        self._position = (0, 0)  # pass, window
        self._rows_drawn = 0
        self._rows: dict[str, ExpertRows] | None = None
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="demonstrations")
        self._next: Future[dict[str, ExpertRows]] | None = None

    @property
    def rows(self) -> Mapping[str, ExpertRows]:
        """Those of the window; waits until it is read.

        Raises:
            DemonstrationsError: a file cannot be read, or has changed.
        """
        if self._rows is None:
            reading = self._next or self._read(self._position)
            self._rows = reading.result()
            self._next = self._read(self._after(self._position))
        return self._rows

    def rows_left(self) -> int:
        """At least 1."""
        return max(map(len, self.rows.values())) - self._rows_drawn

    def drawn(self, rows: int) -> bool:
        """True when the next window has come."""
        self._rows_drawn += rows
        if self.rows_left() > 0:
            return False
        self._position, self._rows_drawn = self._after(self._position), 0
        self._rows = None
        return True

    def get_state(self) -> dict[str, Any]:
        """Position, and which files it is a position in."""
        return {
            "pass": self._position[0],
            "window": self._position[1],
            "rows_drawn": self._rows_drawn,
            "seed": self._seed,
            "window_bytes": self._window_bytes,
            "num_episodes": self._catalogue.num_episodes,
            "num_parts": len(self._catalogue.parts),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of `get_state`.

        Raises:
            DemonstrationsError: it is of other files.
        """
        for name in ("num_parts", "num_episodes"):
            found, expected = self.get_state()[name], state[name]
            if found != expected:
                raise DemonstrationsError(
                    f"found {name} {found}, expected {expected} as when the checkpoint was "
                    "written: go on with the same demonstrations"
                )
        self._seed, self._window_bytes = state["seed"], state["window_bytes"]
        self._position, self._rows_drawn = (state["pass"], state["window"]), state["rows_drawn"]
        self._rows = self._next = None

    def _read(self, position: tuple[int, int]) -> Future[dict[str, ExpertRows]]:
        window = self._windows(position[0])[position[1]]
        return self._readers.submit(read_parts, window, self._sorter)

    def _after(self, position: tuple[int, int]) -> tuple[int, int]:
        number, window = position
        is_last = window + 1 == len(self._windows(number))
        return (number + 1, 0) if is_last else (number, window + 1)

    def _windows(self, number: int) -> list[tuple[Part, ...]]:
        """Those of a pass."""
        rng = np.random.default_rng([self._seed, number])
        order = rng.permutation(len(self._catalogue.parts))
        return self._catalogue.windows(self._window_bytes, order.tolist())


def held_rows(config: Any, modules: Mapping[str, Any], demonstrations: Demonstrations) -> HeldRows:
    """The rows of demonstrations that are in memory.

    Args:
        config: an `AMAGAILConfig`.
        modules: the learner's modules, for their spaces.
        demonstrations: of all agents.
    """
    sorter = RowSorter.from_config(config, modules, demonstrations.agents)
    return HeldRows(sorter.sort(demonstrations))


def expert_sources(
    config: Any, modules: Mapping[str, Any], rank: int, num_learners: int
) -> tuple[ExpertSource, ...]:
    """Open the configured demonstrations.

    Args:
        config: an `AMAGAILConfig`.
        modules: the learner's modules, for their spaces.
        rank: index of this learner.
        num_learners: how many share the demonstrations.

    Returns:
        All rows, to clone and to standardise with; and behind them, if it is another, this
        learner's own share of the episodes (all of them where there are fewer episodes than
        learners).
    """
    catalogue = config.streamed_demonstrations()
    if catalogue is not None:
        return _streams(config, modules, catalogue, rank, num_learners)
    demonstrations = config.load_demonstrations()
    everything = held_rows(config, modules, demonstrations)
    if num_learners == 1 or demonstrations.num_episodes < num_learners:
        return (everything,)
    share = np.arange(rank, demonstrations.num_episodes, num_learners)
    return everything, held_rows(config, modules, demonstrations.select(share))


def _streams(
    config: Any, modules: Mapping[str, Any], catalogue: Catalogue, rank: int, num_learners: int
) -> tuple[ExpertSource, ...]:
    sorter = RowSorter.from_config(config, modules, catalogue.agents)
    shares = [catalogue]
    if num_learners > 1:
        shares.append(catalogue.share(rank, num_learners))
    window_bytes = config.demonstrations_memory // (2 * len(shares))  # one in use, one to come
    largest = max(catalogue.parts, key=lambda part: part.num_bytes)
    if largest.num_bytes > window_bytes:
        raise DemonstrationsError(
            f"{largest.path}: found {largest.num_bytes} bytes of rows, expected at most "
            f"{window_bytes}: demonstrations_memory, {config.demonstrations_memory} bytes, is for "
            f"{2 * len(shares)} windows. Record fewer episodes a part, or raise it"
        )
    return tuple(
        StreamedRows(share, sorter, window_bytes=window_bytes, seed=config.seed or 0)
        for share in shares
    )
