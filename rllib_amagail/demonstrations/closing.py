"""Things that are closed when their `with` block ends."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class ClosedByWith(ABC):
    """A context manager for a class that has `close`; however the block ends, it is called."""

    @abstractmethod
    def close(self) -> None:
        """Close; calling it again does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
