"""AMAGAIL by name in Ray Tune."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.tune import CheckpointConfig, RunConfig

from rllib_amagail import AMAGAIL

SMALL: dict[str, Any] = {
    "env": "stochastic_cooperative_navigation",
    "env_config": {"horizon": 5},
    "reward_source": "environment",
    "num_envs_per_env_runner": 4,
    "train_batch_size_per_learner": 20,
    "minibatch_size": None,
    "num_epochs": 1,
    "model_config": {"fcnet_hiddens": [8]},
    "log_level": "ERROR",
}


def fit(space: dict[str, Any], folder: Path) -> tune.ResultGrid:
    return tune.Tuner(
        "AMAGAIL",
        param_space=space,
        run_config=RunConfig(
            storage_path=str(folder),
            stop={"training_iteration": 1},
            checkpoint_config=CheckpointConfig(checkpoint_at_end=True),
            verbose=0,
        ),
    ).fit()


@pytest.mark.usefixtures("ray_session")
def test_a_search_over_settings_runs_by_name(tmp_path: Path) -> None:
    results = fit(SMALL | {"lr": tune.grid_search([1e-3, 1e-4])}, tmp_path)
    assert results.num_errors == 0
    assert sorted(result.config["lr"] for result in results) == [1e-4, 1e-3]
    best = results.get_best_result("score", mode="max")
    restored = AMAGAIL.from_checkpoint(best.checkpoint.path)
    assert restored.iteration == 1
    restored.stop()


@pytest.mark.slow
def test_names_survive_a_restart_of_ray(tmp_path: Path) -> None:
    code = f"""
import ray, rllib_amagail
from pathlib import Path
from tests.test_tune import SMALL, fit
for _ in range(2):
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR")
    rllib_amagail.register()
    assert fit(SMALL, Path({str(tmp_path)!r})).num_errors == 0
    ray.shutdown()
"""
    root = Path(__file__).parent.parent
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, timeout=300)


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("num_agents", [2, 5])
def test_games_of_another_size_have_no_scale(num_agents: int) -> None:
    space = SMALL | {"env_config": {"num_agents": num_agents, "horizon": 5}}
    algorithm = AMAGAIL.get_default_config().update_from_dict(space).build_algo()
    result = algorithm.train()
    algorithm.stop()
    returns = result["env_runners"]["agent_episode_returns_mean"]
    assert len(returns) == num_agents
    assert result["score"] == pytest.approx(sum(returns.values()) / num_agents)
    assert "normalised_score" not in result
