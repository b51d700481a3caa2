"""The study of regimes: its data, its controls, and what its report calls apart."""

from __future__ import annotations

import importlib
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rllib_amagail import AMAGAILConfig

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # scripts, in no package
cells = importlib.import_module("regimes_cells")
cloning = importlib.import_module("regimes_cloning")
results = importlib.import_module("paper_results")
regimes = importlib.import_module("regimes")
report = importlib.import_module("regimes_report")
run = importlib.import_module("regimes_run")
settings = importlib.import_module("regimes_settings")

REACHING = cells.REACHING


def line(cell: Any, score: float, **more: Any) -> dict[str, Any]:
    """A finished cell's line."""
    described = settings.settings_of(cell, settings.QUICK)
    origin = {"machine": "a machine", "commit": "abc", "turns_per_agent": 12.0}
    return {**cell.to_dict(), "normalised": score, "settings": described, **origin, **more}


def lines(scores: dict[str, list[float]]) -> dict[Any, dict[str, Any]]:
    """Lines of one regime, one per method and seed."""
    found = {}
    for method, values in scores.items():
        for seed, score in enumerate(values):
            cell = cells.Cell("every_20th_10", REACHING, method, seed)
            found[cell] = line(cell, score)
    return found


def test_every_seed_has_a_recording_of_its_own() -> None:
    regime = cells.REGIMES["every_20th_10"]
    first, again, other = (regime.demonstrations(REACHING, seed) for seed in (0, 0, 1))
    turns = [part.records["agent_1"] for part in (first, again, other)]
    np.testing.assert_array_equal(turns[0].observation, turns[1].observation)
    assert turns[0].observation[0].tolist() != turns[2].observation[0].tolist()
    assert first.num_episodes == 10
    assert first.turns_kept_every == 20
    assert all(10 <= record.num_turns <= 30 for record in first.records.values())


def test_long_episodes_are_long() -> None:
    regime = cells.REGIMES["long_5"]
    lengths = regime.demonstrations(REACHING, 0).episode_lengths()
    assert len(lengths) == 5
    assert lengths.min() > 150  # of 200 rounds; the last turn that was kept is a bit earlier


def test_seeds_come_last_in_no_cell() -> None:
    wanted = list(cells.cells(regimes=["whole_1"], methods=["BC", "zero_reward"], seeds=[4, 7]))
    assert [(cell.seed, cell.game, cell.method) for cell in wanted[:3]] == [
        (4, cells.STOCHASTIC, "BC"),
        (4, cells.STOCHASTIC, "zero_reward"),
        (4, REACHING, "BC"),
    ]
    assert len(wanted) == 8


def test_shuffled_actions_are_the_same_actions_elsewhere() -> None:
    whole = cells.REGIMES["whole_1"].demonstrations(REACHING, 0)
    shuffled = run._shuffled(whole, np.random.default_rng(0))
    for agent, record in whole.records.items():
        found = shuffled.records[agent]
        turns = record.participates
        assert sorted(found.action[turns]) == sorted(record.action[turns])
        assert (found.action[turns] != record.action[turns]).any()
        assert not found.action[~turns].any()
        np.testing.assert_array_equal(found.observation, record.observation)


def test_the_control_differs_in_the_reward_only() -> None:
    ours, control = (
        settings.imitation_settings(cells.Cell("every_20th_10", REACHING, method, 0))
        for method in ("AMAGAIL_scratch", "zero_reward")
    )
    assert control == {**ours, "reward_source": "zero"}


def test_cells_of_other_settings_are_run_again() -> None:
    cell = cells.Cell("whole_1", REACHING, "AMAGAIL_scratch", 0)
    done = line(cell, 0.5)
    now = partial(settings.settings_of, lengths=settings.QUICK)
    assert results.finished([done], [cell], now) == {cell: done}
    longer = partial(settings.settings_of, lengths=settings.Lengths())
    assert results.finished([done], [cell], longer) == {}


def test_settings_say_what_a_run_depends_on() -> None:
    def described(method: str) -> dict[str, Any]:
        cell = cells.Cell("long_5", REACHING, method, 0)
        return settings.settings_of(cell, settings.QUICK)

    ours, cloning = described("AMAGAIL_scratch"), described("BC")
    for each in (ours, cloning):
        assert {"scale", "evaluation", "model_config", "gradient_penalty"} <= each.keys()
        assert each["recording"] == {
            "episodes": 5,
            "kept_every": 20,
            "horizon": 200,
            "first_seed": 1000,
        }
    assert ours["discriminator_input_noise"] == 0.5
    assert (cloning["bc_steps"], cloning["iterations"], cloning["lr"]) == (1000, 0, 1e-3)
    assert described("BC_weight_decay") == {**cloning, "weight_decay": 1.0}


