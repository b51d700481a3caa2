"""Another config for a used algorithm: started anew, or gone on with from a checkpoint."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.tune.utils import flatten_dict

from rllib_amagail import AMAGAIL, AMAGAILConfig
from rllib_amagail.learner.discriminator import discriminator_id
from rllib_amagail.registration import ALGORITHM_NAMES
from tests.toys import HORIZON, echo_demonstrations, register_echo

pytestmark = pytest.mark.usefixtures("ray_session")

# MAGAIL and GAIL are AMAGAIL's code under other settings.
NAMES = [
    pytest.param(name, marks=pytest.mark.slow if name in ("MAGAIL", "GAIL") else ())
    for name in ALGORITHM_NAMES
]
ADVERSARIAL = ("AMAGAIL", "MAGAIL", "GAIL")


def tiny(name: str, **settings: Any) -> AMAGAILConfig:
    """Some seconds of the echo game, for any of the algorithms."""
    register_echo()
    agents = 1 if name == "GAIL" else 2
    config = ALGORITHM_NAMES[name].get_default_config()
    config.environment("echo", env_config={"num_agents": agents})
    config.env_runners(num_envs_per_env_runner=4)
    config.training(train_batch_size_per_learner=8 * HORIZON, minibatch_size=None, num_epochs=1)
    config.rl_module(model_config={"fcnet_hiddens": [8], "fcnet_activation": "tanh"})
    config.debugging(seed=3, log_level="ERROR")
    if name != "MACK":
        config.imitation(demonstrations=echo_demonstrations(num_agents=agents), bc_steps=5)
    if name in ADVERSARIAL:
        config.imitation(discriminator_hiddens=(8,), discriminator_batch_size=64)
        config.imitation(discriminator_steps=1, value_only_iterations=0)
    return config.update_from_dict(settings)


def weights_of(algorithm: AMAGAIL, module_id: str) -> dict[str, np.ndarray]:
    modules = algorithm.learner_group.get_state()["learner"]["rl_module"]
    return {name: np.array(array) for name, array in modules[module_id].items()}


def assert_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def without_times(result: dict[str, Any]) -> dict[str, Any]:
    """What a result says of learning and playing, and nothing that depends on the clock."""
    told = ("learners/", "score", "correlation", "iteration", "return", "num_", "_len_")
    flat = flatten_dict(result)
    return {
        key: flat[key]
        for key in sorted(flat)
        if any(word in key for word in told)
        and not any(word in key for word in ("timer", "throughput", "config", "healthy"))
    }


def modules_of(algorithm: AMAGAIL) -> list[str]:
    """A policy, and its discriminator if there is one."""
    present = algorithm.learner_group._learner.module.keys()
    return [mid for mid in ("agent_1", discriminator_id("agent_1")) if mid in present]


def differ(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return any(not np.array_equal(one[name], other[name]) for name in one)


# --- started anew --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_reset_algorithm_trains_as_a_fresh_one(name: str) -> None:
    changes = {
        "lr": 3e-3,
        "seed": 8,
        "num_envs_per_env_runner": 2,
        "model_config": {"fcnet_hiddens": [6]},
    }
    fresh = tiny(name, **changes).build_algo()
    expected = without_times(fresh.train())
    used = tiny(name).build_algo()
    used.train()
    assert used.reset(tiny(name, **changes).to_dict())
    assert used.iteration == 0
    assert math.isnan(used._latest_score)
    found = without_times(used.train())
    for module_id in fresh.config.policies:
        assert_equal(weights_of(used, module_id), weights_of(fresh, module_id))
    fresh.stop()
    used.stop()
    assert found["training_iteration"] == 1
    assert any(key.startswith("learners/agent_1/") for key in expected)
    np.testing.assert_equal(found, expected)  # NaN equals NaN


@pytest.mark.slow
def test_a_reset_leaves_no_actors_behind() -> None:
    def alive() -> int:
        return sum(actor["State"] == "ALIVE" for actor in ray._private.state.actors().values())

    def settles_at(number: int) -> bool:
        deadline = time.monotonic() + 20
        while alive() != number and time.monotonic() < deadline:
            time.sleep(0.1)
        return alive() == number

    before = alive()
    algorithm = tiny("AMAGAIL", num_env_runners=1, num_learners=1).build_algo()
    assert alive() == before + 2
    algorithm.reset(tiny("AMAGAIL", num_env_runners=1).to_dict())
    assert settles_at(before + 1)
    assert math.isfinite(algorithm.train()["score"])
    algorithm.stop()
    assert settles_at(before)


def test_a_config_that_is_refused_leaves_the_algorithm_as_it_was() -> None:
    algorithm = tiny("AMAGAIL").build_algo()
    with pytest.raises(ValueError, match="gradient_penalty is -1"):
        algorithm.reset_config(tiny("AMAGAIL", gradient_penalty=-1).to_dict())
    assert algorithm.train()["training_iteration"] == 1
    algorithm.stop()


# --- gone on with from a checkpoint --------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_learner_takes_its_settings_from_the_present_config(
    name: str, tmp_path: Path
) -> None:
    first = tiny(name).build_algo()
    first.train()
    first.save(str(tmp_path))
    first.stop()
    settings = {"lr": (0.0, 1e-2, 1e-2), "entropy_coeff": (0.0, 0.0, 100.0)}
    if name in ADVERSARIAL:
        settings |= {"discriminator_lr": (0.0,) * 3, "gradient_penalty": (10.0, 20.0, 30.0)}
    results, weights = [], []
    for values in zip(*settings.values(), strict=True):
        trial = tiny(name, **dict(zip(settings, values, strict=True))).build_algo()
        trial.restore(str(tmp_path))  # as Ray Tune does
        weights.append([weights_of(trial, module_id) for module_id in modules_of(trial)])
        results.append(trial.train()["learners"]["agent_1"])
        weights.append([weights_of(trial, module_id) for module_id in modules_of(trial)])
        trial.stop()
    before, frozen, _, moved, _, drawn_to_chance = weights
    for found, expected in zip(frozen, before, strict=True):  # all learning rates are 0
        assert_equal(found, expected)
    assert differ(moved[0], before[0])
    for result, lr in zip(results, settings["lr"], strict=True):
        rates = [float(v) for k, v in result.items() if k.endswith("optimizer_learning_rate")]
        assert set(rates) <= {lr}
    if name != "MultiAgentBC":
        # The same rows and random numbers: nothing but the coefficient tells the two apart.
        assert differ(moved[0], drawn_to_chance[0])
        found = [float(result["curr_entropy_coeff"]) for result in results]
        assert found == [0.0, 0.0, 100.0]
    if name in ADVERSARIAL:
        for frozen_discriminator in (moved[1], drawn_to_chance[1]):
            assert_equal(frozen_discriminator, before[1])
        # One and the same D on the same rows: 10 times the penalty more, and again.
        losses = [float(result["discriminator_loss"]) for result in results]
        assert losses[1] - losses[0] > 0.1
        assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-3)


def test_schedules_are_read_where_the_checkpoint_left_them(tmp_path: Path) -> None:
    rounds = 8 * HORIZON
    first = tiny("AMAGAIL").build_algo()
    first.train()
    first.save(str(tmp_path))
    first.stop()
    schedule = [[0, 1e-2], [2 * rounds, 2e-2]]  # half way up after one iteration
    trial = tiny("AMAGAIL", lr=schedule, entropy_coeff=schedule).build_algo()
    trial.restore(str(tmp_path))
    learner = trial.learner_group._learner
    for optimizer in learner._module_optimizers["agent_1"]:
        (group,) = learner._named_optimizers[optimizer].param_groups
        assert group["lr"] == pytest.approx(1.5e-2)
    entropy = learner.entropy_coeff_schedulers_per_module["agent_1"].get_current_value()
    assert float(entropy) == pytest.approx(1.5e-2)
    trial.stop()
