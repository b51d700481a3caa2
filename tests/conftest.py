"""One Ray session for all tests, in a home folder of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Before ray is imported: it writes an authentication token below HOME.
_HOME = tempfile.TemporaryDirectory(prefix="rllib_amagail_home_")
os.environ["HOME"] = _HOME.name
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest
import ray
import torch

# Machines may be busy, and tests say nothing about time.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """A local Ray that pretends to four cores, so that remote runners and learners fit."""
    import rllib_amagail
    from rllib_amagail.local_ray import start_local_ray

    start_local_ray(num_cpus=4, log_to_driver=False)
    rllib_amagail.register()
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def _working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing a test writes lands in the project."""
    monkeypatch.chdir(tmp_path)
