"""The page of `scaling.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

_UNITS = {
    "play_s": ("a runner plays a round", 1e6, "µs"),
    "play_deviation": ("deviation of a runner's time for a batch", 100, "%"),
    "take_weights_s": ("a runner takes policies", 1e3, "ms"),
    "request_s": ("the driver asks one process", 1e6, "µs"),
    "result_s": ("the driver merges a runner's metrics", 1e6, "µs"),
    "pack_s": ("a megabyte of episodes is pickled", 1e9, "ms"),
    "unpack_s": ("a megabyte of episodes is unpickled", 1e9, "ms"),
    "update_s": ("a learner learns from a round", 1e6, "µs"),
    "episode_bytes": ("episodes, a round", 1, "bytes"),
    "result_bytes": ("a runner's metrics", 1e-3, "kB"),
    "weights_bytes": ("policies for inference", 1e-3, "kB"),
    "gradient_bytes": ("gradients to average in an iteration", 1e-6, "MB"),
    "gradient_steps": ("in so many steps", 1, ""),
    "bandwidth": ("assumed: a node's link, a second", 1e-6, "MB"),
    "latency_s": ("assumed: a message between nodes", 1e6, "µs"),
}
_SIMULATED_HEADING = (
    "runners",
    "learners",
    "ahead",
    "episodes",
    "seconds",
    "rounds/s",
    "driver",
    "runner",
    "learner",
)


def to_markdown(found: Mapping[str, Any]) -> str:
    """Tables of what was measured and of what was simulated."""
    lines = [
        "# Scaling",
        "",
        f"{found['machine']}; commit {found['commit']}; seed {found['seed']}; "
        f"{found['seconds']:.0f} s in all. Made by `{found['command']}`; what it means is in "
        "[docs/scaling.md](../docs/scaling.md).",
        "",
        "## Parts",
        f"Medians, of CPU time; {found['batch_size']:,} rounds an iteration.",
        "",
    ]
    lines += _table(
        ("part", "measured"),
        [
            (what, f"{found['parts'][name] * scale:,.3g} {unit}".strip())
            for name, (what, scale, unit) in _UNITS.items()
        ],
    )
    lines += [
        "",
        "## Measured",
        "Duration of an iteration against that of the first row, in the same repeat: median, "
        "smallest and largest. The batch in all is the same.",
        "",
    ]
    lines += _table(
        ("runners", "learners", "batches ahead", "ratio"),
        [
            (
                str(row["runners"]),
                str(row["learners"]) if row["learners"] else "0 (the driver)",
                str(row["batches_ahead"]),
                "{:.2f} ({:.2f} to {:.2f})".format(
                    median(row["ratios"]), min(row["ratios"]), max(row["ratios"])
                ),
            )
            for row in found["measured"]
        ],
    )
    lines += [
        "",
        "## Simulated",
        f"{found['batch_size']:,} rounds a learner. Shares of an iteration in which the driver, a "
        "runner and a learner work.",
        "",
    ]
    lines += _table(
        _SIMULATED_HEADING,
        [_simulated(row) for row in found["simulated"]],
    )
    largest = found["simulated"][-2]
    lines += ["", f"## Bytes of an iteration, {_size(largest)}", ""]
    lines += _table(
        ("message", "MB"), [(name, f"{n / 1e6:,.3g}") for name, n in largest["bytes"].items()]
    )
    return "\n".join(lines) + "\n"


def _simulated(row: Mapping[str, Any]) -> tuple[str, ...]:
    setting, schedule = row["setting"], row["schedule"]
    return (
        f"{setting['runners']:,}",
        str(setting["learners"]),
        str(setting["batches_ahead"]),
        "by reference" if setting["by_reference"] else "through the driver",
        f"{schedule['seconds']:.3g}",
        f"{row['rounds_a_second']:,.0f}",
        *(f"{schedule[who]:.0%}" for who in ("driver", "runners", "learners")),
    )


def _size(row: Mapping[str, Any]) -> str:
    return f"{row['setting']['runners']:,} runners and {row['setting']['learners']} learners"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(heading)} |", "|---" + "|---:" * (len(heading) - 1) + "|"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]
