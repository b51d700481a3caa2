"""Discriminator structures beside each other, on small games that each suit one of them.

    python benchmarks/structures.py                  # what is missing; half an hour in all
    python benchmarks/structures.py --max-minutes 5  # begin no run after 5 minutes
    python benchmarks/structures.py --report-only    # write structures.md from what is there
    python benchmarks/structures.py --quick          # a small version, for a look; 2 minutes

Every finished run is a line of structures.jsonl; the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe_machine
from paper_results import JsonLines, Line, finished
from paper_study import MISSING, markdown_table
from ray import tune
from ray.rllib.core.columns import Columns
from rich.console import Console
from structure_games import WORLDS, Pursuit, experts_play, make_small_game, pursuit_equilibrium

from rllib_amagail import AMAGAIL, AMAGAILConfig
from rllib_amagail.algorithm.config import own_policy
from rllib_amagail.algorithm.policies import sampling_policy
from rllib_amagail.equilibrium import subgame_perfection
from rllib_amagail.evaluation import Policy, random_policy
from rllib_amagail.local_ray import start_local_ray

BENCHMARKS = Path(__file__).parent
STRUCTURES = ("decentralised", "centralised", "zero_sum")
SEEDS = range(3)
NUM_WORLDS = 64  # and episodes an iteration
EVALUATED = 1000  # episodes
SHARED: Mapping[str, Any] = {
    "bc_steps": 0,
    "value_only_iterations": 0,
    "discriminator_hiddens": [64],
    "discriminator_lr": 3e-3,
}


@dataclass(frozen=True)
class Task:
    """A game and what is demonstrated of it.

    Attributes:
        title: of its line in the table.
        game: one of `WORLDS`.
        episodes: demonstrated.
        iterations: of training.
        reward_form: of the discriminators. Those of two sides need one that has a sign.
        imitation: settings besides `SHARED`.
        suits: the structure whose game it is.
        alone: the only agent that is recorded and imitated, in games against players who do
            anything; None for all, in games among experts.
    """

    title: str
    game: str
    episodes: int
    iterations: int
    reward_form: str
    suits: str
    imitation: Mapping[str, Any]
    alone: str | None = None


TASKS = (
    Task(
        "speaker and listener, observed",
        "speaker and listener",
        200,
        80,
        "airl",
        "centralised",
        {"discriminator_inputs": "state"},
    ),
    Task("pursuit", "pursuit", 10, 100, "airl", "zero_sum", {}),
    Task("pursuit", "pursuit", 100, 100, "airl", "zero_sum", {}),
    Task("pursuit that ends", "pursuit to the capture", 50, 100, "magail", "zero_sum", {}),
    Task("pursuit that ends", "pursuit to the capture", 50, 100, "gail", "zero_sum", {}),
    Task("pursuer alone", "pursuit", 5, 100, "airl", "zero_sum", {}, "agent_0"),
    Task("pursuer alone", "pursuit", 50, 100, "airl", "zero_sum", {}, "agent_0"),
    Task("evader alone", "pursuit", 50, 100, "airl", "zero_sum", {}, "agent_1"),
    Task("private goals", "private goals", 5, 80, "airl", "decentralised", {}),
)
QUICK_ITERATIONS = 15
REWARDS = {"gail": "-log D", "airl": "logit", "magail": "2 sigmoid - 1"}


@dataclass(frozen=True)
class Run:
    """A cell: what its line in the results is of."""

    game: str
    episodes: int
    reward_form: str
    structure: str
    seed: int
    alone: str | None = None

    def to_dict(self) -> dict[str, str | int]:
        """The fields by name."""
        return asdict(self)


def wanted_runs(quick: bool) -> list[Run]:
    """Seeds outermost."""
    return [
        Run(task.game, task.episodes, task.reward_form, structure, seed, task.alone)
        for seed in (SEEDS[:1] if quick else SEEDS)
        for task in TASKS
        for structure in STRUCTURES
        if structure != "zero_sum" or _has_two_sides(task)
    ]


def settings_of(run: Run, quick: bool) -> dict[str, Any]:
    """All that a line depends on besides its cell."""
    task = _task(run)
    roles = {"imitated_agents": [run.alone]} if run.alone else {}
    return {
        "iterations": QUICK_ITERATIONS if quick else task.iterations,
        "imitation": {**SHARED, "reward_form": task.reward_form, **task.imitation},
        **({"roles": roles} if roles else {}),
        "worlds": NUM_WORLDS,
        "evaluated": EVALUATED,
        "lr": 3e-3,
        "gamma": 0.9,
        "minibatch_size": 256,
        "hiddens": [64],
    }


def config_of(run: Run, settings: Mapping[str, Any]) -> AMAGAILConfig:
    """From scratch, on whole episodes."""
    experts = (run.alone,) if run.alone else None
    demonstrations, _ = experts_play(run.game, run.episodes, seed=100 + run.seed, experts=experts)
    if settings["imitation"].get("discriminator_inputs") == "state":
        demonstrations = demonstrations.without_actions()
    rounds = settings["worlds"] * WORLDS[run.game].horizon
    config = AMAGAILConfig()
    if run.alone and run.structure == "decentralised":  # nobody would reward the other policy
        config.multi_agent(
            policies=set(WORLDS[run.game].agents),
            policy_mapping_fn=own_policy,
            policies_to_train=[run.alone],
        )
    return (
        config.environment("small_game", env_config={"game": run.game})
        .env_runners(num_envs_per_env_runner=settings["worlds"], batch_mode="complete_episodes")
        .training(
            train_batch_size_per_learner=rounds,
            minibatch_size=settings["minibatch_size"],
            lr=settings["lr"],
            gamma=settings["gamma"],
        )
        .rl_module(
            model_config={
                "fcnet_hiddens": settings["hiddens"],
                "fcnet_activation": "tanh",
                "vf_share_layers": False,
            }
        )
        .imitation(
            demonstrations=demonstrations,
            discriminator_structure=run.structure,
            **settings["imitation"],
        )
        .roles(**settings.get("roles", {}))
        .debugging(seed=run.seed, log_level="ERROR")
    )


def finish(run: Run, settings: Mapping[str, Any]) -> Line:
    """Train and measure."""
    started = time.perf_counter()
    algorithm = config_of(run, settings).build_algo()
    try:
        for _ in range(settings["iterations"]):
            algorithm.train()
        score = measured(run.game, algorithm, settings["evaluated"])
    finally:
        algorithm.stop()
    machine, commit = describe_machine()
    return {
        **run.to_dict(),
        "settings": dict(settings),
        "score": score,
        "seconds": round(time.perf_counter() - started, 1),
        "machine": machine,
        "commit": commit,
    }


def measured(game: str, algorithm: AMAGAIL, episodes: int) -> float:
    """The mean return of an agent; of pursuit how much a deviation gains, over all subgames."""
    modules = {agent: algorithm.get_module(agent) for agent in WORLDS[game].agents}
    if not issubclass(WORLDS[game], Pursuit):
        return mean_return(game, {a: sampling_policy(m) for a, m in modules.items()}, episodes)
    states = torch.eye(Pursuit.game.num_states)
    logits = [
        module.forward_inference({Columns.OBS: states})[Columns.ACTION_DIST_INPUTS].detach()
        for module in modules.values()
    ]
    return mean_gain([torch.softmax(rows.double(), dim=1).numpy() for rows in logits])


def mean_gain(policies: Sequence[np.ndarray]) -> float:
    """What the best deviation of one agent gains in pursuit: mean over agents and subgames."""
    path = pursuit_equilibrium()
    return float(subgame_perfection(Pursuit.game, policies, path_of=path).everywhere.mean)


def mean_return(game: str, policies: Mapping[str, Policy], episodes: int) -> float:
    """Of an agent, over episodes that are the same for all."""
    worlds = WORLDS[game](episodes, seed=7)
    rng = np.random.default_rng(8)
    worlds.reset()
    total = 0.0
    for _ in range(worlds.horizon):
        seen = worlds.observations()
        actions = [policies[agent](seen[agent], rng) for agent in worlds.agents]
        total += float(worlds.step(np.stack(actions, axis=1)).rewards.mean())
    return total


@cache
def references(game: str, episodes: int) -> tuple[float, float]:
    """What experts and random players have."""
    if issubclass(WORLDS[game], Pursuit):
        experts = pursuit_equilibrium()
        return mean_gain(experts), mean_gain([np.full_like(p, 1 / p.shape[1]) for p in experts])
    _, expert = experts_play(game, episodes, seed=7)
    counts = {agent: int(space.n) for agent, space in WORLDS[game].action_spaces.items()}
    at_random: dict[str, Policy] = {
        agent: lambda seen, rng, count=count: random_policy(seen, rng) % count
        for agent, count in counts.items()
    }
    return expert, mean_return(game, at_random, episodes)


def page(lines: Mapping[Run, Line], total: int) -> str:
    """The text of structures.md."""
    rows = [["", "reward", *STRUCTURES, "experts", "random"]]
    for task in TASKS:
        cells = []
        for structure in STRUCTURES:
            runs = [
                line["score"]
                for run, line in lines.items()
                if _task(run) == task and run.structure == structure
            ]
            text = _mean_and_runs(runs)
            cells.append(f"**{text}**" if runs and structure == task.suits else text)
        known = (f"{value:.2f}" for value in references(task.game, EVALUATED))
        name = f"{task.title}, {task.episodes} episodes"
        rows.append([name, REWARDS[task.reward_form], *cells, *known])
    origins = [sorted({line[key] for line in lines.values()}) for key in ("machine", "commit")]
    machines, commits = (", ".join(origin) or MISSING for origin in origins)
    return f"""# Discriminator structures

