"""Subgame perfection of what AMAGAIL, MAGAIL and cloning learn, exactly, on tabular games.

    python benchmarks/equilibrium.py            # 10 seeds, 10 and 100 episodes: half a minute
    python benchmarks/equilibrium.py --quick    # 3 seeds, 10 episodes
    python benchmarks/equilibrium.py --json FILE    # the runs, besides the tables
    python benchmarks/equilibrium.py > benchmarks/equilibrium.md

Experts play a subgame perfect equilibrium that the solver found. Methods are those of
`rllib_amagail.equilibrium.imitation`: tables and exact steps, without RLlib.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine
from paper_statistics import stratified_interval
from paper_study import MISSING, markdown_table

from rllib_amagail.equilibrium import (
    GAMES,
    SubgamePerfection,
    TabularEpisodes,
    TabularGame,
    clone,
    imitate,
    sample_episodes,
    solve_spe,
    subgame_perfection,
    with_trembles,
)

TREMBLES = (0.0, 0.1)
ROUNDS = 60  # of a demonstrated episode
EXPERTS = "the experts"
NO_LEARNING = "uniform policies"
CLONING = {"cloning, φ filtered": "filtered", "cloning, φ an action": "chosen"}
ADVERSARIAL = {"AMAGAIL": "filtered", "MAGAIL": "chosen"}
METHODS = (EXPERTS, *ADVERSARIAL, *CLONING, NO_LEARNING)
PARTS = ("on_path", "off_path", "everywhere")
COLUMNS = {
    "on_path_largest": "on the path: largest",
    "on_path_mean": "mean",
    "off_path_largest": "off the path: largest",
    "off_path_mean": "mean",
}
NOTE = (
    "What an agent gains by deviating alone: the largest gain and the mean over agents and "
    "subgames (s, h), in units of discounted reward.\nMeans over seeds, with 95% bootstrap "
    "intervals where they are not narrower than 0.001."
)
QUICK = ((10,), 3)  # demonstrated episodes, seeds
FULL = ((10, 100), 10)


@dataclass(frozen=True)
class Setting:
    """A game, how much hands tremble in it, and how many episodes were demonstrated."""

    game: str
    trembles: float
    episodes: int


def learned(
    method: str, game: TabularGame, spe: list[np.ndarray], episodes: TabularEpisodes
) -> list[np.ndarray]:
    """The policies of a method."""
    if method == EXPERTS:
        return spe
    if method == NO_LEARNING:
        return [np.full(policy.shape, 1.0 / policy.shape[1]) for policy in spe]
    if method in CLONING:
        return clone(game, episodes, CLONING[method]).policies
    return imitate(game, episodes, ADVERSARIAL[method]).policies


def measured(setting: Setting, seeds: range) -> Iterator[dict[str, Any]]:
    """One row per method: its gaps by seed, `None` where there is no such subgame."""
    game = with_trembles(GAMES[setting.game](), setting.trembles)
    spe = solve_spe(game)
    recordings = [
        sample_episodes(game, spe, setting.episodes, ROUNDS, np.random.default_rng(seed))
        for seed in seeds
    ]
    for method in METHODS:
        gaps: dict[str, list[float | None]] = {}
        for recording in recordings:
            found = subgame_perfection(game, learned(method, game, spe, recording), path_of=spe)
            add_gaps(gaps, found)
        counts = {part: getattr(found, part).subgames for part in PARTS}
        yield {**vars(setting), "method": method, "subgames": counts, "gaps": gaps}


def add_gaps(gaps: dict[str, list[float | None]], found: SubgamePerfection) -> None:
    """Append a run's gaps to those of the runs before, by part and name."""
    for part in PARTS:
        gap = getattr(found, part)
        for name in ("largest", "mean"):
            value = getattr(gap, name) if gap.subgames else None
            gaps.setdefault(f"{part}_{name}", []).append(value)


def gap_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of one setting, a line per method."""
    table = [["", *COLUMNS.values()]]
    table += [[row["method"], *(shown(row["gaps"][name]) for name in COLUMNS)] for row in rows]
    return markdown_table(table)


def shown(runs: Sequence[float | None]) -> str:
    """Mean over seeds and the 95% bootstrap interval of the mean."""
    some = np.array([run for run in runs if run is not None])
    if not len(some):
        return MISSING
    low, high = stratified_interval(
        [some], np.random.default_rng(0), statistic=lambda drawn: drawn.mean(axis=-1)
    )
    interval = f" [{low:.3f}, {high:.3f}]" if high - low >= 0.001 else ""
    return f"{some.mean():.3f}{interval}"


def title(setting: Setting, subgames: dict[str, int]) -> str:
    """What a table is of."""
    hands = (
        f"hands tremble in {setting.trembles:.0%} of the turns"
        if setting.trembles
        else ("hands do not tremble")
    )
    return (
        f"### {setting.game}, {setting.episodes} episodes, {hands}\n\n"
        f"{subgames['on_path']} subgames on the experts' path, {subgames['off_path']} off it.\n"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer seeds and demonstrations")
    parser.add_argument("--games", nargs="+", choices=list(GAMES), default=list(GAMES))
    parser.add_argument("--json", type=Path, help="where the runs go")
    chosen = parser.parse_args(arguments)
    counts, num_seeds = QUICK if chosen.quick else FULL
    machine, commit = describe_machine()
    print(
        f"# {__doc__.splitlines()[0].rstrip('.')}\n\n{NOTE}\n\n"
        f"{num_seeds} seeds. Machine: {machine}. Commit {commit}.\n"
    )
    rows: list[dict[str, Any]] = []
    for game in chosen.games:
        for trembles in TREMBLES:
            for count in counts:
                setting = Setting(game, trembles, count)
                found = list(measured(setting, range(num_seeds)))
                print(title(setting, found[0]["subgames"]))
                print(gap_table(found), flush=True)
                rows += found
    if chosen.json:
        report = {
            "machine": machine,
            "commit": commit,
            "seeds": list(range(num_seeds)),
            "rounds": ROUNDS,
            "rows": rows,
        }
        chosen.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
