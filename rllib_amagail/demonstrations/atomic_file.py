"""Files that appear whole or not at all."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from typing import BinaryIO

from rllib_amagail.demonstrations.errors import DemonstrationsError


def temporary_name(name: str) -> str:
    """A new name for the file that is to become `name`, of which it begins with 40 characters."""
    return f".{name[:40]}.{uuid.uuid4().hex}.tmp"


@contextlib.contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when the block ends well, and vanishes if not."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise DemonstrationsError(
            f"{path}: found no directory {folder}, expected it to exist: create it first"
        )
    temporary = os.path.join(folder, temporary_name(os.path.basename(path)))
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        raise
    # The rename itself is on disk only once the directory is.
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
