"""Cloning and adversarial imitation as tables, and the benchmark that compares their gaps."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rllib_amagail.equilibrium import (
    TabularEpisodes,
    clone,
    gains,
    imitate,
    occupancy_measures,
    sample_episodes,
    solve_spe,
)
from rllib_amagail.equilibrium.imitation import Phi
from rllib_amagail.equilibrium.library import centipede, coordination

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))  # scripts, in no package
benchmark = importlib.import_module("equilibrium")

PHI = 3  # of coordination's actions


def three_rounds() -> TabularEpisodes:
    """In state 0: the first agent puts on colour 1, keeps it, is absent; the second never acts."""
    actions = np.array([[[2, PHI], [0, PHI], [PHI, PHI]]])
    return TabularEpisodes(np.zeros((1, 3), dtype=np.int64), actions, 4, (3, 3))


def test_cloning_counts_turns_only_if_phi_is_filtered() -> None:
    first, second = clone(coordination(), three_rounds(), "filtered").policies
    assert first[0] == pytest.approx([1 / 2, 0, 1 / 2])
    assert first[1] == pytest.approx([1 / 3] * 3)  # never seen
    assert second[0] == pytest.approx([1 / 3] * 3)


def test_phi_as_an_action_does_nothing_on_a_turn() -> None:
    first, second = clone(coordination(), three_rounds(), "chosen").policies
    assert first[0] == pytest.approx([1 / 3 + 1 / 3, 0, 1 / 3])  # φ keeps the colour
    assert first[1] == pytest.approx([1 / 4 + 1 / 4, 1 / 4, 1 / 4])
    assert second[0] == pytest.approx([1, 0, 0])


def test_what_cannot_be_learned_from_is_refused() -> None:
    for learn in (clone, imitate):
        with pytest.raises(ValueError, match=r"episodes have \(states, actions\) \(4, \(3, 3"):
            learn(centipede(), three_rounds(), "filtered")
        with pytest.raises(ValueError, match="phi is 'executed', expected one of"):
            learn(coordination(), three_rounds(), "executed")
    with pytest.raises(ValueError, match=r"agents \[1\] never act in the episodes"):
        imitate(coordination(), three_rounds(), "filtered")


def test_amagail_finds_the_experts_measure_and_magail_does_not() -> None:
    game = coordination()
    spe = solve_spe(game)
    episodes = sample_episodes(game, spe, 300, 60, np.random.default_rng(0))
    amagail, magail = (imitate(game, episodes, phi).policies for phi in ("filtered", "chosen"))
    for i, expert in enumerate(occupancy_measures(game, spe)):
        off = [
            abs(occupancy_measures(game, each)[i] - expert).sum() / expert.sum()
            for each in (amagail, magail)
        ]
        assert off[0] < 0.01  # of at most 2
        assert off[1] > 0.05
    assert gains(game, amagail).max() < 0.05 < gains(game, magail).max()


@pytest.mark.parametrize("phi", ["filtered", "chosen"])
def test_names_of_actions_do_not_matter(phi: Phi) -> None:
    """Keeping one's colour, the null action, is action 0 or action 2; the rest is the same."""
    game = coordination()
    order = [1, 2, 0, PHI]
    renamed = replace(
        game,
        transitions=game.transitions[:, order][:, :, order],
        rewards=game.rewards[:, :, order][:, :, :, order],
        null_actions=(2, 2),
    )
    episodes = sample_episodes(game, solve_spe(game), 5, 20, np.random.default_rng(0))
    same = replace(episodes, actions=np.argsort(order)[episodes.actions])
    for learn in (clone, imitate):
        ours = learn(game, episodes, phi).policies
        theirs = learn(renamed, same, phi).policies
        for one, other in zip(ours, theirs, strict=True):
            assert one[:, order[:-1]] == pytest.approx(other, abs=1e-6)


def test_the_example_of_the_docs_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parent.parent / "docs" / "equilibrium.md").read_text()
    exec(page.split("```python\n")[1].split("```")[0], {})
    assert "SubgamePerfection(everywhere=Gap(largest=0." in capsys.readouterr().out


def test_quick_benchmark_writes_what_it_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gaps.json"
    benchmark.main(["--quick", "--games", "centipede", "--json", str(file)])
    written = json.loads(file.read_text())
    shown = capsys.readouterr().out
    assert {row["game"] for row in written["rows"]} == {"centipede"}
    expert, *others = [r for r in written["rows"] if r["trembles"] == 0.0]
    assert expert["method"] == "the experts"
    assert expert["gaps"]["everywhere_largest"] == pytest.approx([0.0] * len(written["seeds"]))
    for row in (expert, *others):
        assert row["method"] in shown
        mean = np.mean(row["gaps"]["on_path_mean"])
        assert f"{mean:.3f}" in shown
