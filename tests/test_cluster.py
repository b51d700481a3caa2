"""Training on several nodes: where processes run, and what happens when nodes come and go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.fixture(scope="module")
def found() -> Iterator[dict[str, Any]]:
    """What tests/cluster_scenario.py found, in a session and a home of its own."""
    with tempfile.TemporaryDirectory(prefix="rc", dir="/tmp") as folder:  # sockets: a short name
        own = {"HOME": folder, "RAY_TMPDIR": folder, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, str(ROOT / "tests/cluster_scenario.py")],
            cwd=folder,
            env=os.environ | own,
            capture_output=True,
            text=True,
            timeout=1200,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        yield json.loads(done.stdout.splitlines()[-1])


def test_runners_and_learners_are_on_the_nodes_meant_for_them(found: dict[str, Any]) -> None:
    assert found["runners"] == [found["nodes"]["play"]] * 2
    assert found["learners"] == [found["nodes"]["learn"]] * 2


def test_all_of_them_refer_to_one_copy_of_the_demonstrations(found: dict[str, Any]) -> None:
    assert len(found["demonstrations"]) == 4
    assert len(set(found["demonstrations"])) == 1


@pytest.mark.parametrize("fault", ["after removal", "after silence"])
def test_runners_move_to_another_node(found: dict[str, Any], fault: str) -> None:
    """They do, or the scenario had ended with an error; and every round played is counted."""
    rounds = found[fault]
    assert rounds == sorted(rounds)
    assert rounds[-1] > rounds[0] or len(rounds) == 1


def test_without_its_learners_a_run_ends_and_says_why(found: dict[str, Any]) -> None:
    assert "unavailable" in found["without learners"] or "died" in found["without learners"]
