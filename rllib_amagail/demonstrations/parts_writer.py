"""Writing the parts of a demonstrations folder, one process and one part at a time."""

from __future__ import annotations

import contextlib
import math
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from rllib_amagail.demonstrations.concatenation import concatenate
from rllib_amagail.demonstrations.data import Demonstrations
from rllib_amagail.demonstrations.errors import DemonstrationsError
from rllib_amagail.demonstrations.folder import kind_of, part_name, part_of
from rllib_amagail.demonstrations.locations import Location, is_address

_TEMPORARY = re.compile(r"\.(part-.*\.parquet)\.[0-9a-f]{32}\.tmp")


@dataclass
class _Part:
    """The part under way: whole episodes that are not on disk yet."""

    number: int
    episodes: list[Demonstrations] = field(default_factory=list)
    num_episodes: int = 0


class PartsWriter:
    """Collects episodes and writes them into the next part when one is due.

    Args:
        folder, label, episodes_per_part, seconds_per_part: as of `DemonstrationRecorder`.
        empty: no episodes, of the kind to be written; with or without rewards.

    Attributes:
        folder: its absolute path.
        with_reward: whether the episodes have rewards; None until that is known.

    Raises DemonstrationsError and ValueError as `DemonstrationRecorder`.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        empty: Demonstrations,
        *,
        label: str,
        episodes_per_part: int,
        seconds_per_part: float,
    ) -> None:
        if episodes_per_part < 1:
            raise ValueError(f"episodes_per_part is {episodes_per_part}; expected >= 1")
        if label and not re.fullmatch("[a-z0-9]+", label):
            raise DemonstrationsError(f"found label {label!r}, expected letters a-z and digits")
        self._empty = empty
        self._label = label
        self._episodes_per_part = episodes_per_part
        self._seconds_per_part = seconds_per_part
        # The first episode is, at once: what cannot be written is better known early, and at the
        # end of the process pyarrow could not import what it needs to write for the first time.
        self._due = -math.inf
        self.with_reward: bool | None = None
        self.folder = _usable(folder)
        self._lock: contextlib.ExitStack | None = contextlib.ExitStack()
        self._lock.enter_context(_sole_writer(self.folder, label))
        try:
            self._part = _Part(self._resume())
        except BaseException:
            self._lock.close()
            raise

    def expect_rewards(self, given: bool) -> None:
        """Raise DemonstrationsError unless what came before had rewards or none, too."""
        if self.with_reward not in (None, given):
            found, expected = ("rewards", "none") if given else ("no rewards", "rewards")
            raise DemonstrationsError(
                f"found {found}, expected {expected} as in what is recorded already"
            )
        self.with_reward = given

    def no_episodes(self, with_reward: bool) -> Demonstrations:
        """None of the kind to be written, with or without rewards."""
        records = {
            agent: replace(record, reward=record.round if with_reward else None)
            for agent, record in self._empty.records.items()
        }
        return replace(self._empty, records=records)

    def add(self, episodes: Demonstrations) -> None:
        """Keep whole episodes of the same kind, and write a part if one is due."""
        self.check_open()
        self._part.episodes.append(episodes)
        self._part.num_episodes += episodes.num_episodes
        self.flush_if_due()

    def flush_if_due(self) -> None:
        """Write a part if there are episodes enough, or some that have waited enough."""
        count = self._part.num_episodes
        if count >= self._episodes_per_part or (count and time.monotonic() >= self._due):
            self.flush()

    def flush(self) -> None:
        """Write what is not on disk yet; see `DemonstrationRecorder.flush`."""
        self.check_open()
        number, episodes = self._part.number, self._part.episodes
        if episodes:
            joined = replace(concatenate(episodes), provenance=self._empty.provenance)
            joined.save(os.path.join(self.folder, part_name(number, self._label)))
            # In one step: an interrupt here writes the same part once more, at worst.
            self._part = _Part(number + 1)
        self._due = time.monotonic() + self._seconds_per_part

    def close(self) -> None:
        """Write what is not on disk yet, and leave the folder to others."""
        if self._lock is not None:
            self.flush()
            self._lock.close()
            self._lock = None

    def check_open(self) -> None:
        """Raise DemonstrationsError after `close`."""
        if self._lock is None:
            raise DemonstrationsError(
                f"the recorder of {self.folder} is closed, expected it open: make a new one"
            )

    def _resume(self) -> int:
        """Clean up after a kill, check the parts that are there, and number the next one."""
        parts = {}
        for name in os.listdir(self.folder):
            half = _TEMPORARY.fullmatch(name)
            part = part_of(half[1] if half else name)
            if part is None:
                continue
            if not half:
                parts[part] = name
            elif part[0] == self._label:  # else it may be another recorder's at work
                os.remove(os.path.join(self.folder, name))
        if parts:
            first = os.path.join(self.folder, parts[min(parts)])
            kind = kind_of(Location.of(first))
            self.with_reward = kind.records[kind.agents[0]].reward is not None
            try:
                concatenate([kind, self.no_episodes(self.with_reward)])
            except DemonstrationsError as error:
                raise DemonstrationsError(
                    f"{first}: found recordings of another kind: {error}; record into another "
                    f"folder"
                ) from error
        return max((number for label, number in parts if label == self._label), default=-1) + 1


def _usable(folder: str | os.PathLike[str]) -> str:
    if is_address(folder):
        raise DemonstrationsError(
            f"{os.fspath(folder)}: found an address, expected a local folder: record here and "
            f"copy the parts, which can be read there"
        )
    path = os.path.abspath(folder)
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise DemonstrationsError(
            f"{path}: found something that cannot be a folder, expected a folder, or a new name "
            f"where one can be made: {error}"
        ) from error
    return path


@contextlib.contextmanager
def _sole_writer(folder: str, label: str) -> Iterator[None]:
    """Held by one recorder at a time; the system frees it when a process dies.

    Two would give their parts the same numbers, and one overwrite the other's.
    """
    import fcntl  # not on Windows, where everything else of this package can be imported

    with open(os.path.join(folder, f".recorder-{label}.lock"), "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DemonstrationsError(
                f"{folder}: found another recorder at work with label {label!r}, expected none: "
                f"close it, or give each a label of its own"
            ) from error
        yield
