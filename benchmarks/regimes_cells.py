"""Where adversarial learning may pay: regimes of scarce demonstrations, and the cells to run."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass

import numpy as np
from paper_cells import COOPERATIVE_GAMES

from rllib_amagail import Demonstrations
from rllib_amagail.experts import expert_demonstrations

STOCHASTIC, DETERMINISTIC, REACHING = COOPERATIVE_GAMES

BC_VARIANTS = ("BC", "BC_early_stopped", "BC_weight_decay")
ADVERSARIAL = ("AMAGAIL_scratch", "zero_reward", "shuffled_actions", "observation_alone")
METHODS = (*BC_VARIANTS, *ADVERSARIAL)
SEEDS = (0, 1, 2, 3, 4)

# Recordings of the experts that neither the bundled files nor the paper's study use.
FIRST_RECORDING_SEED = 1000


@dataclass(frozen=True)
class Regime:
    """What the demonstrations are like.

    Attributes:
        title: how tables name it.
        episodes: expert episodes.
        kept_every: one in so many turns of an agent is kept (`Demonstrations.subsample`).
        horizon: rounds of an episode, in the demonstrations and in the game.
        games: it is run on.
        methods: that are run.
    """

    title: str
    episodes: int
    kept_every: int = 1
    horizon: int = 50
    games: tuple[str, ...] = (STOCHASTIC, REACHING)
    methods: tuple[str, ...] = METHODS

    def demonstrations(self, game: str, seed: int) -> Demonstrations:
        """A recording of this seed's own, so that seeds vary the data, too."""
        recording_seed = FIRST_RECORDING_SEED + seed
        recorded = expert_demonstrations(
            game, self.episodes, seed=recording_seed, horizon=self.horizon
        )
        if self.kept_every == 1:
            return recorded
        return recorded.subsample(self.kept_every, np.random.default_rng(recording_seed))


_WHOLE = (*BC_VARIANTS, "AMAGAIL_scratch", "zero_reward")
REGIMES = {
    "every_20th_10": Regime(
        "every 20th turn of 10 episodes", 10, kept_every=20, games=COOPERATIVE_GAMES
    ),
    "every_20th_20": Regime("every 20th turn of 20 episodes", 20, kept_every=20),
    "whole_50": Regime(
        "50 whole episodes",
        50,
        games=COOPERATIVE_GAMES,
        methods=("BC", "AMAGAIL_scratch", "observation_alone"),
    ),
    "long_5": Regime("every 20th turn of 5 episodes of 200 rounds", 5, kept_every=20, horizon=200),
    "whole_1": Regime("1 whole episode", 1, methods=_WHOLE),
    "whole_2": Regime("2 whole episodes", 2, methods=_WHOLE),
    "whole_5": Regime("5 whole episodes", 5, methods=_WHOLE),
}


@dataclass(frozen=True)
class Cell:
    """One run, which gives one line of results."""

    regime: str
    game: str
    method: str
    seed: int

    def __str__(self) -> str:
        return f"{self.regime} {self.game} {self.method} seed {self.seed}"

    def to_dict(self) -> dict[str, str | int]:
        """The fields by name."""
        return asdict(self)


def cells(
    regimes: Collection[str] = tuple(REGIMES),
    games: Collection[str] = COOPERATIVE_GAMES,
    methods: Collection[str] = METHODS,
    seeds: Collection[int] = SEEDS,
) -> Iterator[Cell]:
    """The cells that are asked for, seeds outermost: soon every comparison has a seed."""
    for seed in seeds:
        for name in (name for name in REGIMES if name in regimes):
            for game in (game for game in REGIMES[name].games if game in games):
                for method in (m for m in REGIMES[name].methods if m in methods):
                    yield Cell(name, game, method, seed)
