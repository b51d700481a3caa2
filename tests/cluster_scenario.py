"""Training on a Ray cluster whose nodes come and go; run by test_cluster.py.

Prints what it found as a line of JSON. Every node is a set of processes on this machine.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray.cluster_utils import Cluster

import rllib_amagail
from rllib_amagail import AMAGAIL, AMAGAILConfig
from rllib_amagail.local_ray import _loopback_only
from tests.test_algorithm import small_config
from tests.toys import HORIZON

PLAY, LEARN = "play", "learn"  # what a node is for
# A node that does not answer for about ten seconds is dead.
HEALTH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 2000,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 5,
}


@contextmanager
def ray_cluster() -> Iterator[Cluster]:
    """A cluster of the driver's node, on which nobody else can be."""
    with _loopback_only():
        head = {"num_cpus": 0, "_system_config": HEALTH, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


def add_node(cluster: Cluster, kind: str) -> Any:
    """A node for two runners or learners."""
    return cluster.add_node(num_cpus=2, resources={kind: 2})


def config_of_two_and_two() -> AMAGAILConfig:
    """Two runners, which play ahead, and two learners, on nodes of their kinds."""
    return (
        small_config()
        .env_runners(
            num_env_runners=2,
            num_envs_per_env_runner=2,
            custom_resources_per_env_runner={PLAY: 1},
        )
        .training(train_batch_size_per_learner=4 * HORIZON, minibatch_size=16)
        .learners(num_learners=2, custom_resources_per_learner={LEARN: 1})
        .fault_tolerance(
            restart_failed_env_runners=True,
            delay_between_env_runner_restarts_s=0.1,
            env_runner_health_probe_timeout_s=5,
        )
        .sampling(batches_ahead=1)
    )


def node_id(_: Any) -> str:
    """Of the calling process."""
    return str(ray.get_runtime_context().get_node_id())


def demonstrations_of(worker: Any) -> str:
    """Which object a process finds in its config in place of the demonstrations."""
    return str(worker.config.demonstrations._reference.hex())


def on_runners(algorithm: AMAGAIL, function: Any) -> list[Any]:
    """What a function of every runner gives."""
    return algorithm.env_runner_group.foreach_env_runner(function, local_env_runner=False)


def on_learners(algorithm: AMAGAIL, function: Any) -> list[Any]:
    """What a function of every learner gives."""
    return [answer.get() for answer in algorithm.learner_group.foreach_learner(function)]


def train_until(algorithm: AMAGAIL, node: Any) -> list[int]:
    """Train until both runners play on a node; the rounds played so far, of every iteration."""
    rounds = []
    for _ in range(200):
        played = algorithm.train()["env_runners"]
        rounds.append(int(played["num_env_steps_sampled_lifetime"]))
        if on_runners(algorithm, node_id) == [node.node_id] * 2:
            return rounds
    raise AssertionError("runners did not come back")


@contextmanager
def frozen(node: Any) -> Iterator[None]:
    """Stop all processes of a node where they are, as if its network were cut; then end them."""
    raylet = node.all_processes["raylet"][0].process.pid
    processes = [*below(raylet), raylet]
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def below(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    command = ["ps", "-o", "pid=", "--ppid", str(pid)]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    children = [int(line) for line in found.split()]
    return children + [process for child in children for process in below(child)]


def say(stage: str) -> None:
    """For whoever looks for where it hangs."""
    print(f"{time.monotonic():.0f} {stage}", file=sys.stderr, flush=True)


def nodes_come_and_go() -> dict[str, Any]:
    """A node is lost, one no longer answers, each time another takes over; then the learners'."""
    with ray_cluster() as cluster:
        first, learn = add_node(cluster, PLAY), add_node(cluster, LEARN)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        rllib_amagail.register()
        say("cluster")
        algorithm = config_of_two_and_two().build_algo()
        algorithm.train()
        say("trained")
        found: dict[str, Any] = {
            "nodes": {"play": first.node_id, "learn": learn.node_id},
            "runners": on_runners(algorithm, node_id),
            "learners": on_learners(algorithm, node_id),
            "demonstrations": on_runners(algorithm, demonstrations_of)
            + on_learners(algorithm, demonstrations_of),
        }
        second = add_node(cluster, PLAY)
        cluster.remove_node(first, allow_graceful=False)
        say("first play node removed")
        found["after removal"] = train_until(algorithm, second)
        third = add_node(cluster, PLAY)
        with frozen(second):
            say("second play node frozen")
            found["after silence"] = train_until(algorithm, third)
        with frozen(learn):
            say("learners' node frozen")
            try:
                algorithm.train()
            except Exception as error:
                found["without learners"] = f"{type(error).__name__}: {error}"
            say("ended")
        algorithm.stop()
    return found


if __name__ == "__main__":
    print(json.dumps(nodes_come_and_go()))
