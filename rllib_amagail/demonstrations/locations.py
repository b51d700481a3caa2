"""Where demonstrations are read from: local paths, and the addresses that pyarrow understands."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace

import pyarrow as pa
from pyarrow import fs

from rllib_amagail.demonstrations.errors import DemonstrationsError

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://")


def is_address(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is an address such as "s3://bucket/folder"; a Path never is one."""
    return isinstance(path, str) and _ADDRESS.match(path) is not None


@dataclass(frozen=True)
class Location:
    """A file or folder, here or elsewhere."""

    name: str  # how errors name it
    path: str  # of `filesystem`
    filesystem: fs.FileSystem | None = None  # None: this machine's, which takes any file name

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Location:
        """A local path, or an address for `pyarrow.fs.FileSystem.from_uri`.

        Raises DemonstrationsError for an address that pyarrow does not understand.
        """
        name = os.fspath(path)
        if not is_address(path):
            return cls(name, name)
        try:
            filesystem, inside = fs.FileSystem.from_uri(name)
        except (pa.ArrowException, OSError, ValueError, ImportError) as error:
            raise DemonstrationsError(
                f"{name}: found an address that cannot be opened, expected one that pyarrow "
                f"understands, such as s3://bucket/folder: {error}"
            ) from error
        return cls(name, inside, filesystem)

    def child(self, name: str) -> Location:
        """The file `name` of this folder."""
        if self.filesystem is None:
            return Location(os.path.join(self.name, name), os.path.join(self.path, name))
        inside = f"{self.path.rstrip('/')}/{name}"
        return replace(self, name=f"{self.name.rstrip('/')}/{name}", path=inside)

    def is_file(self) -> bool:
        """Whether there is such a file. Raises DemonstrationsError if that cannot be told."""
        return os.path.isfile(self.path) if self.filesystem is None else self._is(fs.FileType.File)

    def is_folder(self) -> bool:
        """Whether there is such a folder. Raises DemonstrationsError if that cannot be told."""
        if self.filesystem is None:
            return os.path.isdir(self.path)
        return self._is(fs.FileType.Directory)

    def file_names(self) -> list[str]:
        """The names of the files right in this folder, in no order. Raises OSError."""
        if self.filesystem is None:
            with os.scandir(self.path) as entries:
                return [entry.name for entry in entries if entry.is_file()]
        found = self.filesystem.get_file_info(fs.FileSelector(self.path))
        return [info.base_name for info in found if info.type == fs.FileType.File]

    def open(self) -> pa.NativeFile:
        """The file, to be read at any place. Raises OSError."""
        if self.filesystem is None:
            # Not through a filesystem: that would take some file names for addresses.
            return pa.OSFile(self.path)
        return self.filesystem.open_input_file(self.path)

    def _is(self, kind: fs.FileType) -> bool:
        assert self.filesystem is not None
        try:
            return self.filesystem.get_file_info(self.path).type == kind
        except (pa.ArrowException, OSError) as error:
            raise DemonstrationsError(f"{self.name}: cannot be looked at: {error}") from error
