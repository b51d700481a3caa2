"""`make demo`: AMAGAIL learns three agents' policies and rewards from recorded expert episodes.

Trains on the bundled demonstrations of stochastic cooperative navigation, shows the progress, and
writes to demo_results/: a table, results.json, a learning curve, a GIF of the learned policies, the
policies, the reward functions and a checkpoint.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from rllib_amagail import AMAGAIL, AMAGAILConfig
from rllib_amagail.algorithm.export import export_learned
from rllib_amagail.algorithm.policies import policies_of
from rllib_amagail.evaluation import Policy, play_episodes, random_policy
from rllib_amagail.games import NULL_ACTION, NUM_ACTIONS, make_game
from rllib_amagail.games.reference_scores import reference_scores
from rllib_amagail.games.rendering import render_world
from rllib_amagail.local_ray import start_local_ray

matplotlib.use("Agg")
import matplotlib.pyplot as plt

GAME = "stochastic_cooperative_navigation"
FROM_SCRATCH = "AMAGAIL (from scratch)"
console = Console()


def demo_config(demonstrations: int, seed: int, phi: str = "filtered") -> AMAGAILConfig:
    """AMAGAIL with its default settings; `phi` tells it from the paper's baselines."""
    return (
        AMAGAILConfig()
        .environment(GAME)
        .imitation(num_demonstrations=demonstrations, phi=phi)
        .debugging(seed=seed, log_level="ERROR")
    )


def from_scratch_config(demonstrations: int, seed: int, iterations: int) -> AMAGAILConfig:
    """No behaviour cloning at all: adversarial learning does everything."""
    config = demo_config(demonstrations, seed).imitation(bc_steps=0, value_only_iterations=0)
    rounds = iterations * config.train_batch_size_per_learner
    return config.training(lr=[[0, 2e-3], [rounds, 1e-4]])


def true_scores(policies: dict[str, Policy], episodes: int, seed: int) -> np.ndarray:
    """``[E]`` true scores: returns averaged over agents."""
    returns = play_episodes(GAME, policies, episodes, seed=10_000 + seed).returns()
    return np.mean(list(returns.values()), axis=0)


def clone(demonstrations: int, seed: int, phi: str) -> tuple[AMAGAIL, float]:
    """An algorithm after behaviour cloning, and the seconds that took."""
    algorithm = demo_config(demonstrations, seed, phi).build_algo()
    began = time.monotonic()
    algorithm.clone_behaviour()
    return algorithm, time.monotonic() - began


