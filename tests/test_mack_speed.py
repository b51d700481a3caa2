"""The benchmark of MACK plays the rounds it says, and its bare loop learns."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
mack_speed = importlib.import_module("mack_speed")
sys.path.remove(str(BENCHMARKS))

pytestmark = pytest.mark.usefixtures("ray_session")


def test_a_tiny_run_reports_both() -> None:
    report = mack_speed.run(rounds=2000, seed=0, episodes=2)
    assert report["rounds"] == 2000
    for row in report["rows"].values():
        assert row["seconds"] > 0
        assert np.isfinite(row["normalised"])
    ours, bare = (report["rows"][name]["seconds"] for name in ("AMAGAIL", "bare loop"))
    assert report["ratios"]["seconds"] == pytest.approx(ours / bare)
    assert f"= {ours / bare:.2f} by the clock" in mack_speed.to_markdown(report)


def test_the_bare_loop_learns() -> None:
    config = mack_speed.mack_config(seed=0, rounds=20_000).training(lr=0.3)
    config.validate()
    loop = mack_speed.BareLoop(mack_speed.GAME, config, config.load_demonstrations(), seed=0)
    for _ in range(20):
        loop.iterate()
    # 0 is random play.
    assert mack_speed.normalised_score(mack_speed.bare_policies(loop), 20, seed=0) > 0.15
