"""The run that `soak.py` kills: trains for ever, and tells in lines of JSON how it is.

    python benchmarks/soak_trainer.py FOLDER

Goes on from the newest checkpoint in FOLDER.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from soak_processes import descendants, look, title

import rllib_amagail
from rllib_amagail import AMAGAIL, AMAGAILConfig
from rllib_amagail.local_ray import start_local_ray

RUNNERS = 2
ROUNDS = 40  # an iteration
CHECKPOINT_EVERY = 20  # iterations
LOOK_EVERY = 5  # iterations, at memory and file handles


def soak_config() -> AMAGAILConfig:
    """Small batches: the more iterations in a minute, the more leaks show."""
    return (
        AMAGAILConfig()
        .environment("stochastic_cooperative_navigation", env_config={"horizon": 10})
        .env_runners(num_env_runners=RUNNERS, num_envs_per_env_runner=2)
        .learners(num_learners=1, num_cpus_per_learner=0)
        .training(train_batch_size_per_learner=ROUNDS, minibatch_size=None, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": [8]})
        .imitation(num_demonstrations=20, discriminator_hiddens=(8,), bc_steps=5)
        .imitation(discriminator_batch_size=32, value_only_iterations=0)
        .fault_tolerance(restart_failed_env_runners=True, delay_between_env_runner_restarts_s=0.1)
        .debugging(seed=0, log_level="ERROR")
    )


def checkpoints(folder: Path) -> list[Path]:
    """Complete ones, oldest first."""
    return sorted(folder.glob("checkpoint_*"))


def save(algorithm: AMAGAIL, folder: Path) -> None:
    """A checkpoint has its name when it is complete; the newest two are kept."""
    writing = folder / f"writing_{os.getpid()}"
    algorithm.save_to_path(str(writing))
    writing.rename(folder / f"checkpoint_{algorithm.iteration:07}")
    for old in checkpoints(folder)[:-2]:
        for path in sorted(old.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        old.rmdir()


def processes(algorithm: AMAGAIL) -> dict[str, list[float]]:
    """Name to process id, resident megabytes and file handles, of all that train."""
    group = algorithm.env_runner_group
    runners = group.foreach_env_runner(
        lambda runner: (runner.worker_index, os.getpid()), local_env_runner=False, timeout_seconds=9
    )
    learner = next(iter(algorithm.learner_group.foreach_learner(lambda _: os.getpid())))
    pids = {"driver": os.getpid(), "learner": learner.get()}
    pids |= {f"runner_{index}": pid for index, pid in runners}
    looks = {name: look(pid) for name, pid in pids.items()}
    return {name: found for name, found in looks.items() if found is not None}


def actors() -> int:
    """Processes of this session that are an actor, not one that waits to become one."""
    titles = map(title, descendants(os.getpid()))
    return sum(found.startswith("ray::") and "IDLE" not in found for found in titles)


def tell(**line: Any) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main(folder: Path) -> None:
    """Train until killed."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    start_local_ray(num_cpus=RUNNERS + 1, log_to_driver=False)
    rllib_amagail.register()
    algorithm = soak_config().build_algo()
    saved = checkpoints(folder)
    if saved:
        algorithm.restore_from_path(str(saved[-1]))
    tell(start=algorithm.iteration, at=time.time())
    while True:
        result = algorithm.train()
        rounds = result["env_runners"].get("num_env_steps_sampled", 0)
        line: dict[str, Any] = {
            "iteration": algorithm.iteration,
            "at": time.time(),
            "rounds": int(rounds) if math.isfinite(rounds) else 0,  # NaN: no runner was left
            "healthy": algorithm.env_runner_group.num_healthy_remote_workers(),
        }
        if algorithm.iteration % LOOK_EVERY == 0:
            line |= {"processes": processes(algorithm), "actors": actors()}
        tell(**line)
        if algorithm.iteration % CHECKPOINT_EVERY == 0:
            save(algorithm, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
