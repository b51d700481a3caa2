"""Disks that are full, checkpoints that were not finished, demonstrations that are gone."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rllib_amagail import AMAGAIL, Demonstrations, DemonstrationsError
from tests.fault_toys import faulty_config
from tests.test_algorithm import small_config
from tests.test_cli import GAME, SMALL, run
from tests.toys import echo_demonstrations

pytestmark = pytest.mark.faults
ROOT = Path(__file__).parent.parent


@contextmanager
def full_disk(bytes_left: int) -> Iterator[None]:
    """No file of this process may become larger."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture(scope="module")
def algorithm(ray_session: None) -> Iterator[AMAGAIL]:
    algorithm = faulty_config().build_algo()
    yield algorithm
    algorithm.stop()


@pytest.fixture(scope="module")
def checkpoint(algorithm: AMAGAIL, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(algorithm.save_to_path(str(tmp_path_factory.mktemp("saved") / "good")))


def test_a_full_disk_leaves_the_older_checkpoint(
    algorithm: AMAGAIL, checkpoint: Path, tmp_path: Path
) -> None:
    with full_disk(2000), pytest.raises(OSError, match="cannot save to") as error:
        algorithm.save_to_path(str(tmp_path / "new"))
    line = str(error.value).splitlines()[0]
    assert f"cannot save to {tmp_path}/new: " in line
    assert line.endswith(f"The last checkpoint is {checkpoint}")
    assert not (tmp_path / "new").exists()  # no half of it
    algorithm.restore_from_path(str(checkpoint))
    algorithm.train()
    algorithm.save_to_path(str(tmp_path / "new"))
    algorithm.restore_from_path(str(tmp_path / "new"))
    algorithm.restore_from_path(str(checkpoint))


def test_a_folder_that_cannot_be_written_is_named(algorithm: AMAGAIL, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=rf"cannot save to {tmp_path}/file/new: "):
        algorithm.save_to_path(str(tmp_path / "file" / "new"))


@pytest.mark.usefixtures("ray_session")
def test_a_results_folder_that_cannot_be_written_is_named() -> None:
    Path("file").write_text("in the way")
    code, _, err = run("train", "-e", GAME, "-c", json.dumps(SMALL), "--storage-path", "file/new")
    assert code != 0
    (line,) = [line for line in err.splitlines() if line.startswith("rllib: error:")]
    assert "file/new" in line


def test_a_checkpoint_that_was_not_finished_is_refused(
    algorithm: AMAGAIL, checkpoint: Path, tmp_path: Path
) -> None:
    """As it is left by a process that is killed before it writes the last file."""
    half = shutil.copytree(checkpoint, tmp_path / "half")
    newest = max((f for f in half.iterdir() if f.is_file()), key=lambda f: f.stat().st_mtime_ns)
    newest.unlink()
    with pytest.raises(ValueError, match=rf"^{half}: .*expected a whole checkpoint.*older one"):
        AMAGAIL.from_checkpoint(str(half))


def test_a_checkpoint_that_was_cut_is_refused(
    algorithm: AMAGAIL, checkpoint: Path, tmp_path: Path
) -> None:
    half = shutil.copytree(checkpoint, tmp_path / "half")
    state = next(half.rglob("learner/state.pkl"), half / "algorithm_state.pkl")
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"^{half}: the checkpoint is damaged: "):
        algorithm.restore_from_path(str(half))
    algorithm.restore_from_path(str(checkpoint))


def save_parts(folder: Path, episodes: int = 12) -> Demonstrations:
    whole = echo_demonstrations(episodes=episodes)
    folder.mkdir()
    for part in range(episodes // 2):
        whole.select(range(2 * part, 2 * part + 2)).save(folder / f"part-{part:05}.parquet")
    return whole


@pytest.mark.usefixtures("ray_session")
def test_demonstrations_that_are_held_may_go(tmp_path: Path) -> None:
    save_parts(tmp_path / "z")
    algorithm = small_config().imitation(demonstrations=str(tmp_path / "z")).build_algo()
    saved = algorithm.save_to_path(str(tmp_path / "checkpoint"))
    shutil.rmtree(tmp_path / "z")
    algorithm.train()
    algorithm.stop()
    with pytest.raises(DemonstrationsError, match=f"^{tmp_path}/z: found no such file"):
        AMAGAIL.from_checkpoint(saved)


@pytest.mark.usefixtures("ray_session")
def test_demonstrations_that_are_streamed_may_not(tmp_path: Path) -> None:
    save_parts(tmp_path / "z")
    config = small_config().imitation(demonstrations=str(tmp_path / "z"), bc_steps=0)
    config.imitation(discriminator_batch_size=2, discriminator_steps=1)
    algorithm = config.streaming(demonstrations_memory=12_000).build_algo()
    shutil.rmtree(tmp_path / "z")
    windows = (algorithm.train() for _ in range(20))
    with pytest.raises(DemonstrationsError, match=rf"^{tmp_path}/z/part-0000\d.parquet: found no"):
        list(windows)
    algorithm.stop()


@pytest.mark.slow
def test_a_driver_that_is_killed_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    """Killed the moment that a folder of a checkpoint appears, which is before it is whole."""
    words = ["train", "-e", GAME, "-c", json.dumps(SMALL), "-s", '{"training_iteration": 40}']
    folder = tmp_path / "results"
    options = ["--storage-path", str(folder), "--experiment-name", "run", "--checkpoint-freq", "1"]
    process = _start([*words, *options])
    try:
        deadline = time.monotonic() + 600
        while len(_checkpoints(folder)) < 8:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "no checkpoints in 600 s"
            time.sleep(0.001)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    before = len(_checkpoints(folder))
    resumed = _start(["train", "--resume", str(folder / "run")])
    out, err = resumed.communicate(timeout=600)
    assert resumed.returncode == 0, err
    first = int(out.splitlines()[1].split()[0])
    assert 1 < first <= before + 1
    assert out.splitlines()[-1].startswith("Evaluate with:")


def _checkpoints(folder: Path) -> list[Path]:
    return list(folder.glob("run/*/checkpoint_*"))


def _start(words: list[str]) -> subprocess.Popen[str]:
    script = "import sys; from rllib_amagail.cli.main import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", script, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
