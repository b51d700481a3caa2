"""What a benchmark must say about where its numbers come from."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import numpy
import ray
import torch


def describe_machine() -> tuple[str, str]:
    """The machine and versions in a line, and the commit (with "+" when files were changed)."""
    versions = (
        f"Python {platform.python_version()}, ray {ray.__version__}, torch {torch.__version__}, "
        f"numpy {numpy.__version__}"
    )
    machine = f"{os.cpu_count()} cores, {_processor()}, no GPU used; {versions}"
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    tracked = ("status", "--porcelain", "--untracked-files=no")
    changed = git(*tracked, ":(exclude)*.json", ":(exclude)paper/*")  # what benchmarks write
    return machine, (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()
