"""What Linux tells of processes: memory, file handles, parents, titles."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")
KILOBYTES = 1024  # in a megabyte


def look(pid: int) -> list[float] | None:
    """Process id, resident megabytes, open file handles; None if it is gone."""
    try:
        status = (PROC / str(pid) / "status").read_text()
        resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        handles = len(os.listdir(PROC / str(pid) / "fd"))
    except (OSError, StopIteration):
        return None
    return [pid, int(resident.split()[1]) / KILOBYTES, handles]


def title(pid: int) -> str:
    """The command line as the process shows it; empty if it is gone."""
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def descendants(pid: int) -> list[int]:
    """Children, and theirs."""
    parents: dict[int, int] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    found = [pid]
    for parent in found:
        found += [child for child, its_parent in parents.items() if its_parent == parent]
    return found[1:]


def wait_until_gone(pids: Iterable[int], seconds: float) -> list[int]:
    """Wait for processes to end; those that have not in time."""
    left, deadline = list(pids), time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        left = [pid for pid in left if title(pid)]  # a zombie has no title
        time.sleep(0.05)
    return left
