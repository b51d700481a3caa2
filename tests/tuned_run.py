"""A run by Ray Tune for `test_exact_resume.py` to kill: begins in a folder, or goes on there."""

from __future__ import annotations

import sys
from pathlib import Path

from ray import tune

import rllib_amagail
from rllib_amagail.local_ray import start_local_ray
from tests.make_checkpoint_fixture import fixture_config

ITERATIONS = 8
NAME = "run"


def main(folder: Path) -> None:
    start_local_ray(num_cpus=3)
    rllib_amagail.register()
    if tune.Tuner.can_restore(str(folder / NAME)):
        tuner = tune.Tuner.restore(str(folder / NAME), trainable="AMAGAIL", resume_errored=True)
    else:
        tuner = tune.Tuner(
            "AMAGAIL",
            param_space=fixture_config().env_runners(num_env_runners=1),
            run_config=tune.RunConfig(
                name=NAME,
                storage_path=str(folder),
                stop={"training_iteration": ITERATIONS},
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1),
                verbose=0,
            ),
        )
    results = tuner.fit()
    assert not results.errors


if __name__ == "__main__":
    main(Path(sys.argv[1]))