def test_the_report_shows_the_seeds_of_earlier_runs(tmp_path: Path) -> None:
    file = results.JsonLines(tmp_path / "results.jsonl")
    for seed in (0, 3):
        file.append(line(cells.Cell("every_20th_10", REACHING, "BC", seed), 0.5))
    arguments = ["--quick", "--report-only", "--seeds", "0", "--output", str(tmp_path)]
    assert regimes.main(arguments) == 0
    assert "2 cells, seeds [0, 3]" in (tmp_path / "README.md").read_text()


def test_the_best_of_the_cloning_variants_counts() -> None:
    found = lines({"BC": [0.1, 0.2], "BC_weight_decay": [0.3, 0.4], "BC_early_stopped": [0.0, 0.9]})
    best = report.values(found, "every_20th_10", REACHING, "best BC")
    assert best.tolist() == [0.0, 0.9]  # its mean is the highest


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        ([0.8, 0.82, 0.84, 0.86, 0.9], "apart: AMAGAIL"),
        ([0.4, 0.5, 0.6, 0.7, 0.8], "not apart"),
        ([0.1, 0.1, 0.2, 0.2, 0.3], "apart: BC"),
        ([0.8], "–"),  # noqa: RUF001
    ],
)
def test_intervals_that_overlap_are_not_apart(ours: list[float], verdict: str) -> None:
    found = lines({"BC": [0.5, 0.55, 0.6, 0.6, 0.65], "AMAGAIL_scratch": ours})
    assert report.score_table(found).splitlines()[-1].endswith(f"| {verdict} |")


def test_the_report_fills_the_page_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    found = lines({"BC": [0.5, 0.6], "AMAGAIL_scratch": [0.8, 0.9]})
    report.write_report(found, tmp_path / "out", page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "0.850 [0.800, 0.900]" in text
    assert "old" not in text
    assert (tmp_path / "out" / "regimes.png").stat().st_size > 10_000
    report.write_report(found, tmp_path / "out", page)
    assert page.read_text() == text


def few_steps(steps: int) -> AMAGAILConfig:
    """Settings of behaviour cloning."""
    return AMAGAILConfig().imitation(bc_steps=steps).debugging(seed=0)


@pytest.mark.parametrize("variant", cells.BC_VARIANTS)
def test_every_cloning_variant_learns_to_choose(
    variant: str,
) -> None:
    demonstrations = cells.REGIMES["whole_2"].demonstrations(REACHING, 0)
    policies = cloning.cloned_policies(demonstrations, variant, few_steps(60))
    record = demonstrations.records["agent_1"].turns()
    rng = np.random.default_rng(0)
    hits = np.mean(
        [policies["agent_1"](record.observation.copy(), rng) == record.action for _ in range(9)]
    )
    assert hits > 0.45  # 0.2 at random


@pytest.mark.parametrize("variant", cells.BC_VARIANTS)
def test_cloning_takes_the_steps_that_are_declared(
    variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda optimizer, *args: steps.append(len(optimizer.state))
    )
    demonstrations = cells.REGIMES["whole_1"].demonstrations(REACHING, 0)
    cloning.cloned_policies(demonstrations, variant, few_steps(40))
    assert len(steps) == 40 * len(demonstrations.agents)


def test_the_early_stop_judges_all_held_out_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[int] = []

    def worse_and_worse(module: Any, rows: Any) -> dict[str, float]:
        judged.append(len(rows))
        return {cloning.LOSS: float(len(judged))}

    monkeypatch.setattr(cloning, "measure_fit", worse_and_worse)
    demonstrations = cells.REGIMES["whole_50"].demonstrations(REACHING, 0)
    rows = demonstrations.records["agent_1"].turns()
    early = cloning.cloned_policies(demonstrations, "BC_early_stopped", few_steps(40))
    monkeypatch.undo()
    at_first = cloning.cloned_policies(demonstrations, "BC", few_steps(0))
    assert judged[:3] == [round(0.2 * rows.num_turns)] * 3  # before, and after every 20 steps
    # The first iterate stays: it was the best.
    chosen = [
        policies["agent_1"](rows.observation.copy(), np.random.default_rng(0))
        for policies in (early, at_first)
    ]
    np.testing.assert_array_equal(*chosen)
