"""The experts of the package, recordings of them, and the benchmark that describes them."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import rllib_amagail
from rllib_amagail import Demonstrations
from rllib_amagail.demonstrations import bundled_path
from rllib_amagail.experts import BLOCK, expert_demonstrations, expert_policies
from rllib_amagail.games import GAME_NAMES, make_game
from rllib_amagail.games.reference_scores import reference_scores

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))  # scripts, in no package
benchmark = importlib.import_module("experts")

PAPER_GAMES = [name for name in GAME_NAMES if not name.startswith("synchronous")]


def assert_equal(found: Demonstrations, expected: Demonstrations) -> None:
    """The same rows; machines may round observations and rewards differently."""
    assert found.agents == expected.agents
    assert found.player_function == expected.player_function
    for agent, record in expected.records.items():
        for name, array in record.columns(slice(None)).items():
            column = getattr(found.records[agent], name)
            if name in ("observation", "reward"):
                np.testing.assert_allclose(column, array, atol=1e-5)
            else:
                np.testing.assert_array_equal(column, array)


@pytest.mark.parametrize("game", PAPER_GAMES)
def test_bundled_demonstrations_are_the_first_of_a_recording(game: str) -> None:
    path = bundled_path(game)
    assert path is not None
    bundled = Demonstrations.load(path)
    assert bundled.num_episodes == 200
    assert set(bundled.episode_lengths()) == {50}
    assert_equal(bundled, expert_demonstrations(game, 200))


@pytest.mark.parametrize("game", PAPER_GAMES)
def test_experts_score_what_is_written_down(game: str) -> None:
    recorded = expert_demonstrations(game, 1000, seed=5)
    scale = reference_scores(game)
    assert scale is not None
    scores = scale.score(
        {a: r.reward.reshape(1000, 50).sum(axis=1) for a, r in recorded.records.items()}
    )
    # Two means of 1,000 episodes: five standard errors of their difference.
    allowed = 5 * scores.std() * np.sqrt(2 / 1000)
    assert abs(scores.mean() - scale.expert) < allowed


def test_fewer_episodes_are_the_first_of_more() -> None:
    game = "stochastic_predator_prey"
    more = expert_demonstrations(game, BLOCK + 3, seed=7)
    assert more.num_episodes == BLOCK + 3
    assert_equal(expert_demonstrations(game, BLOCK + 1, seed=7), more.head(BLOCK + 1))


def test_seeds_and_blocks_differ() -> None:
    game = "stochastic_cooperative_navigation"
    first = expert_demonstrations(game, BLOCK + 1, seed=1).records["agent_1"].observation
    other = expert_demonstrations(game, 1, seed=2).records["agent_1"].observation
    assert not np.array_equal(first[:50], other)
    assert not np.array_equal(first[:50], first[-50:])


def test_non_participants_are_recorded_with_phi() -> None:
    recorded = expert_demonstrations("deterministic_cooperative_reaching", 2)
    pattern = recorded.records["agent_3"].participates[:6]
    np.testing.assert_array_equal(pattern, [True, False, False] * 2)


def test_a_game_without_experts_is_named() -> None:
    with pytest.raises(ValueError, match="'synchronous_predator_prey', expected one of determ"):
        expert_policies("synchronous_predator_prey")
    with pytest.raises(ValueError, match="num_episodes is 0"):
        expert_demonstrations(PAPER_GAMES[0], 0)


@pytest.mark.parametrize("game", PAPER_GAMES)
def test_expert_files_are_of_their_game(game: str) -> None:
    folder = Path(rllib_amagail.__file__).parent / "data" / "experts" / game / "policies"
    assert {path.stem for path in folder.glob("*.json")} == set(make_game(game).agents)
    for path in folder.glob("*.json"):
        assert json.loads(path.read_text())["provenance"]["environment"] == game
        assert path.with_suffix(".safetensors").stat().st_size < 100_000


def test_an_early_ending_saves_the_rounds_after_it() -> None:
    game = "stochastic_cooperative_navigation"
    score, rounds = benchmark.early_ending_score(game, expert_policies(game), 100)
    recorded = expert_demonstrations(game, 100)
    whole = sum(float(np.sum(r.reward)) for r in recorded.records.values()) / 300
    assert whole < score < 0
    assert 5 < rounds < 50


def test_cross_play_splits_the_good_agents_return() -> None:
    header, _, *rows = benchmark.cross_play_rows(50)
    assert "touches" in header
    numbers = {}
    for row in rows:
        hunters, prey, *cells = (cell.strip() for cell in row.strip("|").split("|"))
        numbers[hunters, prey] = [float(cell.split(" ± ")[0]) for cell in cells]
    for returned, touches, penalty in numbers.values():
        assert returned == pytest.approx(-10 * touches - penalty, abs=0.11)
    # Each side does better than random against the other side's experts.
    assert numbers["expert", "expert"][0] > numbers["expert", "random"][0]
    assert numbers["expert", "expert"][0] < numbers["random", "expert"][0]
