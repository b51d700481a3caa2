"""Policies that see their past, on a game in which what an agent sees now is not enough.

    python benchmarks/history.py                 # all, about twenty minutes on two cores
    python benchmarks/history.py --seeds 0       # some; those that are there are not run again
    python benchmarks/history.py --quick         # two minutes, into history_work/

Writes history.jsonl, a line a run, and history.md. A run clones the expert (BC) and goes on as
AMAGAIL from there, so both have the same demonstrations and networks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine
from paper_results import JsonLines
from rich.console import Console

from rllib_amagail import AMAGAIL, AMAGAILConfig
from rllib_amagail.envs.first_signal import FirstSignalEnv
from rllib_amagail.games.first_signal import NUM_SIGNALS, first_signal_demonstrations
from rllib_amagail.local_ray import start_local_ray

FOLDER = Path(__file__).parent
NAME = "history"
RANDOM = 1 / (NUM_SIGNALS + 1)  # share of right actions
PLAYED_EPISODES = 200
ITERATIONS, QUICK_ITERATIONS = 12, 2


@dataclass(frozen=True)
class Variant:
    """What a policy is shown of its past, and whether it keeps a state."""

    past_turns: int
    elapsed_rounds: bool
    use_lstm: bool = False


VARIANTS = {
    "memoryless": Variant(0, False),
    "elapsed rounds alone": Variant(0, True),
    "1 past turn": Variant(1, True),
    "2 past turns": Variant(2, True),
    "4 past turns": Variant(4, True),
    "4 past turns, no elapsed rounds": Variant(4, False),
    "LSTM": Variant(0, True, use_lstm=True),
    "LSTM, no elapsed rounds": Variant(0, False, use_lstm=True),
}
COUNTS, SEEDS = (10, 30), (0, 1, 2)


def make_config(variant: Variant, demonstrations: int, seed: int) -> AMAGAILConfig:
    """AMAGAIL's defaults, with batches for a small game."""
    config = AMAGAILConfig().environment(FirstSignalEnv)
    config.imitation(demonstrations=first_signal_demonstrations(demonstrations, seed=1000 + seed))
    config.history(past_turns=variant.past_turns, elapsed_rounds=variant.elapsed_rounds)
    config.training(train_batch_size_per_learner=1536, minibatch_size=256)
    config.env_runners(num_envs_per_env_runner=32, batch_mode="complete_episodes")
    model: dict[str, Any] = {"fcnet_hiddens": [64, 64]}
    if variant.use_lstm:
        model = {"fcnet_hiddens": [64], "use_lstm": True, "lstm_cell_size": 64, "max_seq_len": 12}
    return config.rl_module(model_config=model).debugging(seed=seed, log_level="ERROR")


def play(algorithm: AMAGAIL) -> float:
    """Share of right actions, 0 for random ones and 1 for the expert's."""
    right = turns = 0.0
    for episode in algorithm.env_runner.sample(num_episodes=PLAYED_EPISODES):
        agents = getattr(episode, "agent_episodes", {"": episode}).values()
        right += sum(float(agent.get_return()) for agent in agents)
        turns += sum(len(agent) for agent in agents)
    algorithm.env_runner.get_metrics()
    return (right / turns - RANDOM) / (1 - RANDOM)


def run(name: str, demonstrations: int, seed: int, iterations: int) -> dict[str, Any]:
    """The line of a run."""
    begin = time.perf_counter()
    algorithm = make_config(VARIANTS[name], demonstrations, seed).build_algo()
    try:
        algorithm.clone_behaviour()
        cloned = play(algorithm)
        for _ in range(iterations):
            algorithm.train()
        imitated = play(algorithm)
    finally:
        algorithm.stop()
    machine, commit = describe_machine()
    return {
        **_cell(name, demonstrations, seed, iterations),
        **asdict(VARIANTS[name]),
        "bc": round(cloned, 4),
        "amagail": round(imitated, 4),
        "seconds": round(time.perf_counter() - begin, 1),
        "machine": machine,
        "commit": commit,
    }


def _cell(name: str, demonstrations: int, seed: int, iterations: int) -> dict[str, Any]:
    cell = {"variant": name, "demonstrations": demonstrations, "seed": seed}
    return cell | {"iterations": iterations}


def cells(quick: bool, seeds: list[int]) -> Iterator[dict[str, Any]]:
    """What is to be run, in order."""
    iterations = QUICK_ITERATIONS if quick else ITERATIONS
    names = ("memoryless", "4 past turns", "LSTM") if quick else tuple(VARIANTS)
    for count in COUNTS[:1] if quick else COUNTS:
        for seed in seeds[:1] if quick else seeds:
            for name in names:
                yield _cell(name, count, seed, iterations)


def page(lines: list[Mapping[str, Any]]) -> str:
    """The report."""
    out = [
        "# Policies that see their past",
        "",
        "`first_signal` ([docs](../docs/history.md)): share of right actions, 0 for random ones, "
        f"1 for the expert's, in {PLAYED_EPISODES} episodes of policies that draw their actions. "
        "Mean and smallest to largest over seeds. BC is the start of the AMAGAIL run beside it, "
        f"which has {lines[0]['iterations'] if lines else 0} iterations of 1,536 rounds.",
        "",
        "| policy | demonstrations | seeds | BC | AMAGAIL |",
        "|---|---|---|---|---|",
    ]
    for count in sorted({line["demonstrations"] for line in lines}):
        for name in VARIANTS:
            of = [x for x in lines if (x["variant"], x["demonstrations"]) == (name, count)]
            if of:
                scores = " | ".join(_spread([x[key] for x in of]) for key in ("bc", "amagail"))
                out.append(f"| {name} | {count} | {len(of)} | {scores} |")
    origins = [", ".join(sorted({x[key] for x in lines})) for key in ("machine", "commit")]
    seeds = sorted({x["seed"] for x in lines})
    out += ["", f"Made by `python benchmarks/{NAME}.py`. Machine: {origins[0]}."]
    out.append(f"Commits: {origins[1]}. Seeds: {seeds}. Runs: [{NAME}.jsonl]({NAME}.jsonl).")
    return "\n".join(out) + "\n"


def _spread(scores: list[float]) -> str:
    return f"{np.mean(scores):.2f} ({min(scores):.2f} to {max(scores):.2f})"


def main(arguments: list[str] | None = None) -> None:
    """Run what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small version, for a look")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--output", type=Path, help="folder; default benchmarks")
    parser.add_argument("--report-only", action="store_true", help="run nothing")
    chosen = parser.parse_args(arguments)
    folder = chosen.output or (FOLDER / f"{NAME}_work" if chosen.quick else FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    results, console = JsonLines(folder / f"{NAME}.jsonl"), Console()
    if not chosen.report_only:
        start_local_ray(num_cpus=1, log_to_driver=False)
        there = [{k: line[k] for k in _cell("", 0, 0, 0)} for line in results.read()]
        for cell in cells(chosen.quick, chosen.seeds):
            if cell not in there:
                line = run(**{"name" if k == "variant" else k: v for k, v in cell.items()})
                results.append(line)
                told = ("variant", "demonstrations", "seed", "bc", "amagail", "seconds")
                console.print(*(line[key] for key in told))
    (folder / f"{NAME}.md").write_text(page(results.read()))


if __name__ == "__main__":
    main()
