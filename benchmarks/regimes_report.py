"""What the study of regimes found: a table, a plot, and the tables of docs/when_to_use.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from paper_statistics import iqm, stratified_interval
from paper_study import MISSING, markdown_table
from regimes_cells import ADVERSARIAL, BC_VARIANTS, METHODS, REGIMES, Cell

matplotlib.use("Agg")
import matplotlib.pyplot as plt

Lines = Mapping[Cell, Mapping[str, Any]]
BEGIN, END = "<!-- regimes: begin -->", "<!-- regimes: end -->"
_COLUMNS = ("best BC", *ADVERSARIAL)
# Okabe and Ito's colours, which colour-blind readers can tell apart; markers tell as well.
_STYLES = {
    "best BC": ("#0072B2", "s"),
    "AMAGAIL_scratch": ("#D55E00", "o"),
    "zero_reward": ("#56B4E9", "v"),
    "shuffled_actions": ("#E69F00", "D"),
    "observation_alone": ("#009E73", "^"),
}


def values(lines: Lines, regime: str, game: str, method: str) -> np.ndarray:
    """``[S]`` normalised scores of the seeds that are there; of "best BC" the best variant's."""
    if method == "best BC":
        found = [values(lines, regime, game, variant) for variant in BC_VARIANTS]
        return max((each for each in found if len(each)), key=iqm, default=np.array([]))
    wanted = (regime, game, method)
    return np.array(
        [
            line["normalised"]
            for cell, line in lines.items()
            if (cell.regime, cell.game, cell.method) == wanted
        ]
    )


def interval(runs: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the interquartile mean."""
    return stratified_interval([runs], np.random.default_rng(0))


def score_table(lines: Lines) -> str:
    """Interquartile means and intervals; who is apart from the best behaviour cloning."""
    rows = [["demonstrations", "game", "turns an agent", *_COLUMNS, "AMAGAIL_scratch and best BC"]]
    for name, game in _groups(lines):
        runs = {method: values(lines, name, game, method) for method in _COLUMNS}
        turns = [
            line["turns_per_agent"]
            for cell, line in lines.items()
            if (cell.regime, cell.game) == (name, game)
        ]
        row = [REGIMES[name].title, game.replace("_", " "), f"{np.mean(turns):.0f}"]
        rows.append([*row, *(_shown(each) for each in runs.values()), _verdict(runs)])
    return markdown_table(rows)


def reward_table(lines: Lines) -> str:
    """Correlations of the learned with the true reward, means over seeds."""
    rows = [["demonstrations", "game", "method", "Pearson", "Spearman"]]
    for name, game in _groups(lines):
        for method in METHODS:
            found = [
                line["reward"]
                for cell, line in lines.items()
                if (cell.regime, cell.game, cell.method) == (name, game, method)
                and "reward" in line
            ]
            if found:
                means = [np.mean([each[key] for each in found]) for key in ("pearson", "spearman")]
                shown = [f"{mean:.2f}" for mean in means]
                rows.append([REGIMES[name].title, game.replace("_", " "), method, *shown])
    return markdown_table(rows)


def draw(lines: Lines, path: Path) -> None:
    """Interquartile means with intervals, one row per regime and game."""
    groups = _groups(lines)
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.55 * len(groups)), dpi=110)
    for place, (name, game) in enumerate(groups):
        for shift, method in enumerate(_COLUMNS):
            runs = values(lines, name, game, method)
            if not len(runs):
                continue
            colour, marker = _STYLES[method]
            height = place + 0.13 * (shift - 2)
            axes.plot(interval(runs), [height, height], color=colour)
            label = method if method not in axes.get_legend_handles_labels()[1] else None
            axes.plot(float(iqm(runs)), height, marker, color=colour, label=label)
    titles = [f"{REGIMES[name].title}\n{game.replace('_', ' ')}" for name, game in groups]
    axes.set_yticks(range(len(groups)), titles, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(-0.3, 1.05)
    axes.set_xlabel("normalised true score (0: random play, 1: the experts)")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=7, loc="lower left")
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def write_report(lines: Lines, output: Path, page: Path | None) -> None:
    """Write README.md and regimes.png, and the tables between the marks of a page.

    Args:
        lines: finished cells.
        output: folder of the results.
        page: docs/when_to_use.md; None to leave it alone.

    Raises:
        ValueError: the page has no marks.
    """
    tables = (
        "Interquartile means over seeds of the normalised true score, with 95 % bootstrap "
        f"intervals.\n\n{score_table(lines)}\nLearned against true reward, on turns of random "
        f"players, experts and the learned policies:\n\n{reward_table(lines)}"
    )
    seeds = sorted({cell.seed for cell in lines})
    origins = {name: sorted({line[name] for line in lines.values()}) for name in _ORIGIN}
    head = (
        f"# Regimes\n\n{len(lines)} cells, seeds {seeds}, made by `python benchmarks/regimes.py`; "
        f"{'; '.join(origins['machine'])}; commits {', '.join(origins['commit'])}. Settings: "
        "[regimes_settings.py](../regimes_settings.py). Runs: [results.jsonl](results.jsonl).\n\n"
    )
    output.mkdir(parents=True, exist_ok=True)
    (output / "README.md").write_text(f"{head}{tables}\n![scores](regimes.png)\n")
    draw(lines, output / "regimes.png")
    if page is not None:
        text = page.read_text()
        if text.count(BEGIN) != 1 or text.count(END) != 1:
            raise ValueError(f"{page}: found no marks {BEGIN} and {END}, expected one of each")
        before, rest = text.split(BEGIN)
        page.write_text(f"{before}{BEGIN}\n{tables}{END}{rest.split(END)[1]}")


_ORIGIN = ("machine", "commit")


def _groups(lines: Lines) -> list[tuple[str, str]]:
    there = {(cell.regime, cell.game) for cell in lines}
    return [
        (n, game) for n, regime in REGIMES.items() for game in regime.games if (n, game) in there
    ]


def _shown(runs: np.ndarray) -> str:
    if not len(runs):
        return MISSING
    low, high = interval(runs)
    return f"{iqm(runs):.3f} [{low:.3f}, {high:.3f}]"


def _verdict(runs: Mapping[str, np.ndarray]) -> str:
    ours, theirs = runs["AMAGAIL_scratch"], runs["best BC"]
    if min(len(ours), len(theirs)) < 2:
        return MISSING
    if interval(ours)[0] > interval(theirs)[1]:
        return "apart: AMAGAIL"
    return "apart: BC" if interval(theirs)[0] > interval(ours)[1] else "not apart"
