"""What the study must reach, and whether it does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from paper_cells import COOPERATIVE_GAMES
from paper_cross_play import CrossPlay
from paper_study import Findings, markdown_table
from paper_tables import MISSING

NEAR_CEILING = 0.97  # baselines above it leave nothing to be better by


@dataclass(frozen=True)
class Part:
    """One number of a target: met when ``found >= bound``."""

    name: str
    found: float | None
    bound: float

    def __str__(self) -> str:
        return f"{self.name}: {MISSING if self.found is None else f'{self.found:.3f}'}"


@dataclass(frozen=True)
class Target:
    """One line of the list."""

    what: str
    where: str
    parts: tuple[Part, ...]

    @property
    def verdict(self) -> str:
        """Missed when one part is, else open when one is not there."""
        found = [part.found is not None and part.found >= part.bound for part in self.parts]
        if any(p.found is not None and not met for p, met in zip(self.parts, found, strict=True)):
            return "**missed**"
        return "met" if all(found) else "open"


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
    """Both columns of table 1, against the paper's BC; positive numbers are for AMAGAIL."""
    where = f"predator-prey, {matches.demonstrations}"
    agent = adversaries = "BC_phi"
    own = matches.mean("AMAGAIL", agent)
    yield Target(
        "adversaries ≥ 10 points better against BC's agent",
        where,
        tuple(
            Part(f"than {other}", _difference(matches.mean(other, agent), own), 10.0)
            for other in ("BC_phi", "MAGAIL_chosen")
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
