"""How training scales with runners and learners: measured as far as it goes, then simulated.

    python benchmarks/scaling.py            # some minutes
    python benchmarks/scaling.py --quick    # two minutes

Writes scaling.json and scaling.md, with --quick scaling_quick.json and .md.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe_machine
from ray.rllib.algorithms.algorithm import Algorithm
from scaling_model import Parts, Schedule, Setting, bytes_an_iteration, simulate
from scaling_parts import WORLDS, measure_parts
from scaling_report import to_markdown
from throughput_contenders import imitation_config

import rllib_amagail
from rllib_amagail.cli.session import ray_session

NUM_CPUS = 32  # that Ray is told of: all that is measured must fit, whatever the machine
SEED = 0
EPOCHS = 200  # simulated
# Runners, learners and batches ahead of what is measured; the first is what others compare with.
MEASURED = ((1, 0, 0), (1, 0, 1), (2, 0, 0), (2, 0, 1), (2, 2, 0), (2, 2, 1))
SIMULATED_SIZES = ((1, 1), (8, 1), (32, 2), (128, 8), (512, 32), (1000, 64))


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    repeats: int
    batch_size: int  # rounds of an iteration, of all learners together
    measured: tuple[tuple[int, int, int], ...]


FULL = Plan(repeats=5, batch_size=3200, measured=MEASURED)
QUICK = Plan(repeats=3, batch_size=800, measured=MEASURED[:2])


def measure(plan: Plan) -> dict[tuple[int, int, int], list[float]]:
    """Seconds of iterations by the clock; everybody takes turns, so that ratios mean something."""
    found: dict[tuple[int, int, int], list[float]] = {setting: [] for setting in plan.measured}
    with ExitStack() as stack:
        algorithms = {setting: _build(setting, plan, stack) for setting in plan.measured}
        for _ in range(plan.repeats):
            for setting, algorithm in algorithms.items():
                began = time.perf_counter()
                algorithm.train()
                found[setting].append(time.perf_counter() - began)
    return found


def _build(setting: tuple[int, int, int], plan: Plan, stack: ExitStack) -> Algorithm:
    runners, learners, ahead = setting
    config = imitation_config(WORLDS, plan.batch_size // max(1, learners))
    config.env_runners(num_env_runners=runners).learners(num_learners=learners)
    algorithm = config.sampling(batches_ahead=ahead).build_algo()
    stack.callback(algorithm.stop)
    for _ in range(1 + ahead):  # cloning, and the queue is filled
        algorithm.train()
    return algorithm


def simulate_sizes(parts: Parts, batch_size: int) -> list[dict[str, Any]]:
    """Weak scaling: the rounds of an iteration grow with the learners."""
    rows = []
    for runners, learners in SIMULATED_SIZES:
        for ahead, by_reference in ((0, False), (1, False), (1, True)):
            setting = Setting(runners, learners, batch_size * learners, ahead, by_reference)
            schedule = _simulate(parts, setting)
            rows.append(
                {
                    "setting": asdict(setting),
                    "schedule": asdict(schedule),
                    "rounds_a_second": setting.rounds / schedule.seconds,
                    "bytes": bytes_an_iteration(parts, setting),
                }
            )
    return rows


def _simulate(parts: Parts, setting: Setting) -> Schedule:
    return simulate(parts, setting, EPOCHS, np.random.default_rng(SEED))


def run(plan: Plan, command: str) -> Iterator[dict[str, Any]]:
    """All that the report says: first without what takes long, then whole."""
    began = time.monotonic()
    machine, commit = describe_machine()
    parts = measure_parts(plan.batch_size, max(3, plan.repeats))
    found = {
        "machine": machine,
        "commit": commit,
        "command": command,
        "seed": SEED,
        "batch_size": plan.batch_size,
        "seconds": round(time.monotonic() - began, 1),
        "parts": asdict(parts),
        "measured": [],
        "simulated": simulate_sizes(parts, plan.batch_size),
    }
    yield found
    seconds = measure(plan)
    first = seconds[plan.measured[0]]
    measured = [
        {
            "runners": setting[0],
            "learners": setting[1],
            "batches_ahead": setting[2],
            "seconds": durations,
            "ratios": [a / b for a, b in zip(durations, first, strict=True)],
        }
        for setting, durations in seconds.items()
    ]
    yield found | {"measured": measured, "seconds": round(time.monotonic() - began, 1)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, simulate, and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and smaller: two minutes")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="a folder")
    chosen = parser.parse_args(arguments)
    given = shlex.join(sys.argv[1:] if arguments is None else arguments)
    torch.set_num_threads(1)
    stem = "scaling_quick" if chosen.quick else "scaling"
    chosen.output.mkdir(parents=True, exist_ok=True)
    with ray_session(num_cpus=NUM_CPUS):
        rllib_amagail.register()
        plan = QUICK if chosen.quick else FULL
        for found in run(plan, f"python benchmarks/scaling.py {given}".strip()):
            (chosen.output / f"{stem}.json").write_text(json.dumps(found, indent=1) + "\n")
            (chosen.output / f"{stem}.md").write_text(to_markdown(found))


if __name__ == "__main__":
    main()
