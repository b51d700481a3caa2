"""Subgame perfection of what the algorithms on RLlib learn, on tabular games.

    python benchmarks/equilibrium_rllib.py            # 3 seeds: about ten minutes
    python benchmarks/equilibrium_rllib.py --quick    # 1 seed, 5 iterations
    python benchmarks/equilibrium_rllib.py --json FILE    # the runs, besides the tables
    python benchmarks/equilibrium_rllib.py > benchmarks/equilibrium_rllib.md

The games, experts and measures are those of `equilibrium.py`. There, methods are tables and exact
steps; here they are AMAGAIL as users run it: networks, sampled rounds, default settings.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from equilibrium import NOTE, PARTS, ROUNDS, Setting, add_gaps, gap_table, title
from gymnasium.spaces import Box, Discrete
from machine import describe_machine
from ray.rllib.core.columns import Columns

from rllib_amagail import AMAGAIL, AMAGAILConfig, Demonstrations, TurnBasedEnv
from rllib_amagail.equilibrium import (
    GAMES,
    TabularEpisodes,
    TabularGame,
    sample_episodes,
    solve_spe,
    subgame_perfection,
    with_trembles,
)
from rllib_amagail.equilibrium.parallel_env import TabularParallelEnv
from rllib_amagail.local_ray import start_local_ray
from rllib_amagail.runners.pooled_worlds import PooledEnvRunner

TREMBLES = 0.1
EPISODES = 10
BATCH = 20 * ROUNDS  # rounds an iteration
METHODS: Mapping[str, Mapping[str, Any]] = {
    "AMAGAIL": {},
    "AMAGAIL from scratch": {"bc_steps": 0, "value_only_iterations": 0, "discriminator_steps": 8},
    "MAGAIL": {"phi": "chosen", "bc_anchor": 0.0},
    "cloning, φ filtered": {"reward_source": "zero"},
    "cloning, φ an action": {"reward_source": "zero", "phi": "chosen"},
}


class TabularTurns(TurnBasedEnv):
    """A tabular game by its name and how much hands tremble in it."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        view = {"phi_is_action": config.get("phi_is_action", False)}
        game = with_trembles(GAMES[config["game"]](), config["trembles"])
        super().__init__(TabularParallelEnv(game, ROUNDS), **view)


def demonstrations_of(game: TabularGame, episodes: TabularEpisodes) -> Demonstrations:
    """The episodes as the algorithm reads them: states are one-hot rows."""
    agents = [f"agent_{index}" for index in range(game.num_agents)]
    absent = np.array(game.num_actions)
    seen = np.eye(game.num_states, dtype=np.float32)[episodes.states]
    acts = episodes.actions < absent
    return Demonstrations.from_rounds(
        agents=agents,
        observation_spaces=dict.fromkeys(agents, Box(0.0, 1.0, (game.num_states,))),
        action_spaces={
            agent: Discrete(count) for agent, count in zip(agents, game.num_actions, strict=True)
        },
        observations=dict.fromkeys(agents, seen),
        participation=acts,
        actions=np.where(acts, episodes.actions, 0),
    )


def learned(
    method: str, setting: Setting, demonstrations: Demonstrations, seed: int, iterations: int
) -> AMAGAIL:
    """The algorithm after cloning, unless it starts from scratch, and after its iterations."""
    config = (
        AMAGAILConfig()
        .environment(TabularTurns, env_config={"game": setting.game, "trembles": setting.trembles})
        .env_runners(env_runner_cls=PooledEnvRunner, num_envs_per_env_runner=20)
        .training(train_batch_size_per_learner=BATCH, lr=[[0, 1e-3], [iterations * BATCH, 5e-5]])
        .imitation(demonstrations=demonstrations, **METHODS[method])
        .debugging(seed=seed, log_level="ERROR")
    )
    algorithm = config.build_algo()
    algorithm.clone_behaviour()
    for _ in range(0 if method.startswith("cloning") else iterations):
        algorithm.train()
    return algorithm


def tables(algorithm: AMAGAIL, game: TabularGame) -> list[np.ndarray]:
    """`[S, A_i]` of each agent, as played: whoever chooses φ does its null action."""
    states = torch.eye(game.num_states)
    policies = []
    for agent, (count, null_action) in enumerate(
        zip(game.num_actions, game.null_actions, strict=True)
    ):
        module = algorithm.get_module(f"agent_{agent}")
        logits = module.forward_inference({Columns.OBS: states})[Columns.ACTION_DIST_INPUTS]
        chances = torch.softmax(logits.double(), dim=1).numpy()
        policy = chances[:, :count].copy()
        policy[:, null_action] += chances[:, count:].sum(axis=1)
        policies.append(policy)
    return policies


def measured(setting: Setting, seeds: Sequence[int], iterations: int) -> list[dict[str, Any]]:
    """One row per method: its gaps by seed, `None` where there is no such subgame."""
    game = with_trembles(GAMES[setting.game](), setting.trembles)
    spe = solve_spe(game)
    rows = []
    for method in METHODS:
        gaps: dict[str, list[float | None]] = {}
        for seed in seeds:
            rng = np.random.default_rng(seed)
            episodes = sample_episodes(game, spe, setting.episodes, ROUNDS, rng)
            recorded = demonstrations_of(game, episodes)
            algorithm = learned(method, setting, recorded, seed, iterations)
            found = subgame_perfection(game, tables(algorithm, game), path_of=spe)
            algorithm.stop()
            shutil.rmtree(algorithm.logdir, ignore_errors=True)
            add_gaps(gaps, found)
        counts = {part: getattr(found, part).subgames for part in PARTS}
        rows.append({**vars(setting), "method": method, "subgames": counts, "gaps": gaps})
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Learn, measure, print the tables, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1 seed and 5 iterations")
    parser.add_argument("--games", nargs="+", choices=list(GAMES), default=list(GAMES))
    parser.add_argument("--json", type=Path, help="where the runs go")
    chosen = parser.parse_args(arguments)
    seeds, iterations = ([0], 5) if chosen.quick else ([0, 1, 2], 30)
    machine, commit = describe_machine()
    print(
        f"# {__doc__.splitlines()[0].rstrip('.')}\n\n{NOTE}\n\n{len(seeds)} seeds, {iterations} "
        f"iterations of {BATCH} rounds. Made by `python benchmarks/equilibrium_rllib.py`.\n"
        f"Machine: {machine}. Commit {commit}.\n"
    )
    torch.set_num_threads(1)
    start_local_ray(num_cpus=1, log_to_driver=False)
    rows = []
    for name in chosen.games:
        setting = Setting(name, TREMBLES, EPISODES)
        found = measured(setting, seeds, iterations)
        print(title(setting, found[0]["subgames"]))
        print(gap_table(found), flush=True)
        rows += found
    ray.shutdown()
    if chosen.json:
        report = {"machine": machine, "commit": commit, "seeds": seeds, "rows": rows}
        chosen.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
