"""Searches from the command line: how they are said, and what is checked before they start."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler, PopulationBasedTraining
from ray.tune.search.basic_variant import BasicVariantGenerator
from ray.tune.search.sample import Domain

from rllib_amagail.cli import search
from rllib_amagail.cli.best_trial import BEST_TRIAL_FILE
from rllib_amagail.cli.distributions import DISTRIBUTIONS, variants, with_distributions
from rllib_amagail.cli.errors import CommandError
from rllib_amagail.cli.experiment import Experiment
from rllib_amagail.cli.plan import Plan, make_plan
from rllib_amagail.cli.report import report
from tests.test_cli import GAME, SMALL, run
from tests.test_cli_output import Trials, finished_trial

LR = {"loguniform": [1e-5, 1e-3]}


def plan(config: dict[str, Any] | None = None, **options: Any) -> Plan:
    settings = {**SMALL, **({"lr": LR} if config is None else config)}
    return make_plan(Experiment(env=GAME, config=settings, **options))


# --- distributions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "numbers", "ends"),
    [
        ("uniform", [0, 2], [0, 2]),
        ("quniform", [0, 2, 0.5], [0, 2]),
        ("loguniform", [1e-5, 1e-3], [1e-5, 1e-3]),
        ("qloguniform", [0.1, 10, 0.1], [0.1, 10]),
        ("randint", [1, 9], [1, 8]),
        ("qrandint", [2, 9, 2], [2, 8]),
        ("lograndint", [1, 9], [1, 8]),
        ("choice", [1, "a", None], [1, "a", None]),
    ],
)
def test_distributions_are_said_like_grids(name: str, numbers: list[Any], ends: list[Any]) -> None:
    assert name in DISTRIBUTIONS
    described = with_distributions({"outer": {"inner": {name: numbers}}, "other": 3})
    domain = described["outer"]["inner"]
    assert isinstance(domain, Domain)
    assert [one["outer"]["inner"] for one in variants(described)] == ends
    assert {one["other"] for one in variants(described)} == {3}


@pytest.mark.parametrize(
    ("described", "complaint"),
    [
        ({"uniform": 3}, r"lr: uniform is 3; expected numbers \[lower, upper\]"),
        ({"uniform": [1]}, r"expected numbers \[lower, upper\]"),
        ({"quniform": [1, 2]}, r"expected numbers \[lower, upper, step\]"),
        ({"uniform": ["a", "b"]}, r"expected numbers"),
        ({"uniform": [2, 1]}, "expected lower < upper"),
        ({"randint": [0.5, 2]}, "expected whole numbers"),
        ({"loguniform": [0, 1]}, r"lr: loguniform is \[0, 1\]: .*greater than 0"),
        ({"choice": []}, r"lr: choice is \[\]; expected a list of values"),
    ],
)
def test_bad_distributions(described: dict[str, Any], complaint: str) -> None:
    with pytest.raises(CommandError, match=complaint):
        plan({"lr": described})


def test_both_ends_of_a_range_are_tried_in_a_config() -> None:
    assert plan({"gradient_penalty": {"uniform": [0, 1]}}).searched == ["gradient_penalty"]
    with pytest.raises(CommandError, match="gradient_penalty is -1; expected >= 0"):
        plan({"gradient_penalty": {"uniform": [-1, 1]}})
    with pytest.raises(CommandError, match="reward_form is 'gial'"):
        plan({"reward_form": {"choice": ["gail", "gial"]}})


def test_choices_of_environments_and_networks_are_completed() -> None:
    hiddens = {"fcnet_hiddens": {"choice": [[8], [16]]}}
    space = make_plan(Experiment(config={"env": {"choice": [GAME]}, "model_config": hiddens}))
    assert space.param_space["env"].categories == [GAME]
    model = space.param_space["_model_config"]
    assert model["fcnet_hiddens"].categories == [[8], [16]]
    assert model["fcnet_activation"] == "tanh"
    with pytest.raises(CommandError, match="unknown environment 'nowhere'"):
        make_plan(Experiment(config={"env": {"choice": ["nowhere"]}}))


# --- what chooses and what stops trials ----------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"search_alg": "optunna"}, "unknown search algorithm 'optunna'; did you mean 'optuna'?"),
        ({"search_alg": "optuna", "config": {}}, "the config has nothing to search; expected dist"),
        (
            {"search_alg": "optuna", "config": {"lr": LR, "gamma": {"grid_search": [0.9]}}},
            "has a grid_search; expected distributions only",
        ),
        ({"scheduler": "ashha"}, "scheduler ashha: The `scheduler` argument must be one of"),
        ({"scheduler": "pbt", "config": {}}, "nothing that may change in flight; expected dist"),
        (
            {"scheduler": "pbt", "config": {"bc_steps": {"randint": [1, 9]}}},
            "nothing that may change in flight",
        ),
        ({"scheduler": "pbt"}, "found 1 trial, expected at least 2; give --num-samples 4"),
        (
            {"scheduler": "pbt", "num_samples": 4, "checkpoint_freq": 0},
            "checkpoint_freq is 0, but with scheduler pbt .* expected --checkpoint-freq 5",
        ),
        (
            {"scheduler": "pbt", "num_samples": 4, "search_alg": "optuna"},
            "search_alg is 'optuna', but scheduler pbt changes .* expected --search-alg random",
        ),
    ],
)
def test_searches_are_checked(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(CommandError, match=complaint):
        plan(**options)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: None))
    monkeypatch.setattr(search, "importlib", nothing)
    with pytest.raises(CommandError, match=r'pip install "rllib_amagail\[search\]"'):
        plan(search_alg="optuna")


def test_random_searches_are_seeded() -> None:
    assert plan({}).searcher is None
    for name in (None, "random"):
        searcher = plan({"lr": LR, "seed": 7}, search_alg=name).searcher
        assert isinstance(searcher, BasicVariantGenerator)
    drawn = [
        plan({"lr": LR, "seed": seed}).searcher._random_state.integers(10**9) for seed in (7, 7, 8)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_optuna_maximises_the_score() -> None:
    pytest.importorskip("optuna")
    searcher = plan(search_alg="optuna").searcher
    assert (searcher.metric, searcher.mode) == ("score", "max")


def test_trials_of_a_search_reuse_actors() -> None:
    assert not plan().reuses_actors
    assert plan(num_samples=2).reuses_actors
    assert plan({"lr": {"grid_search": [1e-3, 1e-4]}}).num_trials == 2
    assert not make_plan(Experiment(run="PPO", env="CartPole-v1", num_samples=2)).reuses_actors


def test_halving_counts_iterations_and_ends_where_training_does() -> None:
    halving = plan(scheduler="asha", stop={"training_iteration": 40}).scheduler
    assert isinstance(halving, AsyncHyperBandScheduler)
    assert (halving._time_attr, halving._max_t) == ("training_iteration", 40)
    own = plan(scheduler="asha", scheduler_config={"max_t": 3}).scheduler
    assert own._max_t == 3  # and the grace period is no longer than that


def test_populations_mutate_what_is_searched_within_its_range() -> None:
    config = {"lr": LR, "bc_steps": {"randint": [1, 9]}, "num_epochs": {"choice": [1, 2]}}
    population = plan(config, scheduler="pbt", num_samples=4).scheduler
    assert isinstance(population, PopulationBasedTraining)
    assert population._hyperparam_mutations.keys() == {"lr", "num_epochs"}
    assert population._custom_explore_fn({"lr": 1.0})["lr"] == 1e-3
    own = {"hyperparam_mutations": {"gamma": {"uniform": [0.9, 1]}}, "perturbation_interval": 3}
    population = plan({}, scheduler="pbt", num_samples=4, scheduler_config=own).scheduler
    assert list(population._hyperparam_mutations) == ["gamma"]
    assert isinstance(population._hyperparam_mutations["gamma"], Domain)


def test_mistakes_in_a_search_are_wrong_usage() -> None:
    words = ["-e", GAME, "-c", json.dumps(SMALL), "--search-alg", "optuna", "--num-samples", "2"]
    code, out, err = run("train", *words)
    assert (code, out) == (2, "")
    assert err.startswith("rllib: error: search_alg is 'optuna', but the config has nothing")
    Path("a.py").write_text(
        "from rllib_amagail import AMAGAILConfig\nconfig = AMAGAILConfig()\nsearch_space = 3\n"
    )
    code, _, err = run("train", "file", "a.py")
    assert code == 2
    assert "search_space is 3; expected mapping" in err


# --- what was found ------------------------------------------------------------------------------


def test_the_report_tells_the_best_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = Trials()
    trials.experiment_path = str(tmp_path)
    for number, score in enumerate((-3.0, -1.5, float("nan"))):
        network = {"fcnet_hiddens": [8 * (number + 1)]}
        config = {"lr": 1e-3 / 3 * (number + 1), "gamma": 0.9, "_model_config": network, "f": print}
        metrics = {"score": score, "done": True}
        trials.append(finished_trial(score, f"/r/{number}", config=config, metrics=metrics))
    assert report(trials, "score", "rllib train") == 0
    out = capsys.readouterr().out
    assert (
        "Best of 3 trials (score -1.50 at its end): lr 0.0006667, "
        "model_config {'fcnet_hiddens': [16]}\n"
    ) in out
    assert f"Its settings: {tmp_path / BEST_TRIAL_FILE}\n" in out
    assert json.loads((tmp_path / BEST_TRIAL_FILE).read_text()) == {
        "metric": "score",
        "value": -1.5,
        "config": {"lr": 1e-3 / 3 * 2, "model_config": {"fcnet_hiddens": [16]}},
        "trial": "trial",
        "checkpoint": "/r/1",
    }


def test_one_trial_is_no_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trials = Trials([finished_trial(-1.0, "/r/x", metrics={"score": -1.0, "done": True})])
    trials.experiment_path = str(tmp_path)
    report(trials, "score", "rllib train")
    assert "Best of" not in capsys.readouterr().out
    assert not (tmp_path / BEST_TRIAL_FILE).exists()
