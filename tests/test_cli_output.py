"""What the console script tells: errors, progress, reports and evaluations."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from rllib_amagail.cli import evaluate, progress
from rllib_amagail.cli.errors import first_error_line, one_line, suggestion
from rllib_amagail.cli.evaluate import Evaluation, episode_returns
from rllib_amagail.cli.progress import ProgressLines
from rllib_amagail.cli.report import report


def test_errors_in_one_line() -> None:
    assert one_line(ValueError("a\n  b")) == "a b"
    assert one_line(KeyError("a")) == "KeyError: 'a'"
    assert suggestion("ppo", ["PPO", "SAC"]) == "; did you mean 'PPO'?"
    assert suggestion("xyz", ["PPO"]) == "."
    chained = (
        "ray::train() (pid=1)\n  File 'a.py', line 1\n    raise Boom()\nmine.Boom: first\n\n"
        "The above exception was the direct cause of the following exception:\n\n"
        "  File 'b.py', line 2\n    raise RuntimeError from e\nRuntimeError\n"
    )
    assert first_error_line(chained) == "mine.Boom: first"
    assert first_error_line("the actor died\nmore") == "the actor died"
    assert first_error_line(f"{chained}\nFloatingPointError: loss not finite\n").startswith("Floa")
    own = f"{chained}\nrllib_amagail.runners.env_faults.EnvironmentFaultError: environment 'x': y"
    assert first_error_line(own) == "EnvironmentFaultError: environment 'x': y"


def test_progress_is_a_line_every_five_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ProgressLines("score", ["training_iterations"], every_result=False)
    lines.setup(total_num_samples=1)
    trial = SimpleNamespace(trial_id="t", experiment_tag="0")
    for second in (0, 2, 4, 6, 7):  # 2 and 4 are too early, 7 is the end
        clock = SimpleNamespace(monotonic=lambda now=second: float(now))
        monkeypatch.setattr(progress, "time", clock)
        result = {"training_iteration": second, "score": -1.5, "done": second == 7}
        lines.on_trial_result(0, [], trial, result)
    out, err = capsys.readouterr()
    header, *rows = [line.split() for line in out.splitlines()]
    assert header == ["iteration", "rounds", "seconds", "score", "normalised"]
    assert rows == [[iteration, "-", "-", "-1.50", "-"] for iteration in "067"]
    assert "'training_iterations' yet; did you mean 'training_iteration'" in err


def test_progress_tells_a_trials_settings_when_they_change(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = ProgressLines("score", [], every_result=True, searched=["lr", "_model_config"])
    lines.setup(total_num_samples=2)
    tag = "3_lr=0.0012,model_config=a,too=long"
    for lr in (0.00123456, 0.00123456, 0.5):
        config = {"lr": lr, "_model_config": "a", "gamma": 0.9}
        trial = SimpleNamespace(trial_id="t", experiment_tag=tag, config=config)
        lines.on_trial_result(0, [], trial, {"score": 1.0})
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("trial 3: ")]
    assert told == ["trial 3: lr 0.001235, model_config a", "trial 3: lr 0.5, model_config a"]


def finished_trial(score: float, path: str, **values: Any) -> SimpleNamespace:
    """Looks like a `ray.tune.Result` with one checkpoint."""
    checkpoint = SimpleNamespace(path=path)
    usual = {"metrics": {"done": True}, "error": None, "path": "trial"}
    scored = [(checkpoint, {"score": score})]
    return SimpleNamespace(checkpoint=checkpoint, best_checkpoints=scored, **{**usual, **values})


class Trials(list):
    experiment_path = "/r/a run"


def test_the_report_tells_the_best_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    scores = {"/r/z": np.nan, "/r/x": -2.0, "/r/y": -1.0}
    trials = Trials([finished_trial(score, path) for path, score in scores.items()])
    assert report(trials, "score", "rllib train") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["Results: /r/a run", "Best checkpoint (score -1.00): /r/y"]
    assert lines[-1] == "Evaluate with: rllib evaluate /r/y"


def test_the_report_tells_failures_and_interruptions(capsys: pytest.CaptureFixture[str]) -> None:
    failed = finished_trial(0.0, "/r/x", error=RuntimeError("  f()\nKeyError: 'x'\n"))
    assert report(Trials([failed]), "score", "rllib train") == 1
    assert "error: a trial failed: KeyError: 'x'\n" in capsys.readouterr().err
    stopped = finished_trial(0.0, "/r/x", metrics={"done": False})
    assert report(Trials([failed, stopped]), "score", "rllib train --algo A") == 130
    resume = "Interrupted; resume with: rllib train --algo A --resume '/r/a run'\n"
    assert capsys.readouterr().out.endswith(resume)


def single(agent: str, rewards: list[float], episode: str, done: bool = True) -> SingleAgentEpisode:
    return SingleAgentEpisode(
        agent_id=agent,
        multi_agent_episode_id=episode,
        observations=[0] * (len(rewards) + 1),
        actions=[0] * len(rewards),
        rewards=rewards,
        truncated=done,
        len_lookback_buffer=0,
    )


def test_returns_of_flat_and_of_nested_episodes() -> None:
    flat = [
        single("a", [1.0, 2.0], "first"),
        single("b", [5.0], "second"),
        single("b", [4.0], "first"),
        single("a", [9.0], "cut", done=False),
    ]
    assert episode_returns(flat) == [{"a": 3.0, "b": 4.0}, {"b": 5.0}]
    nested = MultiAgentEpisode(agent_module_ids={"a": "a", "b": "b"})
    nested.add_env_reset(observations={"a": 0, "b": 0})
    for over in (False, True):
        nested.add_env_step(
            observations={"a": 0, "b": 0},
            actions={"a": 0, "b": 0},
            rewards={"a": 1.0, "b": -1.0},
            truncateds={"__all__": over},
            terminateds={"__all__": False},
        )
        assert episode_returns([nested]) == ([{"a": 2.0, "b": -2.0}] if over else [])


def test_an_evaluation_is_a_table_and_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "normalised", lambda found, game: found / 10)
    result = Evaluation("any", {"a": np.array([1.0, 3.0]), "b": np.array([5.0, 5.0])}, scale="")
    lines = [line.split() for line in result.table().splitlines()]
    assert lines[1:4] == [
        ["a", "2.00", "±", "1.00"],
        ["b", "5.00", "±", "0.00"],
        ["score", "3.50", "±", "0.50"],  # of (1 + 5) / 2 and (3 + 5) / 2
    ]
    assert lines[4][-1] == "0.350"
    assert json.loads(json.dumps(result.to_dict())) == {
        "environment": "any",
        "episodes": 2,
        "agents": {
            "a": {"mean": 2.0, "std": 1.0, "returns": [1.0, 3.0]},
            "b": {"mean": 5.0, "std": 0.0, "returns": [5.0, 5.0]},
        },
        "score": {"mean": 3.5, "std": 0.5},
        "normalised_score": 0.35,
    }
