"""Learned players of tic-tac-toe, Leduc poker and connect four beside BC and the experts.

    python benchmarks/board_games.py                   # what is missing
    python benchmarks/board_games.py --max-minutes 20  # begin no cell after 20 minutes
    python benchmarks/board_games.py --report-only     # write board_games.md from what is there
    python benchmarks/board_games.py --quick           # a small version, for a look

A cell is a game, a number of demonstrations and a seed, with all methods; its line goes to
board_games.jsonl when it ends. Settings: board_games_settings.py.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from board_games_settings import (
    ANCHORED,
    CLONED,
    CLONED_PLAIN,
    CLONING_ITERATIONS,
    METHODS,
    PLAIN_STEPS,
    SCRATCH,
    STUDIES,
    BoardCell,
    GameStudy,
    as_tuned,
    cells,
    tuned,
)
from machine import describe_machine
from paper_results import JsonLines, Line, finished
from paper_study import MISSING, markdown_table
from rich.console import Console

from rllib_amagail import AMAGAILConfig, Demonstrations, LearnedPolicy, MultiAgentBCConfig
from rllib_amagail.algorithm.best_clones import best_clones
from rllib_amagail.algorithm.export import learned_policy
from rllib_amagail.local_ray import start_local_ray
from rllib_amagail.openspiel.experts import expert_player, record_expert
from rllib_amagail.openspiel.exploitability import mean_exploitability
from rllib_amagail.openspiel.game import OpenSpielGame
from rllib_amagail.openspiel.play import play_match
from rllib_amagail.openspiel.players import LearnedPlayer, Player, UniformPlayer

BENCHMARKS = Path(__file__).parent
TITLES = {
    CLONED: "BC, best variant",
    CLONED_PLAIN: "BC, plain",
    ANCHORED: "AMAGAIL",
    SCRATCH: "AMAGAIL, from scratch",
}
OPPONENTS = ("random", CLONED, "expert")
console = Console()


def settings_of(cell: BoardCell, quick: bool = False) -> dict[str, Any]:
    """A cell's present settings, as JSON."""
    settings, study = tuned(cell.game), study_of(cell, quick)
    return {
        "study": asdict(study),
        "recording": settings.recording,
        "playing": settings.playing,
        "cloning": {**settings.cloning, "iterations": CLONING_ITERATIONS, "plain": PLAIN_STEPS},
        "amagail": written(settings.config),
        "iterations": iterations_of(cell, quick),
    }


def written(config: AMAGAILConfig) -> dict[str, Any]:
    """The fields of a config that are not the default's, as JSON."""
    default, present = (
        {**vars(each), "policies": sorted(each.policies)} for each in (AMAGAILConfig(), config)
    )
    changed = {k: v for k, v in present.items() if k not in default or default[k] != v}
    hidden = ("demonstrations", "seed", "env_runner_cls", "policy_mapping_fn")
    return {k: v if _is_json(v) else str(v) for k, v in changed.items() if k not in hidden}


def _is_json(value: Any) -> bool:
    return isinstance(value, str | int | float | bool | dict | list | None)


def study_of(cell: BoardCell, quick: bool) -> GameStudy:
    """How the cell's game is studied."""
    study = replace(STUDIES[cell.game], counts=())  # which the cell tells
    if not quick:
        return study
    return replace(study, games=100, exploited_seeds=(0,) if cell.game == "leduc_poker" else ())


def iterations_of(cell: BoardCell, quick: bool) -> int:
    """Adversarial iterations."""
    return 5 if quick else int(tuned(cell.game).stop["training_iteration"])


def learn(
    method: str, cell: BoardCell, recorded: Demonstrations, quick: bool
) -> LearnedPolicy | None:
    """A method's policies; None for a method that is not run."""
    if method in (CLONED, CLONED_PLAIN):
        return cloned(method, cell, recorded)
    study, settings = STUDIES[cell.game], tuned(cell.game)
    config = settings.config.copy(copy_frozen=False).imitation(demonstrations=recorded)
    config.debugging(seed=cell.seed, log_level="ERROR")
    changed = {ANCHORED: study.anchored, SCRATCH: study.scratch}[method]
    if changed is None:
        return None
    config.update_from_dict(dict(changed))
    return trained(config, iterations_of(cell, quick))


