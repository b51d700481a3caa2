"""Checkpoints of earlier releases are read: those under tests/fixtures, which are never rewritten.

They hold pickled classes and configs, so modules and classes that they name cannot be renamed
without leaving the old name behind.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from rllib_amagail import AMAGAIL
from rllib_amagail.learner.learner_base import STATE_VERSION
from tests.make_checkpoint_fixture import FIXTURES, fixture_config

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.mark.parametrize("folder", sorted(FIXTURES.glob("checkpoint_*")), ids=lambda f: f.name)
def test_a_checkpoint_of_a_release_is_restored_and_trained_on(folder: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text())
    algorithm = AMAGAIL.from_checkpoint(str(folder / "checkpoint"))
    assert algorithm.iteration == expected["iterations"]
    learner = algorithm.learner_group._learner
    assert learner._updates == expected["updates"]
    found = learner.get_state()["rl_module"]
    weights = load_file(folder / "weights.safetensors")
    assert len(weights) == sum(map(len, found.values()))
    for name, array in weights.items():
        module_id, _, parameter = name.partition("/")
        np.testing.assert_array_equal(found[module_id][parameter], array, err_msg=name)
    anchors = {mid: agent.anchor for mid, agent in learner._agents.items()}
    assert all(anchor is not None for anchor in anchors.values())  # behaviours were cloned
    result = algorithm.train()
    algorithm.stop()
    assert result["training_iteration"] == expected["iterations"] + 1
    rounds = result["env_runners"]["num_env_steps_sampled_lifetime"]
    assert rounds == expected["rounds"] + result["env_runners"]["num_env_steps_sampled"]
    assert np.isfinite(result["learners"]["agent_1"]["total_loss"])


def test_the_first_release_is_among_them() -> None:
    assert (FIXTURES / "checkpoint_0.1.0" / "checkpoint").is_dir()


def test_states_of_newer_releases_are_refused_and_older_ones_read() -> None:
    algorithm = fixture_config().build_algo()
    learner = algorithm.learner_group._learner
    state = learner.get_state()
    newer = {**state, "imitation": {**state["imitation"], "version": STATE_VERSION + 1}}
    with pytest.raises(ValueError, match=r"version 2, expected at most 1: a newer release"):
        learner.set_state(newer)
    optional = ("version", "rounds_scheduled", "demonstrations")
    older = {k: v for k, v in state["imitation"].items() if k not in optional}
    learner.set_state({**state, "imitation": {**older, "updates": 5}})
    assert learner._updates == 5
    algorithm.stop()
