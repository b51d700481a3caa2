"""Examples and tuned configs run, the demo included; so the documents stay true."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from rllib_amagail import AMAGAILConfig, Demonstrations
from rllib_amagail.experts import expert_policies, record_policies
from rllib_amagail.games import GAME_NAMES
from rllib_amagail.games.reference_scores import reference_scores

ROOT = Path(__file__).parent.parent
PAPER_GAMES = [name for name in GAME_NAMES if not name.startswith("synchronous")]


def load(path: Path) -> ModuleType:
    """Import a file that is in no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("ray_session")
class TestExamples:
    def test_the_readmes_example_imitates(self, tmp_path: Path) -> None:
        arguments = ["--iterations", "2", "--output", str(tmp_path / "imitated")]
        assert load(ROOT / "examples" / "imitate.py").main(arguments) > 0.8
        assert (tmp_path / "imitated" / "rewards" / "agent_3.safetensors").is_file()

    def test_experts_are_cloned_without_an_environment(self) -> None:
        arguments = ["--iterations", "3"]
        accuracy, score = load(ROOT / "examples" / "behaviour_cloning.py").main(arguments)
        assert accuracy > 0.5  # one of five actions by chance
        scale = reference_scores("stochastic_cooperative_navigation")
        assert scale is not None
        assert scale.normalised(score) > 0.8

    def test_a_scripted_expert_is_recorded_and_cloned(self, tmp_path: Path) -> None:
        arguments = ["--episodes", "40", "--output", str(tmp_path / "recorded")]
        script = load(ROOT / "examples" / "record_demonstrations.py")
        expert, accuracy = script.main(arguments)
        scale = reference_scores(script.GAME)
        assert scale is not None
        assert scale.normalised(expert) > 0.8
        assert accuracy > 0.5  # one of five actions by chance
        config = AMAGAILConfig().environment(script.GAME)
        config.imitation(demonstrations=tmp_path / "recorded").validate()

    def test_couriers_learn_from_a_scripted_expert(self, tmp_path: Path) -> None:
        arguments = ["--iterations", "4", "--output", str(tmp_path / "couriers.parquet")]
        learned, expert = load(ROOT / "examples" / "your_own_game.py").main(arguments)
        assert learned > 0.7 * expert

    def test_experts_are_trained_saved_recorded_and_measured(self, tmp_path: Path) -> None:
        game = "stochastic_predator_prey"
        arguments = [game, "--rounds", "1", "--episodes", "3", "--output", str(tmp_path)]
        arguments += ["--work", str(tmp_path / "work")]
        script = load(ROOT / "examples" / "make_experts.py")
        script.main(arguments)
        recorded = Demonstrations.load(tmp_path / f"{game}.parquet")
        assert recorded.num_episodes == 3
        policies = expert_policies(game, tmp_path / "experts")
        again = record_policies(game, policies, 3)
        for agent, record in recorded.records.items():
            np.testing.assert_array_equal(record.action, again.records[agent].action)
        scale = json.loads((tmp_path / "reference_scores.json").read_text())["games"][game]
        random = scale["random"]
        assert set(random["returns"]) == {"adversary_1", "adversary_2", "adversary_3", "agent_1"}
        assert random["score"] == random["returns"]["agent_1"]
        # A second run trains nothing again.
        trained = sorted((tmp_path / "work").rglob("*"))
        times = [path.stat().st_mtime_ns for path in trained]
        script.main(arguments)
        assert [path.stat().st_mtime_ns for path in trained] == times

    @pytest.mark.slow
    @pytest.mark.parametrize("way", ["optuna", "asha", "pbt"])
    def test_a_search_tells_the_best_of_its_trials(self, tmp_path: Path, way: str) -> None:
        arguments = ["--with", way, "--num-samples", "2", "--iterations", "1"]
        found = load(ROOT / "examples" / "search.py").main([*arguments, "--output", str(tmp_path)])
        assert found["value"] > -60  # random play
        assert {"lr", "bc_anchor"} <= found["config"].keys()
        assert (tmp_path / way / "best_trial.json").is_file()

    @pytest.mark.slow
    def test_tic_tac_toe_is_learned_without_illegal_moves(self) -> None:
        arguments = ["--demonstrations", "300", "--iterations", "2", "--games", "60"]
        matches = load(ROOT / "examples" / "board_games.py").main(arguments)
        assert all(match.illegal_moves == 0 for match in matches.values())
        assert matches["expert", "AMAGAIL"].losses == 0
        # Random players lose 44% of the games among themselves, half of them in either seat.
        assert matches["AMAGAIL", "random"].losses < 20

    @pytest.mark.slow
    def test_both_sides_learn_from_recordings_of_one(self) -> None:
        earned = load(ROOT / "examples" / "one_side.py").main(["--iterations", "50"])
        # Halfway from aimless to perfect play at least, on either side.
        perfect = earned["perfect pursuer, perfect evader"]
        middle = (perfect + earned["aimless pursuer, perfect evader"]) / 2
        assert earned["learned pursuer, perfect evader"] > middle
        middle = (perfect + earned["perfect pursuer, aimless evader"]) / 2
        assert earned["perfect pursuer, learned evader"] < middle

    def test_the_demo_leaves_everything_it_promises(self, tmp_path: Path) -> None:
        arguments = ["--iterations", "2", "--demonstrations", "20", "--episodes", "50"]
        load(ROOT / "examples" / "demo.py").main([*arguments, "--output", str(tmp_path)])
        rows = json.loads((tmp_path / "results.json").read_text())
        assert [row["method"] for row in rows] == [
            "random",
            "BC (phi an action)",
            "BC (phi filtered)",
            "AMAGAIL",
            "AMAGAIL (from scratch)",
            "expert",
        ]
        assert all({"score", "normalised", "seconds"} <= row.keys() for row in rows)
        by_method = {row["method"]: row["normalised"] for row in rows}
        assert by_method["random"] < 0.2 < by_method["BC (phi an action)"]
        assert by_method["AMAGAIL"] > 0.7
        assert Image.open(tmp_path / "learning_curve.png").size[0] > 500
        assert Image.open(tmp_path / "learned_policies.gif").n_frames == 100
        for name in ("policies/agent_1.json", "rewards/agent_1.json", "checkpoint"):
            assert (tmp_path / name).exists()


