"""What a soak tells: kills and what they cost, and whether anything grows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

WARM_UP = 0.3  # share of a process's life in which it may grow: caches fill
MIN_LOOKS = 6  # at a process, after that
QUANTITIES = {"memory": "MB", "handles": "file handles"}


def slope(lives: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """The common slope of several straight lines, each with a level of its own.

    Args:
        lives: ``[K]`` times and ``[K]`` values of each.

    Returns:
        Least squares slope and its standard error, from residuals whose neighbours may be alike:
        it is widened by ``sqrt((1 + r) / (1 - r))`` for their lag-one correlation r.
    """
    times = np.concatenate([t - t.mean() for t, _ in lives])
    values = np.concatenate([v - v.mean() for _, v in lives])
    spread = float(times @ times)
    found = float(times @ values) / spread
    residuals = values - found * times
    freedom = max(1, len(times) - len(lives) - 1)
    error = np.sqrt(float(residuals @ residuals) / freedom / spread)
    power = float(residuals @ residuals)
    alike = float(residuals[1:] @ residuals[:-1]) / power if power > 0 else 0.0
    alike = min(max(alike, 0.0), 0.99)
    return found, float(error * np.sqrt((1 + alike) / (1 - alike)))


def growth(log: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Slopes per thousand iterations of memory and handles, by kind of process."""
    looks: dict[tuple[str, int], list[list[float]]] = defaultdict(list)
    for line in log:
        for name, (pid, memory, handles) in line.get("processes", {}).items():
            kind = name.split("_")[0]
            looks[kind, int(pid)].append([line["iteration"], memory, handles])
    lives: dict[str, list[np.ndarray]] = defaultdict(list)
    for (kind, _), rows in looks.items():
        kept = np.array(rows[int(WARM_UP * len(rows)) :])
        if len(kept) >= MIN_LOOKS:
            lives[kind].append(kept)
    found: dict[str, dict[str, Any]] = {}
    for kind, parts in lives.items():
        found[kind] = {"lives": len(parts), "looks": sum(map(len, parts))}
        for column, name in enumerate(QUANTITIES, start=1):
            value, error = slope([(part[:, 0] / 1000, part[:, column]) for part in parts])
            found[kind][name] = {"per 1000 iterations": value, "standard error": error}
            found[kind][name]["last"] = float(parts[-1][-1, column])
    return found


def recoveries(log: Sequence[dict[str, Any]], runners: int = 2) -> dict[str, dict[str, Any]]:
    """Kills by kind: how many, seconds until all is as before, iterations and rounds lost."""
    found: dict[str, dict[str, Any]] = {}
    for kind in ("runner", "driver"):
        seconds, iterations, rounds = [], [], []
        for index, line in enumerate(log):
            if not str(line.get("killed", "")).startswith(kind):
                continue
            before = [entry for entry in log[:index] if "rounds" in entry]
            after = log[index + 1 :]
            if kind == "driver":
                start = next((entry for entry in after if "start" in entry), None)
                back = next((entry for entry in after if "rounds" in entry), None)
                if start is None or back is None:
                    continue
                lost = [entry for entry in before if entry["iteration"] > start["start"]]
                last = max((entry["iteration"] for entry in before), default=0)
                iterations.append(max(0, last - start["start"]))
                rounds.append(sum(e["rounds"] for e in lost[-iterations[-1] :] if iterations[-1]))
            else:
                missed = False
                back = None
                for entry in after:
                    if "killed" in entry or "start" in entry:
                        break
                    missed = missed or entry["healthy"] < runners
                    if missed and entry["healthy"] == runners:
                        back = entry
                        break
                if back is None:
                    continue
                usual = float(np.median([entry["rounds"] for entry in before[-50:]] or [0]))
                between = after[: after.index(back) + 1]
                rounds.append(sum(max(0.0, usual - entry["rounds"]) for entry in between))
                iterations.append(0)
            seconds.append(back["at"] - line["at"])
        found[kind] = {
            "kills": sum(str(line.get("killed", "")).startswith(kind) for line in log),
            "measured": len(seconds),
            "seconds to recover": _range(seconds),
            "iterations lost": _range(iterations),
            "rounds lost": _range(rounds),
        }
    return found


def _range(values: Sequence[float]) -> list[float]:
    """Median and largest; empty without values."""
    return [float(np.median(values)), float(max(values))] if values else []


def summarise(log: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All figures of the report."""
    played = [line for line in log if "rounds" in line]
    looked = [line["actors"] for line in log if "actors" in line]
    return {
        "iterations": len(played),
        "reached": max((line["iteration"] for line in played), default=0),
        "rounds": sum(line["rounds"] for line in played),
        "actors": [min(looked), max(looked)] if looked else [],
        "recoveries": recoveries(log),
        "growth": growth(log),
    }


def write_report(path: Path, summary: dict[str, Any]) -> None:
    """The page."""
    lines = [
        "# Reliability",
        "",
        "Written by `benchmarks/soak.py`: small iterations, 2 env runners and 1 learner in",
        "processes of their own, a checkpoint every 20 iterations, SIGKILLs at random moments.",
        "",
        f"{summary['machine']}, commit {summary['commit']}.",
        "",
        f"In {summary['seconds']:.0f} s {summary['iterations']} iterations "
        f"({summary['rounds']} rounds) were trained, up to number {summary['reached']}. "
        f"There were {_span(summary['actors'])} of Ray's working\n"
        "processes: runners, learner and what Ray keeps besides.",
        "",
        "| killed | times | seconds to recover | iterations lost | rounds lost |",
        "|---|---|---|---|---|",
    ]
    for kind, figures in summary["recoveries"].items():
        cells = [
            _median(figures[k]) for k in ("seconds to recover", "iterations lost", "rounds lost")
        ]
        lines.append(f"| {kind} | {figures['kills']} | {' | '.join(cells)} |")
    lines += [
        "",
        "Median, and the largest in brackets. A killed runner costs what it would have played",
        "until another takes its place; a killed driver costs the iterations since the checkpoint.",
        "",
        "| process | looked at | memory, MB | growth per 1,000 iterations | handles | growth |",
        "|---|---|---|---|---|---|",
    ]
    for kind, figures in summary["growth"].items():
        cells = []
        for name in QUANTITIES:
            rate = figures[name]["per 1000 iterations"]
            error = figures[name]["standard error"]
            cells += [f"{figures[name]['last']:.0f}", f"{rate:+.2f} ± {error:.2f}"]
        lines.append(f"| {kind} | {figures['looks']} | {' | '.join(cells)} |")
    lines += [
        "",
        f"The first {WARM_UP:.0%} of each process's life are left out; ± is one standard error.",
        "A growth of less than twice its error is none that was found.",
        "",
    ]
    path.write_text("\n".join(lines))


def _span(values: Sequence[float]) -> str:
    return " to ".join(f"{value:.0f}" for value in values) or "no"


def _median(values: Sequence[float]) -> str:
    return f"{values[0]:.3g} ({values[1]:.3g})" if values else "-"
