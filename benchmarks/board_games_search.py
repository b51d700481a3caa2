"""What was tried to make learned players of Leduc poker less exploitable, and what recordings tell.

    python benchmarks/board_games_search.py                # what is missing; half an hour
    python benchmarks/board_games_search.py --report-only  # write board_games_search.md

Seeds 100 to 103, apart from those of board_games.py. A run is a variant, a number of recorded games
and a seed; its line goes to board_games_search.jsonl when it ends.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from board_games import cloned, settings_of, sharing, trained, written
from board_games_settings import CLONED, CLONED_PLAIN, SCRATCH, BoardCell, as_tuned, tuned
from machine import describe_machine
from paper_results import JsonLines, Line, finished
from paper_study import MISSING, markdown_table
from rich.console import Console

from rllib_amagail import AMAGAILConfig
from rllib_amagail.local_ray import start_local_ray
from rllib_amagail.openspiel.experts import record_expert
from rllib_amagail.openspiel.exploitability import mean_exploitability
from rllib_amagail.openspiel.game import OpenSpielGame
from rllib_amagail.openspiel.players import EquilibriumPlayer, LearnedPlayer, Player, UniformPlayer

BENCHMARKS = Path(__file__).parent
GAME, SEEDS = "leduc_poker", (100, 101, 102, 103)
KNOWN_GAMES = (5, 10, 20, 50, 200, 1000)  # of `bounds`
_CALL = 1  # OpenSpiel's number of this action; it is always legal
TUNED = "AMAGAIL, tuned config"
FIRST_ITERATIONS = 60
console = Console()


@dataclass(frozen=True)
class Variant:
    """A way to learn Leduc poker.

    Attributes:
        changed: fields that are not the tuned config's, nor those of the first runs.
        method: `SCRATCH`, or a kind of cloning.
        first: players see information states, with the settings of the first runs. Else they see
            Leduc's table, as in the tuned config.
        shares: both seats have one policy, as in the tuned config.
        iterations: of AMAGAIL; its step size falls until then. None: the tuned config's.
    """

    changed: Mapping[str, Any] = field(default_factory=dict)
    method: str = SCRATCH
    first: bool = False
    shares: bool = True
    iterations: int | None = None


def first(changed: Mapping[str, Any], method: str = SCRATCH) -> Variant:
    """Of the first runs."""
    return Variant(changed, method, first=True, shares=False, iterations=FIRST_ITERATIONS)


VARIANTS = {
    "BC": first({"entropy_coeff": 1.0}, CLONED),
    TUNED: first({}),
    "gradient penalty 10": first({"gradient_penalty": 10.0}),
    "rewards: logits": first({"reward_form": "airl"}),
    "rewards: logits, zero-sum": first(
        {
            "reward_form": "airl",
            "discriminator_structure": "zero_sum",
            "batch_mode": "complete_episodes",
        },
    ),
    "discount 0": first({"gamma": 0.0}),
    "table: BC": Variant(method=CLONED),
    "table: BC, entropy .3": Variant({"entropy_coeff": 0.3}, CLONED),
    "table: BC, plain": Variant(method=CLONED_PLAIN),
    "table: AMAGAIL": Variant(),
    "table: 60 iterations": Variant(iterations=60),
    "table: a policy per seat, 60 iterations": Variant(shares=False, iterations=60),
    "table: discount 1": Variant({"gamma": 1.0}),
}
_FEW = ("BC", TUNED, "rewards: logits, zero-sum")
_TABLE = tuple(name for name in VARIANTS if name.startswith("table"))
# What is run, by the number of recorded games.
RUNS = {50: tuple(VARIANTS), 20: (*_FEW, *_TABLE)}


@dataclass(frozen=True)
class SearchCell:
    """A run: a variant; E recorded games; the seed of recording and training."""

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
    variant = VARIANTS[cell.variant]
    game = OpenSpielGame(GAME) if variant.first else as_tuned(GAME)
    recorded = record_expert(game, cell.demonstrations, seed=cell.seed)
    if variant.method == SCRATCH:
        config = base(variant).imitation(demonstrations=recorded)
        config.debugging(seed=cell.seed, log_level="ERROR").update_from_dict(dict(variant.changed))
        learned = trained(config, iterations_of(variant))
    else:
        changed = dict(variant.changed)
        changed |= {} if variant.shares else sharing(AMAGAILConfig())
        learned = cloned(variant.method, cell.board_cell, recorded, changed)
    player = LearnedPlayer(game, learned)
    line: Line = {**cell.to_dict(), "settings": described(cell)}
    line["exploitability"] = mean_exploitability(game, [player, player])
    line["machine"], line["commit"] = describe_machine()
    return line


def iterations_of(variant: Variant) -> int:
    """Adversarial iterations."""
    return variant.iterations or int(tuned(GAME).stop["training_iteration"])


def base(variant: Variant) -> AMAGAILConfig:
    """AMAGAIL's settings before those that the variant changes."""
    config: AMAGAILConfig = tuned(GAME).config.copy(copy_frozen=False)
    (_, begin), (_, end) = config.lr
    config.lr = [[0, begin], [config.train_batch_size_per_learner * iterations_of(variant), end]]
    if not variant.shares:
        config.multi_agent(**sharing(AMAGAILConfig()))
    if variant.first:
        config.gamma, config.env_config = 1.0, {"game": GAME}
    return config


