"""What was tried to make learned players of Leduc poker less exploitable, and what recordings tell.

    python benchmarks/board_games_search.py                # what is missing; a quarter of an hour
    python benchmarks/board_games_search.py --report-only  # write board_games_search.md

Seeds 100 to 103, apart from those of board_games.py. A run is a variant, a number of recorded games
and a seed; its line goes to board_games_search.jsonl when it ends.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from board_games import iterations_of, learn, settings_of, trained
from board_games_settings import CLONED, BoardCell, tuned
from machine import describe_machine
from paper_results import JsonLines, Line, finished
from paper_study import MISSING, markdown_table
from rich.console import Console

from rllib_amagail.local_ray import start_local_ray
from rllib_amagail.openspiel.experts import record_expert
from rllib_amagail.openspiel.exploitability import mean_exploitability
from rllib_amagail.openspiel.game import OpenSpielGame
from rllib_amagail.openspiel.players import EquilibriumPlayer, LearnedPlayer, Player, UniformPlayer

BENCHMARKS = Path(__file__).parent
GAME, SEEDS = "leduc_poker", (100, 101, 102, 103)
KNOWN_GAMES = (20, 50, 200, 1000)  # of `bounds`
_CALL = 1  # OpenSpiel's number of this action; it is always legal
TUNED, ZERO_SUM = "AMAGAIL, tuned config", "rewards: logits, zero-sum"
# Fields that AMAGAIL from scratch has otherwise than the tuned config.
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    TUNED: {},
    "gradient penalty 10": {"gradient_penalty": 10.0},
    "rewards: logits": {"reward_form": "airl"},
    ZERO_SUM: {
        "reward_form": "airl",
        "discriminator_structure": "zero_sum",
        "batch_mode": "complete_episodes",
    },
}
# What is run, by the number of recorded games.
RUNS = {50: (CLONED, *VARIANTS), 20: (CLONED, TUNED, ZERO_SUM)}
console = Console()


@dataclass(frozen=True)
class SearchCell:
    """A run: a variant, or `CLONED`; E recorded games; the seed of recording and training."""

    variant: str
    demonstrations: int
    seed: int

    def to_dict(self) -> dict[str, str | int]:
        """The fields by name."""
        return asdict(self)

    @property
    def board_cell(self) -> BoardCell:
        """The cell of board_games.py with the same demonstrations."""
        return BoardCell(GAME, self.demonstrations, self.seed)


class PartlyKnown:
    """Plays as one player where a recording has been, and as another elsewhere.

    Args:
        game: to play.
        recorded: keys of `OpenSpielGame.tensor`, by seat.
        known, unknown: who plays where.
    """

    def __init__(
        self, game: OpenSpielGame, recorded: list[set[bytes]], known: Player, unknown: Player
    ) -> None:
        self._game, self._recorded = game, recorded
        self._known, self._unknown = known, unknown

    def probabilities(self, state: Any, player: int) -> np.ndarray:
        """As of `Player`."""
        seen = self._game.tensor(state, player).tobytes() in self._recorded[player]
        return (self._known if seen else self._unknown).probabilities(state, player)


class Caller:
    """Always calls."""

    def __init__(self, game: OpenSpielGame) -> None:
        self._size = game.num_actions

    def probabilities(self, state: Any, player: int) -> np.ndarray:
        """As of `Player`."""
        return np.eye(self._size)[_CALL]


def run(cell: SearchCell) -> Line:
    """Exploitability of a run's last policies."""
    game = OpenSpielGame(GAME)
    recorded = record_expert(game, cell.demonstrations, seed=cell.seed)
    if cell.variant == CLONED:
        learned = learn(CLONED, cell.board_cell, recorded, quick=False)
        assert learned is not None
    else:
        config = tuned(GAME).config.copy(copy_frozen=False).imitation(demonstrations=recorded)
        config.debugging(seed=cell.seed, log_level="ERROR")
        config.update_from_dict(dict(VARIANTS[cell.variant]))
        learned = trained(config, iterations_of(cell.board_cell, quick=False))
    player = LearnedPlayer(game, learned)
    line: Line = {**cell.to_dict(), "settings": described(cell)}
    line["exploitability"] = mean_exploitability(game, [player, player])
    line["machine"], line["commit"] = describe_machine()
    return line