def cloned(
    method: str, cell: BoardCell, recorded: Demonstrations, changed: Mapping[str, Any] | None = None
) -> LearnedPolicy:
    """Policies of behaviour cloning, plain or the best variant, with fields changed."""
    settings = tuned(cell.game)
    config = (
        MultiAgentBCConfig()
        .imitation(demonstrations=recorded, bc_steps=PLAIN_STEPS)
        .rl_module(model_config=settings.config.model_config)
        .multi_agent(**sharing(settings.config))
        .debugging(seed=cell.seed, log_level="ERROR")
    )
    if method == CLONED_PLAIN:
        return trained(config, 1)
    config.update_from_dict({**settings.cloning, **(changed or {})})
    return best_clones(config, CLONING_ITERATIONS)


def sharing(config: AMAGAILConfig) -> dict[str, Any]:
    """Which agents share a policy, as arguments of RLlib's ``multi_agent``."""
    return {"policies": config.policies, "policy_mapping_fn": config.policy_mapping_fn}


def trained(config: AMAGAILConfig, iterations: int) -> LearnedPolicy:
    """The policies after some iterations."""
    algorithm = config.build_algo()
    for _ in range(iterations):
        algorithm.train()
    learned = learned_policy(algorithm)
    algorithm.stop()
    return learned


def judged(
    game: OpenSpielGame,
    study: GameStudy,
    player: Player,
    opponents: Mapping[str, Player],
    seed: int,
    random_moves: int,
) -> dict[str, Any]:
    """A player's matches and its exploitability."""
    rng = np.random.default_rng(seed)
    found: dict[str, Any] = {
        name: asdict(play_match(game, player, other, study.games, rng, random_moves=random_moves))
        for name, other in opponents.items()
    }
    found["illegal_moves"] = sum(match["illegal_moves"] for match in found.values())
    if seed in study.exploited_seeds:
        found["exploitability"] = mean_exploitability(game, [player, player])
    return found


def run(cell: BoardCell, quick: bool) -> Line:
    """All methods of a cell."""
    game, study, playing = as_tuned(cell.game), study_of(cell, quick), tuned(cell.game).playing
    how = {**tuned(cell.game).recording, "num_games": cell.demonstrations, "seed": cell.seed}
    recorded = record_expert(game, **how)
    opponents: dict[str, Player] = {
        "random": UniformPlayer(game),
        "expert": expert_player(game, seed=1000 + cell.seed),  # not the one that was recorded
    }
    line: Line = {**cell.to_dict(), "settings": settings_of(cell, quick), "methods": {}}
    for method in METHODS:  # BC first: the others play it
        began = time.monotonic()
        learned = learn(method, cell, recorded, quick)
        if learned is None:
            continue
        player = LearnedPlayer(game, learned, explore=playing["explores"])
        seconds = time.monotonic() - began
        line["methods"][method] = {
            **judged(game, study, player, opponents, cell.seed, playing["random_moves"]),
            "seconds": round(seconds, 1),
        }
        if method == CLONED:
            opponents[method] = player
        console.print(f"{cell}: {method} in {seconds:.0f} s", highlight=False, soft_wrap=True)
    line["machine"], line["commit"] = describe_machine()
    return line