def described(cell: SearchCell) -> dict[str, Any]:
    """A run's present settings, as JSON."""
    variant, whole = VARIANTS[cell.variant], settings_of(cell.board_cell)
    changed = dict(variant.changed)
    if variant.method == SCRATCH:
        iterations = iterations_of(variant)
        return {"amagail": written(base(variant)), "iterations": iterations, "changed": changed}
    cloning = {"cloning": {**whole["cloning"], **changed}}
    if variant.first:
        return cloning
    return cloning | {"env_config": whole["amagail"]["env_config"], "shares": variant.shares}


def recorded_keys(game: OpenSpielGame, count: int, seed: int) -> list[set[bytes]]:
    """What was seen in recorded games, by seat; see `PartlyKnown`."""
    records = record_expert(game, count, seed=seed).records
    return [{row.tobytes() for row in records[agent].turns().observation} for agent in game.agents]


def bounds() -> str:
    """Exploitability of players who know an equilibrium exactly, but only where games have been."""
    whole = [["what is recorded", "elsewhere", *(f"{n} games" for n in (0, *KNOWN_GAMES))]]
    views = {
        "information states": OpenSpielGame(GAME),
        "the same, suits folded": OpenSpielGame(f"{GAME}(suit_isomorphism=True)"),
        "Leduc's table": as_tuned(GAME),
    }
    for view, game in views.items():
        equilibrium = EquilibriumPlayer(game)
        others: dict[str, Player] = {"uniform": UniformPlayer(game), "always calls": Caller(game)}
        recorded = {
            count: [recorded_keys(game, count, seed) for seed in SEEDS] for count in KNOWN_GAMES
        }
        for title, other in others.items():
            means = [mean_exploitability(game, [other, other])]
            for keys_of_seeds in recorded.values():
                players = [PartlyKnown(game, keys, equilibrium, other) for keys in keys_of_seeds]
                runs = [mean_exploitability(game, [each, each]) for each in players]
                means.append(float(np.mean(runs)))
            whole.append([view, title, *(f"{mean:.2f}" for mean in means)])
    return markdown_table(whole)


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
but BC from scratch. Players see information states, with a discount of 1 and {FIRST_ITERATIONS}
iterations. In rows that begin with "table" they see Leduc's table, with the present tuned config
but for what the row says. Conclusions: [docs/board_games.md](../docs/board_games.md).

{table(lines)}
Nothing was trained for this table: its players play an equilibrium wherever the recorded games have
been, and as the row says elsewhere. Means over the same seeds.

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