def train(algorithm: AMAGAIL, iterations: int, method: str) -> tuple[list[dict[str, float]], float]:
    """Train with a live display; the learning curve and the seconds."""
    curve: list[dict[str, float]] = []
    columns = (
        TextColumn(f"[bold]{method}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} iterations"),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    began = time.monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("train", total=iterations, state="")
        for iteration in range(iterations):
            point = learning_point(algorithm.train(), time.monotonic() - began)
            curve.append(point)
            state = (
                f"{point['rounds']:>7,.0f} rounds  score {point['score']:6.1f}  "
                f"normalised {point['normalised']:.3f}  D {point['discriminator_accuracy']:.2f}"
            )
            progress.update(task, advance=1, state=state)
            if not console.is_terminal and (iteration + 1) % 10 == 0:
                console.print(f"{method}: {iteration + 1:>3}/{iterations}  {state}", soft_wrap=True)
    return curve, time.monotonic() - began


def learning_point(result: dict[str, Any], seconds: float) -> dict[str, float]:
    """What the curve shows of one iteration."""
    learned = [r for m, r in result["learners"].items() if "accuracy_policy_rows" in r]
    accuracies = [[r["accuracy_expert_rows"], r["accuracy_policy_rows"]] for r in learned]
    return {
        "rounds": float(result["env_runners"]["num_env_steps_sampled_lifetime"]),
        "seconds": seconds,
        "score": float(result["score"]),
        "normalised": float(result["normalised_score"]),
        "discriminator_accuracy": float(np.mean(accuracies)),
    }


def draw_curve(
    curves: dict[str, list[dict[str, float]]], rows: list[dict[str, Any]], path: Path
) -> None:
    """Normalised score against rounds, with the other methods as lines."""
    figure, axes = plt.subplots(figsize=(7, 4.2), dpi=150)
    for (method, curve), colour in zip(curves.items(), ("tab:red", "tab:blue"), strict=True):
        rounds = [point["rounds"] for point in curve]
        axes.plot(rounds, [p["normalised"] for p in curve], color=colour, lw=2, label=method)
    right = max(point["rounds"] for curve in curves.values() for point in curve)
    styles = {"random": "-.", "BC (phi an action)": ":", "expert": "--"}
    for row in rows:
        if row["method"] in styles:
            level = row["normalised"]
            axes.axhline(level, color="0.45", ls=styles[row["method"]], lw=1.2)
            axes.annotate(row["method"], (right, level), fontsize=8, va="bottom", ha="right")
    axes.set(xlabel="rounds played", ylabel="normalised true score", title=GAME.replace("_", " "))
    axes.legend(loc="center right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def draw_gif(policies: dict[str, Policy], seed: int, path: Path, episodes: int = 2) -> None:
    """A few episodes of the learned policies; who participates is drawn bright."""
    rng = np.random.default_rng(seed)
    frames = []
    for episode in range(episodes):
        game = make_game(GAME, seed=20_000 + seed + episode)
        while not game.ended[0]:
            frames.append(Image.fromarray(render_world(game)))
            seen = game.observations()
            chosen = np.stack([policies[agent](seen[agent], rng) for agent in game.agents], axis=1)
            game.step(np.where(chosen < NUM_ACTIONS, chosen, NULL_ACTION))
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, loop=0)


def show(rows: list[dict[str, Any]]) -> None:
    """The table on the screen."""
    table = Table(title=f"{GAME}, true score over {rows[0]['episodes']} episodes")
    for name, justify in (
        ("method", "left"),
        ("true score", "right"),
        ("normalised", "right"),
        ("seconds", "right"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(
            row["method"],
            f"{row['score']:.2f} ± {row['std']:.2f}",
            f"{row['normalised']:.3f}",
            f"{row['seconds']:.1f}",
        )
    console.print(table)


def run(iterations: int, demonstrations: int, episodes: int, seed: int, output: Path) -> None:
    """The whole demo."""
    scale = reference_scores(GAME)
    assert scale is not None, "the package ships the scale of its games"
    output.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []

    def add_row(method: str, scores: np.ndarray, seconds: float) -> None:
        rows.append(
            {
                "method": method,
                "score": float(scores.mean()),
                "std": float(scores.std()),
                "normalised": float(scale.normalised(scores.mean())),
                "seconds": round(seconds, 1),
                "episodes": len(scores),
                "demonstrations": demonstrations,
                "seed": seed,
            }
        )
        # Written as it goes: an interrupted demo keeps the rows it has.
        (output / "results.json").write_text(json.dumps(rows, indent=1) + "\n")

    agents = make_game(GAME).agents
    add_row("random", true_scores(dict.fromkeys(agents, random_policy), episodes, seed), 0.0)
    console.print(f"Cloning {demonstrations} demonstrations, phi as an ordinary action ...")
    baseline, seconds = clone(demonstrations, seed, "chosen")
    add_row("BC (phi an action)", true_scores(policies_of(baseline), episodes, seed), seconds)
    baseline.stop()
    console.print("Cloning them again, phi filtered out; then adversarial learning from there ...")
    algorithm, bc_seconds = clone(demonstrations, seed, "filtered")
    add_row("BC (phi filtered)", true_scores(policies_of(algorithm), episodes, seed), bc_seconds)
    curves = {}
    curves["AMAGAIL"], seconds = train(algorithm, max(1, iterations // 4), "AMAGAIL")
    policies = policies_of(algorithm)
    add_row("AMAGAIL", true_scores(policies, episodes, seed), bc_seconds + seconds)
    console.print("And from scratch, without any cloning ...")
    beginner = from_scratch_config(demonstrations, seed, iterations).build_algo()
    curves[FROM_SCRATCH], seconds = train(beginner, iterations, FROM_SCRATCH)
    add_row(FROM_SCRATCH, true_scores(policies_of(beginner), episodes, seed), seconds)
    beginner.stop()
    recorded = algorithm.config.load_demonstrations().scores()
    add_row("expert", recorded, 0.0)
    (output / "learning_curves.json").write_text(json.dumps(curves, indent=1) + "\n")
    draw_curve(curves, rows, output / "learning_curve.png")
    draw_gif(policies, seed, output / "learned_policies.gif")
    export_learned(algorithm, output)
    algorithm.save_to_path(str((output / "checkpoint").resolve()))
    algorithm.stop()
    show(rows)
    console.print(f"Everything is in {output}/; look at learned_policies.gif first.")


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=100, help="of the run from scratch")
    parser.add_argument("--demonstrations", type=int, default=200)
    parser.add_argument("--episodes", type=int, default=1000, help="episodes of evaluation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("demo_results"))
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    start_local_ray(log_to_driver=False)
    run(chosen.iterations, chosen.demonstrations, chosen.episodes, chosen.seed, chosen.output)


if __name__ == "__main__":
    main()
