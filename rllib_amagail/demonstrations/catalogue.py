"""What a set of demonstration files holds, without reading their rows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rllib_amagail.demonstrations import parquet
from rllib_amagail.demonstrations.data import Demonstrations
from rllib_amagail.demonstrations.errors import DemonstrationsError
from rllib_amagail.demonstrations.folder import parts_of


@dataclass(frozen=True)
class Part:
    """One file of a `Catalogue`.

    Attributes:
        path: local, or an address that pyarrow understands.
        episodes: how many of its first episodes count.
        recorded: how many episodes it has.
        rows: of those recorded, of all agents.
        num_bytes: an upper bound of what its rows take in memory.
    """

    path: str
    episodes: int
    recorded: int
    rows: int
    num_bytes: int

    def load(self) -> Demonstrations:
        """Read and check the file; raises as `Demonstrations.load`."""
        part = Demonstrations.load(self.path)
        if part.num_episodes != self.recorded:
            raise DemonstrationsError(
                f"{self.path}: found {part.num_episodes} episodes, expected {self.recorded} as "
                "before: the file has changed during the run"
            )
        return part if self.episodes == self.recorded else part.head(self.episodes)


@dataclass(frozen=True)
class Catalogue:
    """The files of one set of demonstrations, in order, all of the same game.

    Attributes:
        parts: at least one.
        agents: of every part.
    """

    parts: tuple[Part, ...]
    agents: tuple[str, ...]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Catalogue:
        """Read the footers of a file, or of all parts of a folder.

        Args:
            path: a file of `Demonstrations.save` or a folder of them, here or remote.

        Raises:
            DemonstrationsError: no or foreign files, or parts of different games.
        """
        footers = {part.name: parquet.read_footer(part) for part in parts_of(path)}
        first_name, first = next(iter(footers.items()))
        for name, footer in footers.items():
            for field in ("agents", "observation_spaces", "action_spaces", "has_actions"):
                found, expected = getattr(footer.about, field), getattr(first.about, field)
                if found != expected:
                    raise DemonstrationsError(
                        f"{name}: found {field} {found}, expected {expected} as in {first_name}: "
                        "keep recordings of different games in different folders"
                    )
        parts = tuple(
            Part(name, episodes, episodes, footer.num_rows, footer.num_bytes)
            for name, footer in footers.items()
            for episodes in [footer.about.description["num_episodes"]]
        )
        return cls(parts, first.about.agents)

    @property
    def num_episodes(self) -> int:
        """E, of all parts."""
        return sum(part.episodes for part in self.parts)

    @property
    def num_bytes(self) -> int:
        """An upper bound of what all rows take in memory."""
        return sum(part.num_bytes for part in self.parts)

    def head(self, num_episodes: int) -> Catalogue:
        """The first episodes, the parts behind them left out.

        Raises:
            DemonstrationsError: there are fewer, or none is asked for.
        """
        if not 1 <= num_episodes <= self.num_episodes:
            raise DemonstrationsError(
                f"found {self.num_episodes} episodes, expected at least {num_episodes}, and to "
                "use at least one"
            )
        kept, left = [], num_episodes
        for part in self.parts:
            if left > 0:
                kept.append(replace(part, episodes=min(left, part.episodes)))
            left -= part.episodes
        return replace(self, parts=tuple(kept))

    def share(self, rank: int, num_shares: int) -> Catalogue:
        """Every ``num_shares``-th part, from part ``rank`` on.

        Raises:
            DemonstrationsError: there are fewer parts than shares.
        """
        if len(self.parts) < num_shares:
            raise DemonstrationsError(
                f"found {len(self.parts)} files of demonstrations for {num_shares} learners, "
                "expected at least one for each: split the recording into more parts"
            )
        return replace(self, parts=self.parts[rank::num_shares])

    def windows(self, max_bytes: int, order: Sequence[int]) -> list[tuple[Part, ...]]:
        """The parts in the given order, grouped by what fits into memory together.

        A part that alone takes more is a window of its own.

        Args:
            max_bytes: of a window.
            order: a permutation of the parts' indices.
        """
        windows: list[tuple[Part, ...]] = []
        window: list[Part] = []
        for index in order:
            part = self.parts[index]
            if window and sum(p.num_bytes for p in window) + part.num_bytes > max_bytes:
                windows.append(tuple(window))
                window = []
            window.append(part)
        return [*windows, tuple(window)]
