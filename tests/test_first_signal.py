"""The game of memory, its expert, its example and its benchmark."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from rllib_amagail.games.first_signal import (
    LONG_AWAY,
    NUM_SIGNALS,
    REPORT,
    FirstSignal,
    first_signal_demonstrations,
)
from rllib_amagail.testing import BatchedWorldsContract
from tests.test_examples import ROOT, load


class TestFirstSignal(BatchedWorldsContract):
    num_rounds = 30

    def make_worlds(self, batch_size: int, seed: int) -> FirstSignal:
        return FirstSignal(batch_size, seed)


def test_experts_give_their_signal_back_or_report() -> None:
    demonstrations = first_signal_demonstrations(200, seed=3)
    for record in demonstrations.records.values():
        turns = record.turns()
        first = np.diff(turns.episode, prepend=-1) != 0
        signal = turns.observation[first].argmax(axis=1)
        assert (turns.observation[first].sum(axis=1) == 1).all()
        assert not turns.observation[~first].any()  # the signal is shown once
        elapsed = np.diff(turns.round, prepend=0)
        own = np.repeat(signal, np.diff(np.append(np.flatnonzero(first), len(first))))
        expected = np.where(~first & (elapsed >= LONG_AWAY), REPORT, own)
        np.testing.assert_array_equal(turns.action, expected)
        assert turns.reward is not None
        assert (turns.reward == 1).all()
        assert set(turns.action) == set(range(NUM_SIGNALS + 1))


def test_only_right_actions_of_participants_earn() -> None:
    worlds = FirstSignal(100, seed=0)
    worlds.reset()
    wrong = np.arange(100) % 2 == 0
    acted = worlds.participation.copy()
    actions = (worlds.expert_actions + wrong[:, None]) % (NUM_SIGNALS + 1)
    np.testing.assert_array_equal(worlds.step(actions).rewards, acted & ~wrong[:, None])


@pytest.mark.usefixtures("ray_session")
@pytest.mark.slow
def test_memory_pays_in_the_example() -> None:
    scores = load(ROOT / "examples" / "memory_game.py").main(["--iterations", "1"])
    assert scores["sees its last 4 turns"] > scores["sees the present only"] + 0.5
    assert scores["has an LSTM"] > scores["sees the present only"] + 0.5


def test_the_benchmark_reports_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    script = load(ROOT / "benchmarks" / "history.py")
    cells = list(script.cells(quick=False, seeds=[0, 1, 2]))
    assert len(cells) == len(script.VARIANTS) * 2 * 3
    lines = [
        {**cell, "bc": 0.25 * cell["seed"], "amagail": 0.5, "machine": "m", "commit": "c"}
        for cell in cells
    ]
    text = script.page(lines)
    assert "| 4 past turns | 10 | 3 | 0.25 (0.00 to 0.50) | 0.50 (0.50 to 0.50) |" in text
