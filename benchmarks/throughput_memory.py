"""Peak memory of one training process.

In a process of its own, because memory that was used before is used again without a trace.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import ray
import torch
from throughput_contenders import imitation_config, stock_config

from rllib_amagail.cli.session import ray_session

KILOBYTES = 1024  # in a megabyte
ITERATIONS = 2


def measure(contender: str, batch_size: int, address: str) -> dict[str, float]:
    """Megabytes that this process held at most, before and with two iterations."""
    torch.set_num_threads(1)
    with ray_session(address=address):
        before = peak_megabytes()
        config = imitation_config(batch_size=batch_size)
        algorithm = (config if contender == "amagail" else stock_config()).build_algo()
        for _ in range(ITERATIONS):
            algorithm.train()
        algorithm.stop()
        return {"imports, MB": before, "peak, MB": peak_megabytes()}


def measure_elsewhere(runs: dict[str, tuple[str, int]]) -> dict[str, dict[str, float]]:
    """`measure` for several names at once, each in a new process of the Ray session that runs.

    Raises:
        RuntimeError: one failed.
    """
    address = ray.get_runtime_context().gcs_address
    processes = {
        name: subprocess.Popen(
            [sys.executable, __file__, contender, str(batch_size), address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, (contender, batch_size) in runs.items()
    }
    found = {}
    try:
        for name, process in processes.items():
            output, errors = process.communicate()
            if process.returncode:
                raise RuntimeError(f"peak memory of {name} is not known: {errors[-2000:]}")
            found[name] = json.loads(output.splitlines()[-1])
    finally:
        for process in processes.values():
            process.kill()  # does nothing to those that have ended
    return found


def peak_megabytes() -> float:
    """What this process held at most."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / KILOBYTES
    except OSError:
        pass
    # Second choice: Linux counts what the parent held when it started this process.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KILOBYTES


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), sys.argv[3])))
