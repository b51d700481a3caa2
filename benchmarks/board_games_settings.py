"""How every method of `board_games.py` is run. Declared before the runs of seeds 0 to 2.

They were found on seeds 100 and 101, those of Leduc poker on 100 to 103 (docs/board_games.md says
what was tried).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from rllib_amagail.openspiel.game import OpenSpielGame

TUNED_CONFIGS = Path(__file__).parent.parent / "tuned_configs"
SEEDS = (0, 1, 2)
SCRATCH, ANCHORED, CLONED, CLONED_PLAIN = "AMAGAIL_scratch", "AMAGAIL", "BC", "BC_plain"
METHODS = (CLONED, CLONED_PLAIN, ANCHORED, SCRATCH)


@dataclass(frozen=True)
class BoardCell:
    """All methods with one game's demonstrations.

    Attributes:
        game: OpenSpiel's name.
        demonstrations: recorded games of the expert.
        seed: of recording and training.
    """

    game: str
    demonstrations: int
    seed: int

    def to_dict(self) -> dict[str, str | int]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class GameStudy:
    """How a game is studied.

    Attributes:
        counts: numbers of demonstrations, the more important one first.
        games: of a match, half in each seat.
        exploited_seeds: those whose players' exploitability is measured.
        anchored, scratch: fields that AMAGAIL from cloned policies and AMAGAIL from scratch have
            otherwise than the tuned config; None for a method that is not run.
    """

    counts: tuple[int, ...]
    games: int
    exploited_seeds: tuple[int, ...]
    anchored: Mapping[str, Any] | None
    scratch: Mapping[str, Any] | None


STUDIES = {
    "tic_tac_toe": GameStudy(
        counts=(8000, 4000),
        games=1000,
        exploited_seeds=SEEDS[:1],  # of 295,000 information states
        anchored={},
        scratch=None,
    ),
    "leduc_poker": GameStudy(
        counts=(50, 20, 5),
        games=1000,
        exploited_seeds=SEEDS,
        anchored={"bc_steps": 100, "bc_anchor": 0.3, "value_only_iterations": 3},
        scratch={},
    ),
    "connect_four": GameStudy(
        counts=(50,),
        games=200,
        exploited_seeds=(),
        anchored={},
        scratch=None,
    ),
}
CLONING_ITERATIONS = 100  # of 20 gradient steps
PLAIN_STEPS = 1000  # of BC without early stopping


def tuned(game: str) -> ModuleType:
    """The tuned config of a game, AMAGAIL's settings here."""
    path = TUNED_CONFIGS / f"openspiel_{game}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def as_tuned(game: str) -> OpenSpielGame:
    """The game with the observer of its tuned config, which all methods share."""
    options = tuned(game).config.env_config
    return OpenSpielGame(options["game"], observer=options.get("observer"))


def cells(quick: bool = False) -> list[BoardCell]:
    """What is run: every game's first number of demonstrations, then the others; seeds outermost.

    The quick version has one seed of tic-tac-toe and Leduc poker.
    """
    if quick:
        return [BoardCell(game, STUDIES[game].counts[0], 0) for game in list(STUDIES)[:2]]
    every = [
        (place, seed, game, count)
        for game, study in STUDIES.items()
        for place, count in enumerate(study.counts)
        for seed in SEEDS
    ]
    every.sort(key=lambda each: each[:2])
    return [BoardCell(game, count, seed) for _, seed, game, count in every]
