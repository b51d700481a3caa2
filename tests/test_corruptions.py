"""Damaged files are refused, or read as they were; never as something else."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))  # scripts, in no package
from corruptions import FAILED, FORMATS, Format, damage, outcome

CASES = 300


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
def test_damage_is_refused_or_harmless(kind: Format, tmp_path: Path) -> None:
    files = {path: path.read_bytes() for path in kind.write(tmp_path)}
    original = kind.read(tmp_path)
    found = [outcome(kind, original, number, files) for number in range(CASES)]
    assert [word for word in found if word.startswith(FAILED)] == []
    assert "refused" in found


def test_every_kind_of_damage_changes_something() -> None:
    content = bytes(range(256)) * 4
    damaged = [damage(content, np.random.default_rng(seed)) for seed in range(200)]
    assert sum(found != content for found in damaged) > 190
    assert len({len(found) for found in damaged}) > 20  # cut, moved and lost, not only overwritten


def test_an_outcome_can_be_a_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    careless = Format(
        "careless", lambda folder: [], lambda folder: (folder / "file").read_bytes(), True
    )
    files = {tmp_path / "file": b"0123456789"}
    words = {outcome(careless, b"0123456789", number, files) for number in range(20)}
    assert f"{FAILED}: other contents" in words
