"""Demonstrations in memory travel by reference, and paths that a learner cannot read are named."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from rllib_amagail import AMAGAIL, Demonstrations, DemonstrationsError
from rllib_amagail.learner.shared_demonstrations import (
    SharedDemonstrations,
    demonstrations_by_reference,
    explain_missing_file,
)
from tests.test_algorithm import small_config
from tests.toys import echo_demonstrations

pytestmark = pytest.mark.usefixtures("ray_session")


def same(found: Demonstrations, expected: Demonstrations) -> bool:
    return all(
        np.array_equal(found.records[agent].observation, record.observation)
        for agent, record in expected.records.items()
    )


def sent(value: Any) -> Any:
    """What another process would get."""
    return ray.get(ray.put(value))


def test_a_config_takes_a_reference_along() -> None:
    config = small_config()
    source = config.demonstrations
    with demonstrations_by_reference(source):
        twice = [sent(config), sent(config.copy())]
    for found in twice:
        assert isinstance(found.demonstrations, SharedDemonstrations)
        assert same(found.load_demonstrations(), source)
        assert found.streamed_demonstrations() is None
    references = {found.demonstrations._reference for found in twice}
    assert len(references) == 1
    assert isinstance(sent(config).demonstrations, Demonstrations)  # as ever, afterwards
    # Into a checkpoint goes what a later session can read.
    assert same(sent(twice[0]).demonstrations, source)
    assert copy.deepcopy(twice[0]).demonstrations is twice[0].demonstrations


def test_other_demonstrations_travel_as_ever() -> None:
    others = echo_demonstrations(episodes=3)
    with demonstrations_by_reference(echo_demonstrations(episodes=2)):
        found = sent({"others": others})["others"]
    assert isinstance(found, Demonstrations)
    assert same(found, others)


def test_there_is_nothing_to_do_for_paths() -> None:
    with demonstrations_by_reference("z.parquet") as reference:
        assert reference is None


def references(algorithm: AMAGAIL) -> set[str]:
    """Of runners and learners."""

    def of(worker: Any) -> str:
        return str(worker.config.demonstrations._reference.hex())

    learners = algorithm.learner_group.foreach_learner(of)
    runners = algorithm.env_runner_group.foreach_env_runner(of, local_env_runner=False)
    return {*runners, *(result.get() for result in learners)}


def test_runners_and_learners_share_one_copy() -> None:
    config = small_config().env_runners(num_env_runners=1).learners(num_learners=1)
    algorithm = config.build_algo()
    assert references(algorithm) == {algorithm._demonstrations_reference.hex()}
    algorithm.train()
    algorithm.stop()


@pytest.mark.slow
def test_a_path_of_the_driver_only_is_named(tmp_path: Path) -> None:
    file = tmp_path / "z.parquet"
    echo_demonstrations().save(file)
    descriptor = 700  # that no other process has
    os.dup2(os.open(file, os.O_RDONLY), descriptor)
    path = f"/proc/self/fd/{descriptor}"
    config = small_config().imitation(demonstrations=path).learners(num_learners=1)
    with pytest.raises(DemonstrationsError, match=rf"{path}: found no such file on node .*Use a"):
        config.build_algo()
    os.close(descriptor)


@pytest.mark.parametrize("source", ["s3://bucket/folder", echo_demonstrations(), None])
def test_other_errors_stay_what_they_are(source: Any) -> None:
    error = DemonstrationsError("something else")
    assert explain_missing_file(source, error) is error


def test_a_file_that_is_there_is_not_called_missing(tmp_path: Path) -> None:
    error = DemonstrationsError("no Parquet")
    assert explain_missing_file(tmp_path, error) is error
