"""Training from demonstrations that are streamed, against the same held in memory.

    python benchmarks/streaming.py                          # 10^5, 10^6 and 10^7 rows
    python benchmarks/streaming.py --rows 100000 --iterations 20 --output /tmp/look

For every size two processes train on the same files: one holds them, the other streams them in
windows of `--memory` bytes in all. They take turns of a few iterations each, so that both meet the
same noise; peak memory is each process's own. Writes streaming.json and streaming.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe_machine
from rich.progress import Progress
from throughput_memory import peak_megabytes

from rllib_amagail import AMAGAILConfig
from rllib_amagail.cli.session import ray_session
from rllib_amagail.demonstrations import Catalogue
from rllib_amagail.experts import expert_demonstrations

ROOT = Path(__file__).parent.parent
GAME = "stochastic_cooperative_navigation"
PART_EPISODES = 500
TURN = 5  # iterations before the other process has its turn
HELD = 2**40  # bytes; more than there are


def record(folder: Path, rows: int, progress: Progress) -> None:
    """At least ``rows`` rows of the game's experts, in parts."""
    task = progress.add_task(f"recording {rows:.0e} rows", total=rows)
    number = recorded = 0
    while recorded < rows:
        part = expert_demonstrations(GAME, PART_EPISODES, seed=number)
        part.save(folder / f"part-{number:05}.parquet")
        recorded += sum(map(len, part.records.values()))
        number += 1
        progress.update(task, completed=recorded)


def serve(folder: Path, memory: int) -> None:
    """Train; for each line of input run so many iterations, then tell seconds and memory."""
    torch.set_num_threads(1)
    with ray_session():
        before = peak_megabytes()
        config = AMAGAILConfig().environment(GAME).debugging(seed=0, log_level="ERROR")
        config.imitation(demonstrations=str(folder), bc_steps=0)
        config.streaming(demonstrations_memory=memory)
        began = time.monotonic()
        algorithm = config.build_algo()
        algorithm.train()
        _tell({"first": time.monotonic() - began})
        for line in sys.stdin:
            began = time.monotonic()
            for _ in range(int(line)):
                algorithm.train()
            passed = time.monotonic() - began
            state = algorithm.learner_group._learner.get_state()["imitation"]["demonstrations"][0]
            _tell(
                {
                    "seconds": passed,
                    "imports": before,
                    "peak": peak_megabytes(),
                    "position": [state.get("pass", 0), state.get("window", 0)],
                }
            )
        algorithm.stop()


def _tell(message: dict[str, Any]) -> None:
    print("@" + json.dumps(message), flush=True)


class Trainer:
    """A process that trains on request."""

    def __init__(self, folder: Path, memory: int) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, closed with the process
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(folder), "--memory", str(memory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.first = self._answer()["first"]

    def train(self, iterations: int) -> dict[str, Any]:
        """What the process said after so many iterations."""
        assert self._process.stdin is not None
        print(iterations, file=self._process.stdin, flush=True)
        return self._answer()

    def stop(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._errors.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("@"):
                return json.loads(line[1:])
        self._errors.seek(0)
        raise SystemExit(f"a training process ended: {self._errors.read()[-2000:]}")


def compare(rows: int, memory: int, iterations: int) -> dict[str, Any]:
    """The figures of one size."""
    with tempfile.TemporaryDirectory() as name, Progress(transient=True) as progress:
        folder = Path(name)
        record(folder, rows, progress)
        catalogue = Catalogue.read(folder)
        trainers = {"held": Trainer(folder, HELD), "streamed": Trainer(folder, memory)}
        task = progress.add_task(f"training on {rows:.0e} rows", total=iterations)
        seconds: dict[str, list[float]] = {name: [] for name in trainers}
        last: dict[str, dict[str, Any]] = {}
        for _ in range(iterations // TURN):
            for kind, trainer in trainers.items():
                last[kind] = trainer.train(TURN)
                seconds[kind].append(last[kind]["seconds"])
            progress.advance(task, TURN)
        for trainer in trainers.values():
            trainer.stop()
        return {
            "rows": rows,
            "megabytes": round(catalogue.num_bytes / 2**20),
            "files": len(catalogue.parts),
            "iterations": iterations,
            "position": last["streamed"]["position"],
            "first": {kind: round(trainer.first, 2) for kind, trainer in trainers.items()},
            "seconds": {kind: round(sum(found), 2) for kind, found in seconds.items()},
            "ratio": round(sum(seconds["streamed"]) / sum(seconds["held"]), 3),
            "median_ratio": round(
                float(np.median(np.divide(seconds["streamed"], seconds["held"]))), 3
            ),
            "training_memory": {
                kind: round(found["peak"] - found["imports"]) for kind, found in last.items()
            },
        }


def summarise(results: dict[str, Any]) -> str:
    """The figures in Markdown."""
    lines = [
        "# Demonstrations streamed and held",
        "",
        f"{GAME.replace('_', ' ').capitalize()}, one learner, demonstrations_memory "
        f"{results['memory'] / 2**20:.0f} MB. {results['machine']}; commit {results['commit']}. "
        "Made by `python benchmarks/streaming.py`.",
        "",
        f"Time is streamed over held, of {results['iterations']} iterations (in brackets: the "
        f"median over turns of {TURN}); the streamed process changed its window as often as the "
        "position says. Memory is a process's peak beyond its imports.",
        "",
        "| rows | on disk decoded, MB | files | time, streamed / held | pass, window at the end "
        "| memory held, MB | memory streamed, MB | first iteration, s (held, streamed) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for run in results["runs"].values():
        memory, first = run["training_memory"], run["first"]
        position = ", ".join(map(str, run["position"]))
        lines.append(
            f"| {run['rows']:,} | {run['megabytes']} | {run['files']} | {run['ratio']:.2f} "
            f"({run['median_ratio']:.2f}) | {position} | {memory['held']} | {memory['streamed']} "
            f"| {first['held']:.1f}, {first['streamed']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Compare all sizes that are missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10**5, 10**6, 10**7])
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--memory", type=int, default=64 * 2**20, help="bytes to stream with")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve is not None:
        serve(chosen.serve, chosen.memory)
        return
    machine, commit = describe_machine()
    results: dict[str, Any] = {
        "machine": machine,
        "commit": commit,
        "memory": chosen.memory,
        "iterations": chosen.iterations,
        "runs": {},
    }
    chosen.output.mkdir(parents=True, exist_ok=True)
    for rows in chosen.rows:
        results["runs"][str(rows)] = compare(rows, chosen.memory, chosen.iterations)
        (chosen.output / "streaming.json").write_text(json.dumps(results, indent=1) + "\n")
        (chosen.output / "streaming.md").write_text(summarise(results))
    print(summarise(results))


if __name__ == "__main__":
    main()
