"""Train an expert on a game's true reward, record its episodes, and measure the game's scale.

The bundled demonstrations come from

    python examples/make_experts.py --all --output rllib_amagail/data

and a first look at your own from

    python examples/make_experts.py stochastic_cooperative_navigation --rounds 200000

Each game leaves `<game>.parquet` (demonstrations, phi included), its entry in
`reference_scores.json` (what random and expert players score) and its checkpoint.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch

from rllib_amagail import AMAGAIL, AMAGAILConfig
from rllib_amagail.algorithm.policies import policies_of
from rllib_amagail.evaluation import Policy, play_episodes, random_policy
from rllib_amagail.games import make_game
from rllib_amagail.recording import record

# Settings per game: rounds of training, and the game whose expert is the start, if any. The
# deterministic pattern leaves agent #3 too few turns to discover its landmark from scratch.
EXPERTS: dict[str, dict[str, Any]] = {
    "stochastic_cooperative_navigation": {"rounds": 2_500_000},
    "deterministic_cooperative_navigation": {
        "rounds": 2_000_000,
        "start": "stochastic_cooperative_navigation",
    },
    "deterministic_cooperative_reaching": {"rounds": 1_500_000},
    # Both sides move the good agent's return; the average over the sides would hide a bad one.
    "stochastic_predator_prey": {"rounds": 10_000_000, "scored_agents": ["agent_1"]},
}
SEED = 2019
MEASURED_EPISODES = 1000


def expert_config(game: str, rounds: int) -> AMAGAILConfig:
    """The same algorithm as for imitation, with the true reward as teacher."""
    config = (
        AMAGAILConfig()
        .environment(game)
        .imitation(reward_source="environment", value_only_iterations=0)
        .env_runners(num_envs_per_env_runner=256)
        .training(
            train_batch_size_per_learner=12_800,
            minibatch_size=1600,
            gamma=0.97,
            lr=[[0, 2e-3], [rounds, 1e-5]],
            entropy_coeff=[[0, 1e-2], [rounds, 0.0]],
        )
        .debugging(seed=SEED, log_level="ERROR")
    )
    return config


def train_expert(game: str, rounds: int, output: Path, start: Path | None) -> AMAGAIL:
    """Train until ``rounds`` are played, printing a line now and then."""
    algorithm = expert_config(game, rounds).build_algo()
    if start is not None:
        modules = "learner_group/learner/rl_module"
        algorithm.restore_from_path(str(start.resolve() / modules), component=modules)
        algorithm.env_runner_group.sync_weights(
            from_worker_or_learner_group=algorithm.learner_group
        )
    played, began = 0, time.monotonic()
    while played < rounds:
        result = algorithm.train()
        played = int(result["env_runners"]["num_env_steps_sampled_lifetime"])
        if algorithm.iteration % 10 == 0 or played >= rounds:
            print(
                f"{game}: {played:>9,} rounds  {time.monotonic() - began:5.0f} s  "
                f"returns { {a: round(float(r), 1) for a, r in returns_of(result).items()} }",
                flush=True,
            )
    algorithm.save_to_path(str((output / "checkpoints" / game).resolve()))
    return algorithm


def returns_of(result: dict[str, Any]) -> dict[str, float]:
    """Mean true return per agent of the episodes that ended lately."""
    return dict(sorted(result["env_runners"]["agent_episode_returns_mean"].items()))


def measure(game: str, policies: dict[str, Policy], scored: list[str]) -> dict[str, Any]:
    """Mean and deviation of the true score over `MEASURED_EPISODES` episodes."""
    returns = play_episodes(game, policies, MEASURED_EPISODES, SEED).returns()
    scores = np.mean([returns[agent] for agent in scored], axis=0)
    return {
        "score": round(float(scores.mean()), 3),
        "std": round(float(scores.std()), 3),
        "returns": {agent: round(float(r.mean()), 3) for agent, r in returns.items()},
        "episodes": MEASURED_EPISODES,
        "seed": SEED,
    }


def make_expert(game: str, rounds: int, episodes: int, output: Path, start: Path | None) -> None:
    """Train, record, measure, and write all three."""
    algorithm = train_expert(game, rounds, output, start)
    record(algorithm, episodes, seed=SEED).save(output / f"{game}.parquet")
    agents = list(make_game(game).agents)
    scored = EXPERTS[game].get("scored_agents", agents)
    entry = {
        "scored_agents": scored,
        "random": measure(game, dict.fromkeys(agents, random_policy), scored),
        "expert": measure(game, policies_of(algorithm), scored),
        "rounds_trained": rounds,
    }
    algorithm.stop()
    path = output / "reference_scores.json"
    scores = json.loads(path.read_text()) if path.is_file() else {"games": {}}
    scores["games"][game] = entry
    path.write_text(json.dumps(scores, indent=1, sort_keys=True) + "\n")
    print(f"{game}: random {entry['random']['score']}, expert {entry['expert']['score']}")


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and make the experts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("games", nargs="*", choices=[[], *EXPERTS], metavar="game")
    parser.add_argument("--all", action="store_true", help="the paper's four games")
    parser.add_argument("--rounds", type=int, help="rounds of training instead of the game's own")
    parser.add_argument("--episodes", type=int, default=200, help="episodes to record")
    parser.add_argument("--output", type=Path, default=Path("experts"))
    chosen = parser.parse_args(arguments)
    games = list(EXPERTS) if chosen.all else chosen.games
    if not games:
        parser.error(f"name a game or --all; games: {', '.join(EXPERTS)}")
    torch.set_num_threads(1)
    if not ray.is_initialized():
        ray.init(include_dashboard=False, logging_level="ERROR")
    chosen.output.mkdir(parents=True, exist_ok=True)
    for game in games:
        start = EXPERTS[game].get("start")
        checkpoint = chosen.output / "checkpoints" / start if start else None
        if checkpoint is not None and not checkpoint.is_dir():
            print(f"{game}: no checkpoint of {start} in {chosen.output}; starting from scratch")
            checkpoint = None
        rounds = chosen.rounds or EXPERTS[game]["rounds"]
        make_expert(game, rounds, chosen.episodes, chosen.output, checkpoint)


if __name__ == "__main__":
    main()
