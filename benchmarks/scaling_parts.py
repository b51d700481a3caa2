"""What single steps of an iteration cost, measured at small numbers for `scaling_model`.

Seconds are of the CPU and not of the clock, so that whatever else the machine does counts little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import mean, median, stdev
from typing import Any

import ray.cloudpickle as pickle
import torch
from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.rllib.utils.metrics.metrics_logger import MetricsLogger
from scaling_model import Parts
from throughput_contenders import imitation_config
from torch.optim.optimizer import register_optimizer_step_pre_hook

from rllib_amagail import AMAGAIL
from rllib_amagail.algorithm.sampling import policies_of

BANDWIDTH = 1.25e9  # bytes a second: 10 Gbit/s
LATENCY = 1e-4  # seconds between two nodes
WORLDS = 64
FLOAT_BYTES = 4
RESULTS = 20  # runners' metrics merged at once
REQUESTS = 50


def cpu_seconds(function: Callable[[], Any], repeats: int) -> list[float]:
    """Of this process, one number a call."""
    found = []
    for _ in range(repeats):
        began = time.process_time()
        function()
        found.append(time.process_time() - began)
    return found


def measure_parts(batch_size: int, repeats: int) -> Parts:
    """Measure everything in this process, and requests with two remote runners.

    Args:
        batch_size: rounds of an iteration with one learner.
        repeats: of every measurement; medians count.
    """
    config = imitation_config(WORLDS, batch_size).env_runners(num_env_runners=2)
    remote = config.build_algo()
    local = imitation_config(WORLDS, batch_size).build_algo()
    try:
        local.train()
        return _measure(local, remote.env_runner_group, batch_size, repeats)
    finally:
        remote.stop()
        local.stop()


def _measure(algorithm: AMAGAIL, group: EnvRunnerGroup, rounds: int, repeats: int) -> Parts:
    runner = algorithm.env_runner
    playing = cpu_seconds(lambda: runner.sample(num_timesteps=rounds), repeats)
    episodes = runner.sample(num_timesteps=rounds)
    packed = pickle.dumps(episodes, protocol=5)
    result = runner.get_metrics()
    policies = policies_of(algorithm.learner_group, sorted(algorithm.config.policies))
    packed_policies = pickle.dumps(policies, protocol=5)

    def merge() -> None:
        MetricsLogger(root=True).aggregate([result] * RESULTS, key="env_runners")

    def ask() -> None:
        for _ in range(REQUESTS):
            group.foreach_env_runner("ping", local_env_runner=False)

    def take() -> None:
        runner._weights_seq_no = 0
        runner.set_state(pickle.loads(packed_policies))

    def median_seconds(function: Callable[[], Any]) -> float:
        return median(cpu_seconds(function, repeats))

    with steps_counted() as counted:
        updating = cpu_seconds(lambda: algorithm._update_learners(episodes), repeats)
    return Parts(
        play_s=median(playing) / rounds,
        play_deviation=stdev(playing) / mean(playing),
        take_weights_s=median_seconds(take),
        request_s=median_seconds(ask) / (REQUESTS * group.num_remote_workers()),
        result_s=median_seconds(merge) / RESULTS,
        pack_s=median_seconds(lambda: pickle.dumps(episodes, protocol=5)) / len(packed),
        unpack_s=median_seconds(lambda: pickle.loads(packed)) / len(packed),
        update_s=median(updating) / rounds,
        episode_bytes=len(packed) / rounds,
        result_bytes=len(pickle.dumps(result, protocol=5)),
        weights_bytes=len(packed_policies),
        gradient_bytes=counted["bytes"] / repeats,
        gradient_steps=round(counted["steps"] / repeats),
        bandwidth=BANDWIDTH,
        latency_s=LATENCY,
    )


@contextmanager
def steps_counted() -> Iterator[dict[str, int]]:
    """Counts optimizer steps, and the bytes of the gradients that they follow."""
    counted = {"steps": 0, "bytes": 0}

    def count(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        counted["steps"] += 1
        for group in optimizer.param_groups:
            counted["bytes"] += FLOAT_BYTES * sum(p.numel() for p in group["params"])

    handle = register_optimizer_step_pre_hook(count)
    try:
        yield counted
    finally:
        handle.remove()