def shown(values: Iterable[float | None], digits: int) -> str:
    """Mean over seeds, and the runs from the lowest to the highest."""
    some = [value for value in values if value is not None]
    if not some:
        return MISSING
    low, high = min(some), max(some)
    return f"{np.mean(some):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def table(lines: Mapping[BoardCell, Line], game: str, count: int) -> str:
    """Methods in rows; shares of games over both seats, and exploitability."""
    study, own = (
        STUDIES[game],
        [line for cell, line in lines.items() if (cell.game, cell.demonstrations) == (game, count)],
    )
    rows = [["", *(f"against {other}" for other in OPPONENTS), "illegal moves"]]
    rows[0] += ["exploitability"] if study.exploited_seeds else []
    for method in METHODS:
        runs = [line["methods"][method] for line in own if method in line["methods"]]
        if own and not runs:
            continue
        row = [TITLES[method]]
        row += [percentages([run[other] for run in runs if other in run]) for other in OPPONENTS]
        row.append(str(sum(run["illegal_moves"] for run in runs)) if runs else MISSING)
        if study.exploited_seeds:
            row.append(shown([run.get("exploitability") for run in runs], 3))
        rows.append(row)
    return f"### {game}, {count} recorded games, {len(own)} seeds\n\n{markdown_table(rows)}"


def percentages(matches: list[Mapping[str, Any]]) -> str:
    """Won, drawn and lost, in percent; of the lost ones the range over seeds."""
    if not matches:
        return MISSING
    shares = np.array([[m["wins"], m["draws"], m["losses"]] for m in matches], float)
    shares *= 100.0 / shares.sum(axis=1, keepdims=True)
    won, drawn, lost = shares.mean(axis=0)
    best, worst = shares[:, 2].min(), shares[:, 2].max()
    return f"{won:.1f} / {drawn:.1f} / {lost:.1f} ({best:.1f} to {worst:.1f})"


def page(lines: Mapping[BoardCell, Line], total: int) -> str:
    """What board_games.md says."""
    origins = [sorted({line[key] for line in lines.values()}) for key in ("machine", "commit")]
    machines, commits = (", ".join(origin) or MISSING for origin in origins)
    tables = "\n".join(
        table(lines, game, count) for game, study in STUDIES.items() for count in study.counts
    )
    return f"""# {__doc__.splitlines()[0].rstrip(".")}

Won / drawn / lost in percent of the games, half in either seat, means over seeds; in brackets the
lost ones of the best and the worst seed. Exploitability is OpenSpiel's, per player and game, with
the lowest and the highest seed in brackets. "BC" is the best variant found on the search's seeds,
"BC, plain" {PLAIN_STEPS:,} steps without any. Settings:
[board_games_settings.py](board_games_settings.py) and `tuned_configs/`. What was tried:
[docs/board_games.md](../docs/board_games.md).

{tables}
{len(lines)} of {total} cells are there. Made by `python benchmarks/board_games.py`.
Machine: {machines}. Commits: {commits}. Runs: [board_games.jsonl](board_games.jsonl).
"""


def main(arguments: list[str] | None = None) -> None:
    """Run what is missing, write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--max-minutes", type=float, default=float("inf"))
    parser.add_argument("--output", type=Path, help="folder; default benchmarks")
    parser.add_argument("--quick", action="store_true", help="a small version, for a look")
    parser.add_argument("--report-only", action="store_true", help="run nothing")
    chosen = parser.parse_args(arguments)
    output = chosen.output or (BENCHMARKS / "board_games_work" if chosen.quick else BENCHMARKS)
    results, wanted, began = (
        JsonLines(output / "board_games.jsonl"),
        cells(chosen.quick),
        time.monotonic(),
    )

    def described(cell: BoardCell) -> dict[str, Any]:
        return settings_of(cell, chosen.quick)

    if not chosen.report_only:
        torch.set_num_threads(1)
        start_local_ray(log_to_driver=False)
        done = finished(results.read(), wanted, described)
        for cell in wanted:
            if cell not in done and time.monotonic() - began < 60 * chosen.max_minutes:
                results.append(run(cell, chosen.quick))
    lines = finished(results.read(), wanted, described)
    output.mkdir(parents=True, exist_ok=True)
    (output / "board_games.md").write_text(page(lines, len(wanted)))
    console.print(f"Report: {output / 'board_games.md'}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