@pytest.mark.parametrize("game", PAPER_GAMES)
def test_every_game_has_a_tuned_config(game: str) -> None:
    tuned = load(ROOT / "tuned_configs" / f"{game}.py")
    assert isinstance(tuned.config, AMAGAILConfig)
    assert tuned.config.env == game
    assert tuned.stop
    assert 0 < tuned.expected["normalised_score"] <= 1.1
    tuned.config.copy(copy_frozen=False).validate()


@pytest.mark.parametrize("game", PAPER_GAMES)
def test_bundled_demonstrations_are_the_experts(game: str) -> None:
    demonstrations = AMAGAILConfig().environment(game).load_demonstrations()
    assert demonstrations.game == game
    assert demonstrations.num_episodes >= 200
    assert set(demonstrations.episode_lengths()) == {50}
    scale = reference_scores(game)
    assert scale is not None
    returns = {
        agent: float(np.sum(record.reward)) / demonstrations.num_episodes
        for agent, record in demonstrations.records.items()
    }
    assert 0.9 < scale.normalised(scale.score(returns)) < 1.1


def test_random_play_is_the_zero_of_the_scale() -> None:
    from rllib_amagail.evaluation import play_episodes, random_policy

    for game in PAPER_GAMES:
        scale = reference_scores(game)
        assert scale is not None
        players = expert_policies(game) | dict.fromkeys(scale.scored_agents, random_policy)
        played = play_episodes(game, players, 500, seed=1)
        scores = scale.score(played.returns())
        assert abs(scale.normalised(scores.mean())) < 0.1


def test_paths_in_the_documents_exist() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = document.read_text()
        for path in re.findall(r"`((?:examples|tuned_configs|docs|tests)/[\w/.]+)`", text):
            assert (ROOT / path).exists(), f"{document.name} names {path}"
        for path in re.findall(r"\]\((?!http)([\w/.]+)\)", text):
            assert (document.parent / path).exists(), f"{document.name} links {path}"


def test_the_readmes_python_is_valid() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for code in re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL):
            compile(code, document.name, "exec")
