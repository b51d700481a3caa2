"""Train experts on the games' true rewards, and measure the games' scales.

What is under `rllib_amagail/data` comes from

    python examples/make_experts.py --all --output rllib_amagail/data

The two navigation games' experts have fixed roles. Those of `--adaptive` choose roles by positions
and score 2.4 points better, but are much harder to clone. The bundled ones were trained by an
earlier form of this script with the same settings (`trained_by` in `reference_scores.json`).

A first look at experts of your own:

    python examples/make_experts.py stochastic_cooperative_navigation --rounds 100000

Each game leaves its experts' policies (`experts/<game>/policies/`), the first 200 episodes of their
recording (`<game>.parquet`) and its entry in `reference_scores.json` (what random and expert
players score). Phases of training are kept in `--work`; those whose settings did not change are not
trained again, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from rllib_amagail.algorithm.expert_training import (
    Phase,
    Weights,
    policy_weights,
    side_of,
    train_phase,
)
from rllib_amagail.evaluation import Policy, play_episodes, random_policy
from rllib_amagail.experts import expert_policies, record_policies
from rllib_amagail.games import make_game
from rllib_amagail.learned_files import save_learned
from rllib_amagail.local_ray import start_local_ray

SEED = 2019
MEASURED_EPISODES = 1000
BUNDLED_EPISODES = 200
MODEL = {"fcnet_hiddens": [128, 128], "fcnet_activation": "tanh", "vf_share_layers": False}


@dataclass(frozen=True)
class Expert:
    """How the experts of a game are made, and whose returns are the game's score."""

    phases: tuple[Phase, ...]
    start: str | None = None  # the game whose first phase comes before these
    temperature: float = 1.0  # of the policies that are saved, divides the logits
    scored_side: str | None = None  # None: all agents


EXPERTS = {
    "stochastic_cooperative_navigation": Expert((Phase(rounds=2_500_000, plain=True),)),
    # The pattern leaves agent #3 too few turns to discover its landmark from scratch.
    "deterministic_cooperative_navigation": Expert(
        (Phase(rounds=2_000_000, plain=True),), start="stochastic_cooperative_navigation"
    ),
    "deterministic_cooperative_reaching": Expert((Phase(rounds=1_200_000),), temperature=0.25),
    # Both sides move the good agent's return; the average over the sides would hide a bad one.
    "stochastic_predator_prey": Expert(
        (
            Phase(rounds=3_000_000, shaping=1.0, gamma=0.96, lr=1e-3),
            # The adversaries alone, against the good agent as it is: policies of their own would
            # hardly improve on each other.
            Phase(rounds=1_500_000, shared=True, trains="adversary", shaping=1.0, entropy=0.02),
        ),
        scored_side="agent",
    ),
}
# Navigation's experts that find roles by positions, because they share one policy.
ADAPTIVE = {
    "stochastic_cooperative_navigation": Expert(
        (Phase(rounds=2_500_000, shared=True, entropy=0.02),), temperature=0.25
    ),
    "deterministic_cooperative_navigation": Expert(
        (Phase(rounds=1_000_000, lr=1e-3, entropy=2e-3),),
        start="stochastic_cooperative_navigation",
        temperature=0.25,
    ),
}


