"""Whatever happens to the process of a recorder, whole episodes are left, and those promised."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rllib_amagail.demonstrations import Demonstrations, DemonstrationsError, atomic_file
from tests.test_recorder import numbers, parts, record_number, recorder

ROOT = Path(__file__).parent.parent
WRITER = [sys.executable, "tests/killed_writer.py"]


def test_no_episode_is_half_or_missing_after_kills(tmp_path: Path) -> None:
    """Four writers one after the other, each killed at some moment of its work."""
    folder, first = tmp_path / "z", 0
    rng = np.random.default_rng()
    for _ in range(4):
        command = [*WRITER, str(folder), str(first), "killed"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as writer:
            assert writer.stdout is not None
            line = writer.stdout.readline()
            time.sleep(rng.uniform(0, 0.05))
            writer.send_signal(signal.SIGKILL)
            promised = max(map(int, (line + writer.stdout.read()).split()))
        found = numbers(folder)
        assert found == list(range(len(found)))
        assert len(found) > promised
        first = len(found)
    assert set(Demonstrations.load(folder).episode_lengths()) == {3}


@pytest.mark.parametrize(
    ("moment", "left"), [("write 2", [0]), ("fsync 3", [0]), ("fsync 4", [0, 1])]
)
def test_a_part_is_whole_or_not_there(tmp_path: Path, moment: str, left: list[int]) -> None:
    """Killed before anything of the second part is written, then all of it, then after its name."""
    killed = subprocess.run([*WRITER, str(tmp_path), "0", *moment.split()], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert numbers(tmp_path) == left
    with recorder(tmp_path) as writer:
        record_number(writer, len(left))
    assert numbers(tmp_path) == list(range(len(left) + 1))
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_folder_has_one_recorder_of_a_label_at_a_time(tmp_path: Path) -> None:
    writer = recorder(tmp_path)
    with pytest.raises(DemonstrationsError, match="another recorder at work"):
        recorder(tmp_path)
    recorder(tmp_path, label="w2").close()
    writer.close()
    recorder(tmp_path).close()


@pytest.mark.parametrize("broken", ["replace", "fsync"])
def test_a_crash_inside_the_writing_of_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """The part is not there, and its episodes are kept for the next attempt."""
    with recorder(tmp_path, seconds_per_part=float("inf")) as writer:
        record_number(writer, 0)
        writer.flush()
        record_number(writer, 1)

        def fail(*args: Any) -> None:
            raise OSError("disk full")

        with monkeypatch.context() as patch:
            patch.setattr(atomic_file.os, broken, fail)
            with pytest.raises(OSError, match="disk full"):
                writer.flush()
        assert numbers(tmp_path) == [0]
        record_number(writer, 2)
    assert numbers(tmp_path) == [0, 1, 2]


def test_half_written_parts_are_ignored_and_cleaned_up(tmp_path: Path) -> None:
    with recorder(tmp_path) as writer:
        record_number(writer, 0)
    own, others = (atomic_file.temporary_name(f"part-{w}00001.parquet") for w in ("", "w2-"))
    for name in (own, others, ".unrelated.tmp", "notes.txt"):
        (tmp_path / name).write_bytes(b"half")
    assert numbers(tmp_path) == [0]
    recorder(tmp_path).close()
    left = set(os.listdir(tmp_path))
    assert own not in left
    assert {others, ".unrelated.tmp", "notes.txt"} < left


def test_the_ordinary_end_of_a_process_writes_what_is_left(tmp_path: Path) -> None:
    command = [*WRITER, str(tmp_path), "7", "finished"]
    subprocess.run(command, cwd=ROOT, check=True)
    assert numbers(tmp_path) == [7, 8]
    assert len(parts(tmp_path)) == 2
