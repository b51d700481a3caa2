"""Search spaces beside the tuned configs, and what population based training may do to them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray import tune
from ray.tune.search.sample import Domain

from rllib_amagail.cli.distributions import variants
from rllib_amagail.cli.plan import make_plan
from rllib_amagail.cli.run_files import load_experiments
from rllib_amagail.search_spaces import (
    CHANGEABLE,
    extremes,
    imitation_search_space,
    mutations,
    stay_in_range,
)
from tests.test_examples import PAPER_GAMES, ROOT, load


def tuned_config(game: str) -> Path:
    return ROOT / "tuned_configs" / f"{game}.py"


@pytest.mark.parametrize("game", PAPER_GAMES)
def test_the_ends_of_every_range_are_valid_configs(game: str) -> None:
    tuned = load(tuned_config(game))
    assert all(isinstance(domain, Domain) for domain in tuned.search_space.values())
    settings = variants(tuned.search_space)
    assert len(settings) == 2
    for ends in settings:
        config = tuned.config.copy(copy_frozen=False).update_from_dict(ends)
        config.validate()
        assert {key: getattr(config, key) for key in ends} == ends


@pytest.mark.parametrize("game", PAPER_GAMES)
def test_what_a_tuned_config_fixes_lies_in_the_ranges_that_are_searched(game: str) -> None:
    tuned = load(tuned_config(game))
    for field, domain in tuned.search_space.items():
        lower, upper = extremes(domain)
        assert lower < upper
        assert lower <= getattr(tuned.config, field) <= upper, field


def test_games_change_a_shared_space() -> None:
    shared, changed = imitation_search_space(), imitation_search_space(lr=tune.uniform(1, 2))
    assert changed.keys() == shared.keys()
    assert extremes(changed["lr"]) == [1, 2]
    assert "lr" not in imitation_search_space(lr=None)
    assert "num_epochs" in imitation_search_space(num_epochs=tune.randint(1, 5))


def test_a_python_file_is_searched_only_when_asked() -> None:
    (experiment,) = load_experiments(str(tuned_config(PAPER_GAMES[0])))
    assert make_plan(experiment).searched == []
    asked = experiment.with_options({"search_alg": "random", "config": {"lr": 1e-3}})
    searched = make_plan(asked).searched
    assert set(searched) == set(imitation_search_space()) - {"lr"}


def test_ends_of_ranges_and_choices() -> None:
    assert extremes(tune.randint(1, 5)) == [1, 4]  # Ray Tune's ranges of integers end before 5
    assert extremes(tune.loguniform(0.1, 10.0)) == [0.1, 10.0]
    assert extremes(tune.choice(["a", "b", "c"])) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="has no ends"):
        extremes(tune.randn(0, 1))


def test_only_what_may_change_in_flight_is_mutated() -> None:
    lr = tune.uniform(0, 1)
    space = {"lr": lr, "bc_steps": tune.randint(1, 9), "num_epochs": tune.choice([1, 2]), "seed": 3}
    assert mutations(space) == {"lr": lr, "num_epochs": [1, 2]}


def test_mutations_stay_in_their_ranges() -> None:
    explore = stay_in_range(
        {"lr": tune.uniform(0.1, 0.5), "discriminator_steps": tune.randint(1, 5)}
    )
    assert explore({"lr": 0.6, "discriminator_steps": 6, "gamma": 9.0}) == {
        "lr": 0.5,
        "discriminator_steps": 4,
        "gamma": 9.0,
    }
    assert explore({"lr": 0.05}) == {"lr": 0.1}
    assert explore({"lr": 0.2}) == {"lr": 0.2}


def test_the_fields_that_may_change_exist() -> None:
    from rllib_amagail import AMAGAILConfig, MultiAgentBCConfig

    known = vars(AMAGAILConfig()).keys() | vars(MultiAgentBCConfig()).keys()
    assert set(CHANGEABLE) <= known
