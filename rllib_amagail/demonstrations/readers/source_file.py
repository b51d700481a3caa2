"""A file of somebody else: its size is checked, and so are the shapes that it claims."""

import hashlib
import math
import os
from dataclasses import dataclass
from typing import Any

from rllib_amagail.demonstrations.errors import DemonstrationsError

MAX_BYTES = 8 * 2**30
_MAX_AXES = 8
_MAX_EMPTY = 2**16  # product of the other axes of an array without elements


@dataclass(frozen=True)
class SourceFile:
    """The contents of a file, and its name."""

    name: str  # without folders, which are nobody's business where the data is shared
    data: bytes

    @classmethod
    def read(cls, path: str | os.PathLike[str], max_bytes: int) -> "SourceFile":
        """Raises DemonstrationsError if there is no such file or it has more than `max_bytes`."""
        text = os.fspath(path)
        if not os.path.isfile(text):
            raise DemonstrationsError("found no such file, expected one to read: check the path")
        size = os.path.getsize(text)
        if size > max_bytes:
            raise DemonstrationsError(
                f"found {size} bytes, expected at most {max_bytes}: raise max_bytes if you trust "
                f"the file"
            )
        with open(text, "rb") as file:
            return cls(os.path.basename(text), file.read(size))

    def provenance(self, form: str) -> dict[str, Any]:
        """Where the data came from, as JSON."""
        return {"format": form, "file": self.name, "sha256": hashlib.sha256(self.data).hexdigest()}


def check_shape(shape: Any, itemsize: int, num_bytes: int) -> None:
    """Raise ValueError unless an array of a claimed `shape` takes `num_bytes`.

    An array without elements may still not claim to have billions of rows.
    """
    if type(shape) is not tuple or len(shape) > _MAX_AXES:
        raise ValueError(f"found a shape that is no tuple of at most {_MAX_AXES} integers")
    if any(type(axis) is not int or axis < 0 for axis in shape):
        raise ValueError("found a shape whose axes are not integers of at least 0")
    expected = math.prod(shape) * itemsize
    if expected != num_bytes:
        raise ValueError(
            f"found {num_bytes} bytes for an array of shape {str(shape)[:60]}, expected "
            f"{str(expected)[:30]}"
        )
    if expected == 0 and math.prod(max(axis, 1) for axis in shape) > _MAX_EMPTY:
        raise ValueError(f"found an empty array of shape {str(shape)[:60]}, expected a small one")
