"""Training under random SIGKILLs of env runners and drivers: what is lost, and what grows.

    python benchmarks/soak.py            # 10 minutes
    python benchmarks/soak.py --quick    # 2 minutes; writes nothing into this folder

A run of small iterations (`soak_trainer.py`) is watched. At random moments one of its env runners
is killed, or its driver, which then goes on from its newest checkpoint in a new process. Writes
reliability.json and reliability.md.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine
from soak_processes import descendants, title, wait_until_gone
from soak_report import summarise, write_report

HERE = Path(__file__).parent
PATIENCE = 300.0  # seconds without an iteration: the run hangs


class Trainer:
    """A `soak_trainer.py` and what it has told."""

    def __init__(self, folder: Path) -> None:
        self.lines: queue.Queue[dict[str, Any]] = queue.Queue()
        self._errors = (folder / "errors.txt").open("a")
        command = [sys.executable, str(HERE / "soak_trainer.py"), str(folder)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._errors, text=True, start_new_session=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                self.lines.put(json.loads(line))

    def kill(self) -> None:
        """SIGKILL the driver alone, and wait until Ray has taken down all that it started."""
        children = descendants(self.process.pid)
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for pid in wait_until_gone(children, 30.0):
            os.kill(pid, signal.SIGKILL)
        self._reader.join(5)
        self._errors.close()


def soak(
    seconds: float, runner_every: float, driver_every: float, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Train and kill.

    Args:
        seconds: how long.
        runner_every: mean seconds between kills of env runners.
        driver_every: mean seconds between kills of the driver.
        rng: chooses moments and victims.

    Returns:
        Everything told and done, in order; kills are ``{"killed": name, "at": seconds}``.

    Raises:
        RuntimeError: an iteration takes longer than `PATIENCE`, or the driver ends by itself.
    """
    log: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="soak_") as name:
        folder = Path(name)
        trainer = Trainer(folder)
        end = time.time() + seconds
        next_driver = time.time() + rng.exponential(driver_every)
        next_runner = time.time() + rng.exponential(runner_every)
        pids: dict[str, int] = {}
        try:
            while time.time() < end:
                line = _next_line(trainer, folder)
                log.append(line)
                pids = {k: int(v[0]) for k, v in line.get("processes", {}).items()} or pids
                if "start" in line:
                    pids = {}
                elif time.time() > next_driver:
                    log.append({"killed": "driver", "at": time.time()})
                    trainer.kill()
                    trainer = Trainer(folder)
                    next_driver = time.time() + rng.exponential(driver_every)
                elif time.time() > next_runner and any(k.startswith("runner") for k in pids):
                    victim = str(rng.choice([k for k in pids if k.startswith("runner")]))
                    if _kill(pids.pop(victim)):
                        log.append({"killed": victim, "at": time.time()})
                    next_runner = time.time() + rng.exponential(runner_every)
        finally:
            trainer.kill()
    return log


def _next_line(trainer: Trainer, folder: Path) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and trainer.process.poll() is None:
        try:
            return trainer.lines.get(timeout=1.0)
        except queue.Empty:
            continue
    errors = (folder / "errors.txt").read_text()[-2000:]
    raise RuntimeError(f"no iteration in {PATIENCE:.0f} s, or an end; the run says: {errors}")


def _kill(pid: int) -> bool:
    """SIGKILL an env runner; False if it is gone."""
    if "EnvRunner" not in title(pid):
        return False
    os.kill(pid, signal.SIGKILL)
    return True


def main() -> None:
    """Read the command line, soak, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--quick", action="store_true", help="2 minutes, more kills")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of the report")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    seconds = 120.0 if options.quick else options.seconds
    output = Path(tempfile.gettempdir()) if options.quick else options.output
    log = soak(seconds, seconds / 10, seconds / 3, np.random.default_rng(options.seed))
    machine, commit = describe_machine()
    summary = {"machine": machine, "commit": commit, "seconds": seconds, **summarise(log)}
    (output / "reliability.json").write_text(json.dumps(summary, indent=1) + "\n")
    write_report(output / "reliability.md", summary)
    sys.stdout.write(f"{output / 'reliability.md'}\n")


if __name__ == "__main__":
    main()
