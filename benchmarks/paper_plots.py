"""Figure 2 and the learning curves, as PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from paper_cells import ALL_METHODS, COOPERATIVE_GAMES, GAMES
from paper_settings import scale_of
from paper_statistics import iqm, stratified_interval
from paper_study import PAPER_NAMES, Findings, paper_numbers

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# Okabe and Ito's colours, which colour-blind readers can tell apart; markers tell as well.
_STYLES = {
    "AMAGAIL": ("#D55E00", "o"),
    "BC_filtered": ("#0072B2", "s"),
    "zero_reward": ("#56B4E9", "v"),
    "AMAGAIL_scratch": ("#CC79A7", "^"),
    "MAGAIL_executed": ("#009E73", "P"),
    "MAGAIL_chosen": ("#E69F00", "D"),
    "BC_phi": ("#000000", "X"),
}
_TICKS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)


def draw_figure_2(findings: Findings, path: Path) -> None:
    """Interquartile mean over seeds against demonstrations, one panel a game and one for all."""
    figure, grid = plt.subplots(2, 2, figsize=(10, 7.5), dpi=110, sharex=True, sharey=True)
    panels = [(game,) for game in COOPERATIVE_GAMES] + [COOPERATIVE_GAMES]
    for axes, games in zip(grid.flat, panels, strict=True):
        for method in ALL_METHODS:
            _draw_scores(axes, findings, games, method)
        if len(games) == 1:
            _draw_paper(axes, findings.counts, games[0])
        axes.set_title(games[0].replace("_", " ") if len(games) == 1 else "all three games")
        axes.set_yscale("function", functions=(_stretch, _shrink))
        axes.set_ylim(0.0, 1.03)
        axes.set_yticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
        axes.set_xlim(-0.3, len(findings.counts) - 0.7)
        axes.set_xticks(range(len(findings.counts)), map(str, findings.counts))
        axes.grid(alpha=0.25)
    for axes in grid[-1]:
        axes.set_xlabel("expert episodes")
    for axes in grid[:, 0]:
        axes.set_ylabel("normalised true score (inverse log scale)")
    _finish(figure, path)


def _draw_scores(axes: Any, findings: Findings, games: tuple[str, ...], method: str) -> None:
    places, middles, ends = [], [], []
    for place, count in enumerate(findings.counts):
        strata = [findings.values(game, method, count) for game in games]
        if all(len(runs) for runs in strata):
            places.append(place)
            middles.append(float(iqm(np.concatenate(strata))))
            ends.append(stratified_interval(strata, np.random.default_rng(0)))
    if places:
        colour, marker = _STYLES[method]
        axes.plot(places, middles, color=colour, marker=marker, ms=5, lw=1.5, label=method)
        axes.fill_between(places, *zip(*ends, strict=True), color=colour, alpha=0.18, lw=0)


def _draw_paper(axes: Any, counts: tuple[int, ...], game: str) -> None:
    table = paper_numbers()["tables"][game]
    random, expert = table["random"][0], table["expert"][0]
    shown = [i for i, count in enumerate(table["counts"]) if count in counts]
    for method, name in PAPER_NAMES.items():
        scores = [(table["methods"][name][i][0] - random) / (expert - random) for i in shown]
        places = [counts.index(table["counts"][i]) for i in shown]
        label = f"{name} (paper)"
        axes.plot(places, scores, color=_STYLES[method][0], ls=":", lw=1.2, label=label)


def _stretch(score: np.ndarray) -> np.ndarray:
    """The paper's inverse log scale: it shows differences near 1."""
    return -np.log(np.maximum(1.1 - score, 1e-3))


def _shrink(stretched: np.ndarray) -> np.ndarray:
    return 1.1 - np.exp(-stretched)


def draw_curves(findings: Findings, count: int, path: Path) -> None:
    """Score of the sampled episodes against rounds and against seconds, mean over seeds."""
    figure, grid = plt.subplots(2, len(GAMES), figsize=(14, 6.5), dpi=110, sharey="col")
    for column, game in zip(grid.T, GAMES, strict=True):
        column[0].set_title(game.replace("_", " "), fontsize=9)
        for axes, key in zip(column, ("rounds", "seconds"), strict=True):
            for method in ALL_METHODS:
                _draw_curve(axes, findings, game, method, count, key)
            axes.set_xlabel(key)
            axes.grid(alpha=0.25)
    for axes in grid[:, 0]:
        axes.set_ylabel("normalised true score")
    _finish(figure, path)


def _draw_curve(
    axes: Any, findings: Findings, game: str, method: str, count: int, key: str
) -> None:
    """A curve of a method that iterates; a level for behaviour cloning."""
    lines = findings.column(game, method, count)
    if not lines:
        return
    colour, marker = _STYLES[method]
    curves = [line["curve"] for line in lines if line["curve"]]
    if not curves:
        level = findings.mean(game, method, count)
        axes.axhline(level, color=colour, ls="--", lw=1.2, label=method)
        return
    length = min(map(len, curves))
    across, scores = (
        np.mean([[point[name] for point in curve[:length]] for curve in curves], axis=0)
        for name in (key, "score")
    )
    heights = [scale_of(game).normalised(score) for score in scores]
    axes.plot(across, heights, color=colour, marker=marker, ms=3, lw=1.3, label=method)


def _finish(figure: Any, path: Path) -> None:
    """One legend for all panels, below them."""
    named: dict[str, Any] = {}
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        named |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(named.values(), named.keys(), loc="lower center", ncol=5, frameon=False)
    figure.tight_layout(rect=(0, 0.09, 1, 1))
    figure.savefig(path)
    plt.close(figure)
