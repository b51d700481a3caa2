"""AMAGAIL with MACK, from scratch, beside a bare loop of the same arithmetic.

    python benchmarks/mack_speed.py                     # 400,000 rounds each, in turns
    python benchmarks/mack_speed.py --rounds 100000
    python benchmarks/mack_speed.py --quick             # 40,000 rounds

Both train on the bundled demonstrations of stochastic navigation, in one process and thread.
Writes mack_speed.json and mack_speed.md, with --quick mack_speed_quick.json and .md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe_machine
from mack_bare_loop import BareLoop

from rllib_amagail import AMAGAIL, AMAGAILConfig
from rllib_amagail.algorithm.policies import policies_of
from rllib_amagail.cli.session import ray_session
from rllib_amagail.evaluation import Policy, play_episodes
from rllib_amagail.games.reference_scores import reference_scores

GAME = "stochastic_cooperative_navigation"
ALGORITHM, BARE = "AMAGAIL", "bare loop"
PARTS = 8  # the two take turns: what slows the machine down slows both
EXPECTED_RATIO = 1.5


def mack_config(seed: int, rounds: int) -> AMAGAILConfig:
    """MACK's defaults from scratch; learning rates fall to a twentieth."""
    config = AMAGAILConfig().environment(GAME).debugging(seed=seed, log_level="ERROR")
    config.imitation(generator="mack", bc_steps=0, value_only_iterations=0)
    return config.training(lr=[[0, 0.3], [rounds, 0.015]])


def measure(
    contenders: dict[str, Callable[[], Any]], iterations: int
) -> dict[str, dict[str, float]]:
    """Seconds of ``iterations`` calls of each, taken in turns of an `PARTS`-th."""
    found = {name: {"seconds": 0.0, "cpu_seconds": 0.0} for name in contenders}
    for part in np.array_split(np.arange(iterations), PARTS):
        for name, iterate in contenders.items():
            began, cpu_began = time.perf_counter(), time.process_time()
            for _ in part:
                iterate()
            found[name]["seconds"] += time.perf_counter() - began
            found[name]["cpu_seconds"] += time.process_time() - cpu_began
    return found


def normalised_score(policies: dict[str, Policy], episodes: int, seed: int) -> float:
    """0 is random play, 1 the experts."""
    scale = reference_scores(GAME)
    assert scale is not None, "the package ships the scale of its games"
    returns = play_episodes(GAME, policies, episodes, seed=10_000 + seed).returns()
    return float(scale.normalised(np.mean(list(returns.values()))))


def bare_policies(loop: BareLoop) -> dict[str, Policy]:
    """Its networks as sampling policies."""

    def policy_of(net: torch.nn.Module) -> Policy:
        def act(observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            with torch.no_grad():
                logits = net(torch.from_numpy(observations)).numpy()
            return (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)

        return act

    return {agent: policy_of(loop.policies[agent].net) for agent in loop.agents}


def run(rounds: int, seed: int, episodes: int) -> dict[str, Any]:
    """Train both, then let their policies play."""
    machine, commit = describe_machine()
    config = mack_config(seed, rounds)
    algorithm: AMAGAIL = config.build_algo()
    constant = mack_config(seed, rounds).training(lr=0.3)
    constant.validate()
    loop = BareLoop(GAME, constant, config.load_demonstrations(), seed)
    contenders = {ALGORITHM: algorithm.train, BARE: loop.iterate}
    for iterate in contenders.values():
        iterate()  # what is done once is not measured
    iterations = rounds // config.train_batch_size_per_learner
    rows = measure(contenders, iterations)
    rows[ALGORITHM]["normalised"] = normalised_score(policies_of(algorithm), episodes, seed)
    rows[BARE]["normalised"] = normalised_score(bare_policies(loop), episodes, seed)
    algorithm.stop()
    ratios = {
        column: rows[ALGORITHM][column] / rows[BARE][column]
        for column in ("seconds", "cpu_seconds")
    }
    return {
        "machine": machine,
        "commit": commit,
        "rounds": iterations * config.train_batch_size_per_learner,
        "seed": seed,
        "episodes": episodes,
        "rows": rows,
        "ratios": ratios,
    }


def to_markdown(report: dict[str, Any]) -> str:
    """The result as a page."""
    ratio = report["ratios"]["seconds"]
    lines = [
        "# Speed of AMAGAIL with MACK",
        "",
        f"{report['rounds']:,} rounds of {GAME} from scratch, 200 demonstrations, seed "
        f"{report['seed']}; `python benchmarks/mack_speed.py` at commit {report['commit']}.",
        f"{report['machine']}. The two took turns.",
        "",
        f"AMAGAIL : bare loop = {ratio:.2f} by the clock, "
        f"{report['ratios']['cpu_seconds']:.2f} of CPU; expected <= {EXPECTED_RATIO}: "
        f"{'yes' if ratio <= EXPECTED_RATIO else 'no'}.",
        "",
        f"| | seconds | CPU seconds | normalised score, {report['episodes']:,} episodes |",
        "|---|---:|---:|---:|",
    ]
    for name, row in report["rows"].items():
        cells = f"{row['seconds']:.1f} | {row['cpu_seconds']:.1f} | {row['normalised']:.3f}"
        lines.append(f"| {name} | {cells} |")
    note = "The bare loop keeps its learning rate, AMAGAIL's falls to a twentieth."
    return "\n".join([*lines, "", note, ""])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write the files, show the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=400_000)
    parser.add_argument("--quick", action="store_true", help="40,000 rounds, 100 episodes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="a folder")
    chosen = parser.parse_args(arguments)
    rounds, episodes = (40_000, 100) if chosen.quick else (chosen.rounds, 1000)
    torch.set_num_threads(1)
    with ray_session(num_cpus=2):
        report = run(rounds, chosen.seed, episodes)
    stem = "mack_speed_quick" if chosen.quick else "mack_speed"
    chosen.output.mkdir(parents=True, exist_ok=True)
    (chosen.output / f"{stem}.json").write_text(json.dumps(report, indent=1) + "\n")
    page = to_markdown(report)
    (chosen.output / f"{stem}.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