From scratch, without cloning. Mean over seeds (and the runs); bold is the structure that was to
win. In speaker and listener and in private goals the return of an agent; more is better. In pursuit
what the best deviation of one agent gains, mean over agents and subgames, exactly; less is better.
"Alone": only this side is recorded, in games against random players, and imitated. The other side
has no reward if decentralised, and stays as it was drawn.

{markdown_table(rows)}
{len(lines)} of {total} runs are there. Made by `python benchmarks/structures.py`.
Machine: {machines}. Commits: {commits}.
Runs: [structures.jsonl](structures.jsonl). What they say is in
[docs/discriminators.md](../docs/discriminators.md).
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--max-minutes", type=float, help="begin no run after so long")
    parser.add_argument("--output", type=Path, help="folder; default benchmarks")
    parser.add_argument("--quick", action="store_true", help="a small version, for a look")
    parser.add_argument("--report-only", action="store_true", help="run nothing")
    chosen = parser.parse_args(arguments)
    folder = chosen.output or (BENCHMARKS / "structures_work" if chosen.quick else BENCHMARKS)
    results, console = JsonLines(folder / "structures.jsonl"), Console()
    wanted = wanted_runs(chosen.quick)

    def there() -> dict[Run, Line]:
        return finished(results.read(), wanted, lambda run: settings_of(run, chosen.quick))

    missing = [] if chosen.report_only else [run for run in wanted if run not in there()]
    started = time.perf_counter()
    if missing:
        start_local_ray(num_cpus=1, log_to_driver=False)
        tune.register_env("small_game", make_small_game)
    for run in missing:
        if chosen.max_minutes and time.perf_counter() - started > 60 * chosen.max_minutes:
            break
        line = finish(run, settings_of(run, chosen.quick))
        results.append(line)
        console.print(f"{run}: {line['score']:.3f} in {line['seconds']:.0f} s", soft_wrap=True)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "structures.md"
    path.write_text(page(there(), len(wanted)))
    console.print(f"Report: {path}", soft_wrap=True)


def _task(run: Run) -> Task:
    wanted = (run.game, run.episodes, run.reward_form, run.alone)
    return next(t for t in TASKS if (t.game, t.episodes, t.reward_form, t.alone) == wanted)


def _has_two_sides(task: Task) -> bool:
    return len(WORLDS[task.game].agents) == 2 and task.reward_form != "gail"


def _mean_and_runs(values: Sequence[float]) -> str:
    if not values:
        return MISSING
    return f"{np.mean(values):.2f} ({', '.join(f'{value:.2f}' for value in values)})"


if __name__ == "__main__":
    main()
