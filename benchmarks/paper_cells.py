"""What is run: games x methods x demonstration counts x seeds, and in which order."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass

# The paper's games (section 5), in the order of its tables 2 to 4, then table 1's.
COOPERATIVE_GAMES = (
    "stochastic_cooperative_navigation",
    "deterministic_cooperative_navigation",
    "deterministic_cooperative_reaching",
)
COMPETITIVE_GAME = "stochastic_predator_prey"
GAMES = (*COOPERATIVE_GAMES, COMPETITIVE_GAME)

# The quick ones first, so that an interrupted sitting has the baselines.
METHODS = ("BC_phi", "BC_filtered", "AMAGAIL", "MAGAIL_chosen", "zero_reward")
EXTRA_METHODS = ("MAGAIL_executed", "AMAGAIL_scratch")
ALL_METHODS = (*METHODS, *EXTRA_METHODS)
# A method of the grid under other settings of `AMAGAILConfig.imitation`; see anchor.py, search.py.
VARIANTS: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "AMAGAIL_no_anchor": ("AMAGAIL", {"bc_anchor": 0.0}),
    "AMAGAIL_anchor_0.1": ("AMAGAIL", {"bc_anchor": 0.1}),
    "AMAGAIL_bc_term": ("AMAGAIL", {"bc_anchor": 0.0, "bc_loss_coeff": 0.3}),
    "AMAGAIL_short_cloning": ("AMAGAIL", {"bc_steps": 1000}),
    "AMAGAIL_steps_8": ("AMAGAIL", {"discriminator_steps": 8}),
    "AMAGAIL_scratch_steps_2": ("AMAGAIL_scratch", {"discriminator_steps": 2}),
    "AMAGAIL_scratch_steps_4": ("AMAGAIL_scratch", {"discriminator_steps": 4}),
    "AMAGAIL_scratch_steps_16": ("AMAGAIL_scratch", {"discriminator_steps": 16}),
}


@dataclass(frozen=True)
class Cell:
    """One run, which gives one line of results.

    Raises:
        ValueError: an unknown game or method, no demonstrations, or a negative seed.
    """

    game: str
    method: str
    demonstrations: int
    seed: int

    def __post_init__(self) -> None:
        for name, known in (("game", GAMES), ("method", (*ALL_METHODS, *VARIANTS))):
            found = getattr(self, name)
            if found not in known:
                raise ValueError(f"{name} is {found!r}; expected one of {', '.join(known)}")
        if self.demonstrations < 1 or self.seed < 0:
            raise ValueError(
                f"found {self.demonstrations} demonstrations and seed {self.seed}; expected at "
                "least 1 and 0"
            )

    def __str__(self) -> str:
        return f"{self.game} {self.method} {self.demonstrations} seed {self.seed}"

    def to_dict(self) -> dict[str, str | int]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class Grid:
    """Which cells there are.

    Attributes:
        counts: demonstrations that `METHODS` learn from.
        extra_counts: those that `EXTRA_METHODS` learn from.
        seeds: of every cell.
    """

    counts: tuple[int, ...]
    extra_counts: tuple[int, ...]
    seeds: tuple[int, ...]

    def cells(
        self,
        games: Collection[str] = GAMES,
        methods: Collection[str] = ALL_METHODS,
        counts: Collection[int] | None = None,
        seeds: Collection[int] | None = None,
    ) -> Iterator[Cell]:
        """The cells that are asked for, in the order of work.

        Seeds are outermost: after the first fifth every table has a seed.

        Args:
            games, methods, counts, seeds: only these. None: all.
        """
        for seed in self.seeds if seeds is None else seeds:
            for count in self.counts if counts is None else counts:
                for game in (game for game in GAMES if game in games):
                    for method in (method for method in ALL_METHODS if method in methods):
                        if method in METHODS or count in self.extra_counts:
                            yield Cell(game, method, count, seed)


FULL_GRID = Grid(
    counts=(10, 50, 200, 400, 600, 800, 1000),  # the paper's, and where data is scarce
    extra_counts=(10, 50, 200, 1000),
    seeds=(0, 1, 2, 3, 4),
)
QUICK_GRID = Grid(counts=(10, 50), extra_counts=(10, 50), seeds=(0,))