def train_expert(
    game: str, experts: Mapping[str, Expert], work: Path, rounds: int | None
) -> tuple[Weights, list[dict[str, Any]]]:
    """All phases of a game; ``rounds`` replaces those of every phase.

    Returns:
        The weights at the end, and settings and seconds of each phase.
    """
    expert = experts[game]
    games = [game] * len(expert.phases)
    phases = list(expert.phases)
    if expert.start is not None:
        games.insert(0, expert.start)
        phases.insert(0, experts[expert.start].phases[0])
    weights: Weights | None = None
    history: list[dict[str, Any]] = []
    for of_game, phase in zip(games, phases, strict=True):
        settings = asdict(phase) | ({"rounds": rounds} if rounds else {})
        history.append({"game": of_game, **settings, "seed": SEED})
        digest = hashlib.sha256(json.dumps(_without_seconds(history)).encode()).hexdigest()[:16]
        folder = work / f"{of_game}_{digest}"
        if not (folder / "seconds.json").is_file():
            began = time.monotonic()
            weights = train_phase(
                of_game, Phase(**settings), weights, seed=SEED, report=_Printer(of_game)
            )
            folder.mkdir(parents=True, exist_ok=True)
            for agent, arrays in weights.items():
                save_file(arrays, folder / f"{agent}.safetensors")
            (folder / "seconds.json").write_text(json.dumps(time.monotonic() - began))
        weights = {a: load_file(folder / f"{a}.safetensors") for a in make_game(game).agents}
        history[-1]["seconds"] = round(json.loads((folder / "seconds.json").read_text()))
    assert weights is not None
    return weights, history


def _without_seconds(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in phase.items() if k != "seconds"} for phase in history]


class _Printer:
    """A line every few iterations."""

    def __init__(self, game: str) -> None:
        self._game, self._began, self._calls = game, time.monotonic(), 0

    def __call__(self, rounds: int, returns: dict[str, float]) -> None:
        self._calls += 1
        if self._calls % 20 == 0:
            seconds = time.monotonic() - self._began
            numbers = "  ".join(f"{agent} {mean:.1f}" for agent, mean in returns.items())
            print(f"{self._game}: {rounds:>9,} rounds  {seconds:5.0f} s  {numbers}", flush=True)


def save_policies(
    game: str, weights: Weights, temperature: float, history: list[dict[str, Any]], output: Path
) -> dict[str, Policy]:
    """Write the experts' policies and read them back."""
    world = make_game(game)
    for agent in world.agents:
        space = world.observation_spaces[agent]
        save_learned(
            output / "experts" / game / "policies",
            agent,
            policy_weights(weights[agent], space.shape[0], temperature),
            kind="policy",
            observation_space=space,
            action_space=world.action_spaces[agent],
            model=MODEL,
            provenance={
                "environment": game,
                "phases": _without_seconds(history),
                "temperature": temperature,
            },
        )
    return expert_policies(game, output / "experts")


def measure(game: str, policies: Mapping[str, Policy], scored: list[str]) -> dict[str, Any]:
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


def make_expert(
    game: str,
    experts: Mapping[str, Expert],
    output: Path,
    work: Path,
    rounds: int | None,
    episodes: int,
) -> None:
    """Train, save, record and measure."""
    weights, history = train_expert(game, experts, work, rounds)
    policies = save_policies(game, weights, experts[game].temperature, history, output)
    record_policies(game, policies, episodes).save(output / f"{game}.parquet")
    agents = list(make_game(game).agents)
    scored = [a for a in agents if experts[game].scored_side in (None, side_of(a))]
    entry = {
        "scored_agents": scored,
        "random": measure(game, policies | dict.fromkeys(scored, random_policy), scored),
        "expert": measure(game, policies, scored),
        "phases": history,
        "temperature": experts[game].temperature,
    }
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
    parser.add_argument("--adaptive", action="store_true", help="navigation's find roles by place")
    parser.add_argument("--rounds", type=int, help="rounds of every phase instead of its own")
    parser.add_argument("--episodes", type=int, default=BUNDLED_EPISODES, help="to record")
    parser.add_argument("--output", type=Path, default=Path("experts"))
    parser.add_argument("--work", type=Path, default=Path("expert_phases"))
    chosen = parser.parse_args(arguments)
    games = list(EXPERTS) if chosen.all else chosen.games
    if not games:
        parser.error(f"name a game or --all; games: {', '.join(EXPERTS)}")
    torch.set_num_threads(1)
    start_local_ray()
    chosen.output.mkdir(parents=True, exist_ok=True)
    experts = EXPERTS | ADAPTIVE if chosen.adaptive else EXPERTS
    for game in games:
        make_expert(game, experts, chosen.output, chosen.work, chosen.rounds, chosen.episodes)


if __name__ == "__main__":
    main()
