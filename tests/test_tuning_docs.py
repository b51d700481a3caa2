"""docs/tuning.md: its tables are true."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from ray.tune.utils import flatten_dict

from rllib_amagail import AMAGAILConfig, MultiAgentBCConfig
from rllib_amagail.cli.distributions import DISTRIBUTIONS
from rllib_amagail.search_spaces import extremes, imitation_search_space
from tests.test_cli import GAME
from tests.test_examples import ROOT

TEXT = (ROOT / "docs" / "tuning.md").read_text()
TABLES = [
    [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    for table in re.findall(r"(?:^\|.*\n)+", TEXT, re.MULTILINE)
]
SMALL: dict[str, Any] = {
    "env": GAME,
    "num_envs_per_env_runner": 2,
    "train_batch_size_per_learner": 100,
    "num_demonstrations": 5,
    "bc_steps": 2,
    "log_level": "ERROR",
}


def documented(header: str) -> list[list[list[str]]]:
    """The rows of the tables whose first column is called so."""
    return [table[2:] for table in TABLES if table[0][0] == header]


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(
    ("number", "config", "settings"),
    [
        (0, AMAGAILConfig, {"minibatch_size": None, "value_only_iterations": 0}),
        (1, MultiAgentBCConfig, {"validation_share": 0.4}),
    ],
)
def test_every_result_key_of_the_tables_is_a_number_in_a_result(
    number: int, config: Any, settings: dict[str, Any]
) -> None:
    algorithm = config().update_from_dict(SMALL | settings).build_algo()
    result = flatten_dict(algorithm.train())
    algorithm.stop()
    keys = [row[0].strip("`") for row in documented("key")[number]]
    assert len(keys) == len(set(keys)) > 4
    for key in keys:
        key = key.replace("<policy>", "agent_1").replace("<agent>", "agent_1")
        assert math.isfinite(result[key]), key


def test_the_ranges_are_those_of_the_search_space() -> None:
    space = imitation_search_space()
    (rows,) = documented("field")
    assert [row[0].strip("`") for row in rows] == list(space)
    for field, told, *_ in rows:
        lower, upper = map(float, told.split(" to "))
        assert extremes(space[field.strip("`")]) == [lower, upper]


def test_all_distributions_are_told() -> None:
    (rows,) = documented("say")
    told = {name for row in rows for name in re.findall(r'\{"(\w+)":', row[0])}
    assert told == {*DISTRIBUTIONS, "grid_search"}
