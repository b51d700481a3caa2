"""Tables 2 to 4: scores in the cooperative games, the paper's numbers below ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from paper_cells import ALL_METHODS
from paper_settings import scale_of
from paper_study import MISSING, Findings, markdown_table, paper_numbers

Cells = Callable[[str, int], str]  # of a method and a count


def score_table(findings: Findings, game: str) -> str:
    """Mean over seeds of score and of its deviation over the evaluation episodes.

    Rows and columns are the paper's; games that it has no table for show ours alone.
    """
    scale = scale_of(game)

    def cell(method: str, count: int) -> str:
        scores = findings.values(game, method, count, "score")
        if not len(scores):
            return MISSING
        deviations = findings.values(game, method, count, "score_std")
        return f"{scores.mean():.2f} ± {deviations.mean():.1f}"

    def of_paper(pair: Sequence[float]) -> str:
        return f"{pair[0]:.1f} ± {pair[1]:.1f}"

    ends = [["Expert", f"{scale.expert:.2f}"], ["Random", f"{scale.random:.2f}"]]
    return _table(findings, game, ends, cell, of_paper)


def normalised_table(findings: Findings, game: str) -> str:
    """Mean over seeds of the normalised score, and the lowest and highest seed.

    The paper's are its table's, normalised by the same table's random and expert rows.
    """

    def cell(method: str, count: int) -> str:
        found = findings.values(game, method, count)
        if not len(found):
            return MISSING
        return f"{found.mean():.3f} ({found.min():.3f} to {found.max():.3f})"

    table = paper_numbers()["tables"].get(game)

    def of_paper(pair: Sequence[float]) -> str:
        random, expert = table["random"][0], table["expert"][0]
        return f"{(pair[0] - random) / (expert - random):.2f}"

    return _table(findings, game, [], cell, of_paper)


def _table(
    findings: Findings,
    game: str,
    ends: Sequence[Sequence[str]],
    cell: Cells,
    of_paper: Callable[[Sequence[float]], str],
) -> str:
    counts = findings.counts
    rows = [["Expert episodes", *map(str, counts)]]
    rows += [[*end, *[""] * (len(counts) - 1)] for end in ends]
    rows += [[method, *(cell(method, count) for count in counts)] for method in ALL_METHODS]
    table = paper_numbers()["tables"].get(game)
    if table is None:
        return markdown_table(rows)
    if ends:
        for name in ("expert", "random"):
            end = of_paper(table[name])
            rows.append([f"*{name.capitalize()} (paper)*", end, *[""] * (len(counts) - 1)])
    for method, pairs in table["methods"].items():
        rows.append([f"*{method} (paper)*", *_paper_row(table, pairs, counts, of_paper)])
    return markdown_table(rows)


def _paper_row(
    table: Mapping[str, Any],
    pairs: Sequence[Sequence[float]],
    counts: Sequence[int],
    of_paper: Callable[[Sequence[float]], str],
) -> list[str]:
    by_count = dict(zip(table["counts"], pairs, strict=True))
    return [of_paper(by_count[count]) if count in by_count else MISSING for count in counts]


def seconds_table(findings: Findings) -> str:
    """Mean seconds of learning per method and game, over all counts and seeds."""
    games = list(dict.fromkeys(cell.game for cell in findings.cells))
    rows = [["method", *(game.replace("_", " ") for game in games)]]
    for method in ALL_METHODS:
        row = [method]
        for game in games:
            found = [
                line["seconds"]
                for cell, line in findings.lines.items()
                if (cell.method, cell.game) == (method, game)
            ]
            row.append(f"{sum(found) / len(found):.0f}" if found else MISSING)
        rows.append(row)
    return markdown_table(rows)
