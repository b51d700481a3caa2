"""What the study must reach, and whether it does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from paper_cells import COOPERATIVE_GAMES
from paper_cross_play import CrossPlay
from paper_study import MISSING, Findings, markdown_table

NEAR_CEILING = 0.97  # baselines above it leave nothing to be better by


@dataclass(frozen=True)
class Part:
    """One number of a target: met when ``found >= bound``; without a bound only shown."""

    name: str
    found: float | None
    bound: float | None

    def __str__(self) -> str:
        found = MISSING if self.found is None else f"{self.found:.3f}"
        return f"{self.name}: {found}" + (" (no target)" if self.bound is None else "")


@dataclass(frozen=True)
class Target:
    """One line of the list."""

    what: str
    where: str
    parts: tuple[Part, ...]

    @property
    def verdict(self) -> str:
        """Missed when one part is, else open when one is not there.

        "not measured" when there is nothing to compare, as where all baselines are at the ceiling.
        """
        judged = [(part.found, part.bound) for part in self.parts if part.bound is not None]
        if not judged:
            return "not measured"
        if any(found is not None and found < bound for found, bound in judged):
            return "**missed**"
        return "open" if any(found is None for found, _ in judged) else "met"


def targets(findings: Findings, matches: CrossPlay) -> list[Target]:
    """All of them, with what was found."""
    listed = [
        target for game in COOPERATIVE_GAMES for target in _cooperative_targets(findings, game)
    ]
    return [*listed, *_competitive_targets(matches)]


def _cooperative_targets(findings: Findings, game: str) -> Iterable[Target]:
    where, counts = game.replace("_", " "), findings.counts

    def mean(method: str, count: int) -> float | None:
        return findings.mean(game, method, count)

    def ahead(other: str, count: int) -> float | None:
        return _difference(mean("AMAGAIL", count), mean(other, count))

    yield Target(
        "AMAGAIL ≥ .97 at 10, ≥ .99 from 50 on",
        where,
        tuple(Part(str(c), mean("AMAGAIL", c), 0.97 if c < 50 else 0.99) for c in counts),
    )
    yield Target(
        "AMAGAIL − BC_filtered ≥ −.005",  # noqa: RUF001
        where,
        tuple(Part(str(c), ahead("BC_filtered", c), -0.005) for c in counts),
    )
    for other in ("MAGAIL_chosen", "BC_phi"):
        weak = [c for c in counts if (mean(other, c) or 0.0) < NEAR_CEILING]
        parts = tuple(Part(str(c), ahead(other, c), 1e-9) for c in weak)
        yield Target(f"AMAGAIL − {other} > 0 where that is < .97", where, parts)  # noqa: RUF001
    bounds = {10: 0.85, 50: 0.95, 200: 0.97, 1000: 0.97}
    yield Target(
        "AMAGAIL_scratch ≥ .85, .95, .97, .97 at 10, 50, 200, 1000",
        where,
        tuple(Part(str(c), mean("AMAGAIL_scratch", c), bounds[c]) for c in counts if c in bounds),
    )


def _competitive_targets(matches: CrossPlay) -> Iterable[Target]:
    """Both columns of table 1, against the paper's BC; positive numbers are for AMAGAIL.

    The adversaries' target names BC and MAGAIL; filtered cloning's figure is shown beside it.
    """
    where = f"predator-prey, {matches.demonstrations}"
    agent = adversaries = "BC_phi"
    own = matches.mean("AMAGAIL", agent)
    yield Target(
        "adversaries ≥ 10 points better against BC's agent",
        where,
        tuple(
            Part(f"than {other}", _difference(matches.mean(other, agent), own), bound)
            for other, bound in (
                ("BC_phi", 10.0),
                ("MAGAIL_chosen", 10.0),
                ("BC_filtered", None),
            )
        ),
    )
    own = matches.mean(adversaries, "AMAGAIL")
    yield Target(
        "good agent not worse by more than 1.5 against BC's adversaries",
        where,
        tuple(
            Part(f"than {other}", _difference(own, matches.mean(adversaries, other)), -1.5)
            for other in ("BC_phi", "BC_filtered")
        ),
    )


def _difference(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def targets_table(listed: Iterable[Target]) -> str:
    """As Markdown."""
    rows = [["target", "where", "found", "verdict"]]
    rows += [[t.what, t.where, ", ".join(map(str, t.parts)), t.verdict] for t in listed]
    return markdown_table(rows, rule="---")