def described(cell: SearchCell) -> dict[str, Any]:
    """A run's present settings, as JSON."""
    whole = settings_of(cell.board_cell)
    if cell.variant == CLONED:
        return {"cloning": whole["cloning"]}
    names = ("amagail", "iterations")
    return {name: whole[name] for name in names} | {"changed": dict(VARIANTS[cell.variant])}


def recorded_keys(game: OpenSpielGame, count: int, seed: int) -> list[set[bytes]]:
    """What was seen in recorded games, by seat; see `PartlyKnown`."""
    records = record_expert(game, count, seed=seed).records
    return [{row.tobytes() for row in records[agent].turns().observation} for agent in game.agents]


def bounds() -> str:
    """Exploitability of players who know an equilibrium exactly, but only where games have been."""
    game = OpenSpielGame(GAME)
    equilibrium = EquilibriumPlayer(game)
    others: dict[str, Player] = {"uniform": UniformPlayer(game), "always calls": Caller(game)}
    recorded = {
        count: [recorded_keys(game, count, seed) for seed in SEEDS] for count in KNOWN_GAMES
    }
    rows = [["where no recording has been", *(f"{n} games" for n in (0, *KNOWN_GAMES))]]
    for title, other in others.items():
        means = [mean_exploitability(game, [other, other])]
        for keys_of_seeds in recorded.values():
            players = [PartlyKnown(game, keys, equilibrium, other) for keys in keys_of_seeds]
            runs = [mean_exploitability(game, [each, each]) for each in players]
            means.append(float(np.mean(runs)))
        rows.append([title, *(f"{mean:.2f}" for mean in means)])
    return markdown_table(rows)


def table(lines: Mapping[SearchCell, Line]) -> str:
    """Variants in rows, with the mean over seeds and its standard error."""
    rows = [["recorded games", "", *(f"seed {seed}" for seed in SEEDS), "mean", "standard error"]]
    for count, variants in RUNS.items():
        for variant in variants:
            cells = [SearchCell(variant, count, seed) for seed in SEEDS]
            if not all(cell in lines for cell in cells):
                rows.append([str(count), variant, *[MISSING] * (len(SEEDS) + 2)])
                continue
            runs = [float(lines[cell]["exploitability"]) for cell in cells]
            told = (*runs, np.mean(runs), np.std(runs, ddof=1) / len(runs) ** 0.5)
            rows.append([str(count), variant, *(f"{value:.2f}" for value in told)])
    return markdown_table(rows)


def page(lines: Mapping[SearchCell, Line], total: int) -> str:
    """What board_games_search.md says."""
    origins = [sorted({line[key] for line in lines.values()}) for key in ("machine", "commit")]
    machines, commits = (", ".join(origin) or MISSING for origin in origins)
    return f"""# {__doc__.splitlines()[0].rstrip(".")}

Exploitability, OpenSpiel's, per player and game, of the last policies; of "BC" the best ones. All
but BC from scratch. Conclusions: [docs/board_games.md](../docs/board_games.md).

{table(lines)}
Nothing was trained for this table: its players play an equilibrium in every information state of
the recorded games, and as the row says elsewhere. Means over the same seeds.

{bounds()}
{len(lines)} of {total} runs are there. Made by `python benchmarks/board_games_search.py`.
Machine: {machines}. Commits: {commits}. Runs: [board_games_search.jsonl](board_games_search.jsonl).
"""


def main(arguments: list[str] | None = None) -> None:
    """Run what is missing, write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--report-only", action="store_true", help="run nothing")
    chosen = parser.parse_args(arguments)
    results = JsonLines(BENCHMARKS / "board_games_search.jsonl")
    wanted = [
        SearchCell(variant, count, seed)
        for count, variants in RUNS.items()
        for variant in variants
        for seed in SEEDS
    ]
    if not chosen.report_only:
        torch.set_num_threads(1)
        start_local_ray(log_to_driver=False)
        done = finished(results.read(), wanted, described)
        for cell in wanted:
            if cell not in done:
                results.append(run(cell))
                console.print(str(cell), highlight=False, soft_wrap=True)
    lines = finished(results.read(), wanted, described)
    (BENCHMARKS / "board_games_search.md").write_text(page(lines, len(wanted)))


if __name__ == "__main__":
    main()
