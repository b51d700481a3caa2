"""The demo over several seeds: what `make demo` promises, with its spread.

    python benchmarks/demo_seeds.py            # seeds 0 to 4, about seven minutes
    python benchmarks/demo_seeds.py --seeds 0 --iterations 4 --output /tmp/look

Writes demo_seeds.json and demo_seeds.md. A seed that is already in the JSON, of the same commit, is
not run again, so an interrupted benchmark goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine
from rich.progress import track

ROOT = Path(__file__).parent.parent


def run_demo(seed: int, iterations: int) -> list[dict[str, Any]]:
    """The rows of one demo, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "examples" / "demo.py"), "--seed", str(seed)]
        command += ["--iterations", str(iterations), "--output", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"the demo failed with seed {seed}:\n{done.stderr[-2000:]}")
        return json.loads((Path(folder) / "results.json").read_text())


def summarise(results: dict[str, Any]) -> str:
    """A table in Markdown: normalised score per method and seed."""
    runs = results["runs"]
    seeds = sorted(runs, key=int)
    first = runs[seeds[0]][0]
    lines = [
        "# The demo over seeds",
        "",
        f"Normalised true score on stochastic cooperative navigation, {first['episodes']} "
        f"evaluation episodes, {first['demonstrations']} demonstrations.",
        f"{results['machine']}; commit {results['commit']}. "
        "Made by `python benchmarks/demo_seeds.py`.",
        "",
        "| method | " + " | ".join(f"seed {s}" for s in seeds) + " | mean | seconds (median) |",
        "|---" * (len(seeds) + 3) + "|",
    ]
    for index, row in enumerate(runs[seeds[0]]):
        scores = [runs[s][index]["normalised"] for s in seeds]
        seconds = np.median([runs[s][index]["seconds"] for s in seeds])
        cells = " | ".join(f"{score:.3f}" for score in scores)
        lines.append(f"| {row['method']} | {cells} | {np.mean(scores):.3f} | {seconds:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the seeds that are missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks")
    chosen = parser.parse_args()
    machine, commit = describe_machine()
    results: dict[str, Any] = {"machine": machine, "commit": commit, "runs": {}}
    chosen.output.mkdir(parents=True, exist_ok=True)
    path = chosen.output / "demo_seeds.json"
    if path.is_file() and json.loads(path.read_text())["commit"] == commit:
        results = json.loads(path.read_text())
    for seed in track(chosen.seeds, description="seeds"):
        if str(seed) not in results["runs"]:
            results["runs"][str(seed)] = run_demo(seed, chosen.iterations)
            path.write_text(json.dumps(results, indent=1) + "\n")
    (chosen.output / "demo_seeds.md").write_text(summarise(results))
    print(summarise(results))


if __name__ == "__main__":
    main()
