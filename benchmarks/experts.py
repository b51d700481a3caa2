"""How good the bundled experts are, and how they were trained.

python benchmarks/experts.py            # about a minute; writes experts.md
python benchmarks/experts.py --episodes 50 --output /tmp/look
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine

from rllib_amagail.evaluation import Policy, play_episodes, random_policy
from rllib_amagail.experts import expert_policies
from rllib_amagail.games import make_game

ROOT = Path(__file__).parent.parent
SCORES = ROOT / "rllib_amagail" / "data" / "reference_scores.json"
PREY = "stochastic_predator_prey"
SEED = 31  # neither of training nor of the reference scores
SETTINGS = ("game", "rounds", "shared", "trains", "lr", "entropy", "gamma", "shaping", "seconds")


def early_ending_score(
    game_name: str, policies: Mapping[str, Policy], episodes: int
) -> tuple[float, float]:
    """Mean score and rounds of episodes that end when all landmarks are covered (MAGAIL's rule)."""
    game = make_game(game_name, batch_size=episodes, seed=SEED, end_when_covered=True)
    rng = np.random.default_rng(SEED)
    playing = np.ones(episodes, dtype=bool)
    scores, rounds = np.zeros((2, episodes))
    while playing.any():
        seen = game.observations()
        actions = [policies[agent](seen[agent], rng) for agent in game.agents]
        result = game.step(np.stack(actions, axis=1))
        scores += np.where(playing, result.rewards.mean(axis=1), 0.0)
        rounds += playing
        playing &= ~game.ended
        game.reset(game.ended)  # they are played on, and not counted
    return float(scores.mean()), float(rounds.mean())


def with_error(numbers: np.ndarray) -> str:
    """Mean ± standard error."""
    return f"{numbers.mean():.2f} ± {numbers.std() / np.sqrt(len(numbers)):.2f}"


def score_rows(games: Mapping[str, Any], episodes: int) -> list[str]:
    """A table row per game."""
    rows = [
        "| game | temperature | random | experts | with early ending | rounds until then |",
        "|---|---|---|---|---|---|",
    ]
    for game in sorted(games):
        policies = expert_policies(game)
        scored = games[game]["scored_agents"]

        def score(players: Mapping[str, Policy], name: str, agents: list[str]) -> str:
            returns = play_episodes(name, players, episodes, SEED).returns()
            return with_error(np.mean([returns[agent] for agent in agents], axis=0))

        early = ("", "")
        if "navigation" in game:
            early = tuple(
                f"{number:.1f}" for number in early_ending_score(game, policies, episodes)
            )
        random = score(dict.fromkeys(policies, random_policy), game, scored)
        temperature = str(games[game]["temperature"])
        cells = (temperature, random, score(policies, game, scored), *early)
        rows.append(f"| {game} | {' | '.join(cells)} |")
    return rows


def cross_play_rows(episodes: int) -> list[str]:
    """The good agent's return, its touches and what the boundary cost it, for all pairings."""
    experts = expert_policies(PREY)
    rows = [
        "| adversaries | good agent | its return | touches an episode | boundary penalty |",
        "|---|---|---|---|---|",
    ]
    for hunters in ("random", "expert"):
        for prey in ("random", "expert"):
            kinds = {agent: prey if agent == "agent_1" else hunters for agent in experts}
            players = {
                agent: random_policy if kind == "random" else experts[agent]
                for agent, kind in kinds.items()
            }
            played = play_episodes(PREY, players, episodes, SEED)
            rewards = played.rewards[:, :, played.agents.index("agent_1")]
            # A touch costs 10 and leaving the arena less than that in every round but extreme ones.
            touches = np.floor(-rewards / 10.0).sum(axis=1)
            penalty = -rewards.sum(axis=1) - 10.0 * touches
            cells = (hunters, prey, *map(with_error, (rewards.sum(axis=1), touches, penalty)))
            rows.append(f"| {' | '.join(cells)} |")
    return rows


def settings_rows(games: Mapping[str, Any]) -> list[str]:
    """A table row per phase of training."""
    rows = [f"| experts | {' | '.join(SETTINGS)} |", "|---" * (len(SETTINGS) + 1) + "|"]
    for game in sorted(games):
        for phase in games[game]["phases"]:
            cells = (str(phase[name]) for name in SETTINGS)
            rows.append(f"| {game} | {' | '.join(cells)} |")
    return rows


def origin_lines(games: Mapping[str, Any]) -> list[str]:
    """What trained the experts; games whose entry says so by itself are listed."""
    others = {game: games[game]["trained_by"] for game in games if "trained_by" in games[game]}
    return [
        "Phases in their order; `game` is where a phase was played. Seconds are those of a machine",
        "that others were using too. By `examples/make_experts.py` as it is, except for",
        "",
        *(f"- {game}: {origin}" for game, origin in sorted(others.items())),
    ]


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks")
    chosen = parser.parse_args()
    games = json.loads(SCORES.read_text())["games"]
    machine, commit = describe_machine()
    lines = [
        "# The experts",
        "",
        f"True scores of the bundled experts, {chosen.episodes} episodes of 50 rounds, mean ± "
        f"standard error; policies are sampled. {machine}; commit {commit}.",
        "Made by `python benchmarks/experts.py`.",
        "",
        *score_rows(games, chosen.episodes),
        "",
        "The score is the mean over agents; in predator-prey the good agent's return. Logits are",
        "divided by the temperature.",
        "",
        "## Predator-prey: who meets whom",
        "",
        *cross_play_rows(chosen.episodes),
        "",
        "## Training",
        "",
        *origin_lines(games),
        "",
        *settings_rows(games),
        "",
    ]
    chosen.output.mkdir(parents=True, exist_ok=True)
    (chosen.output / "experts.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
