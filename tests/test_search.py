"""The search behind the study's settings: what is tried, how it is judged, and its page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rllib_amagail.experts import expert_policies
from tests.study_samples import Cell, cells, described, line_of, search, settings, trial

PREDATOR_PREY = "stochastic_predator_prey"


def test_no_run_of_the_study_uses_the_searchs_seeds() -> None:
    assert not {c.seed for c in search.cells()} & {c.seed for c in cells.FULL_GRID.cells()}
    assert len(list(search.cells())) == 2 * (6 + 4)


@pytest.mark.parametrize(("method", "variant"), sorted(cells.VARIANTS.items()))
def test_a_variant_differs_from_its_method_in_what_it_says(
    method: str, variant: tuple[str, dict[str, float]]
) -> None:
    base, changes = variant
    lengths = settings.FULL_LENGTHS
    default = described(Cell(PREDATOR_PREY, base, 200, 100), lengths)
    own = described(Cell(PREDATOR_PREY, method, 200, 100), lengths)
    assert {key: value for key, value in own.items() if default.get(key) != value} == changes


def test_sides_are_judged_against_the_experts() -> None:
    experts = expert_policies(PREDATOR_PREY)

    def stands_still(observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.zeros(len(observations), dtype=np.int64)

    def judged(policies: dict[str, Any]) -> dict[str, float]:
        return trial.against_experts(PREDATOR_PREY, policies, 20)["against_experts"]

    good = settings.scale_of(PREDATOR_PREY).scored_agents[0]
    same = judged(experts)
    assert same["agent"] == same["adversaries"]  # experts against experts, in the same worlds
    idle_agent = judged({**experts, good: stands_still})
    assert idle_agent["agent"] < same["agent"] - 10
    assert idle_agent["adversaries"] == same["adversaries"]
    idle_adversaries = judged({**dict.fromkeys(experts, stands_still), good: experts[good]})
    assert idle_adversaries["adversaries"] > same["adversaries"] + 10
    assert idle_adversaries["agent"] == same["agent"]


def test_the_page_shows_both_sides_and_every_seed() -> None:
    def line(method: str, seed: int, agent: float, adversaries: float) -> tuple[Any, Any]:
        cell = Cell(PREDATOR_PREY, method, 200, seed)
        returns = {"agent": agent, "adversaries": adversaries}
        return cell, line_of(cell) | {"against_experts": returns}

    scratch = Cell(search.SCRATCH_GAME, "AMAGAIL_scratch", 50, 101)
    lines = dict(
        [
            line("AMAGAIL_steps_8", 100, -20.0, -40.0),
            line("AMAGAIL_steps_8", 101, -22.0, -41.0),
            (scratch, line_of(scratch) | {"normalised": 0.97}),
        ]
    )
    text = search.page(lines, settings.FULL_LENGTHS)
    assert "| 8 discriminator steps | -40.5 (-40.0, -41.0) | -21.0 (-20.0, -22.0) |" in text
    assert "| 8, chosen | – | 0.970 |" in text  # noqa: RUF001
