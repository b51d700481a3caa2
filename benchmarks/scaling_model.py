"""Who waits for whom: the schedule of an iteration, simulated for any number of processes.

The parts are measured at small numbers (scaling_parts.py); the simulation puts them in order.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

SETTLED = 0.5  # the share of the epochs, at the end, that counts: the first ones fill the queues


@dataclass(frozen=True)
class Parts:
    """What single steps cost: seconds of one process, and bytes.

    Attributes:
        play_s: a runner, a round.
        play_deviation: standard deviation of a runner's time for a batch, as a share of it.
        take_weights_s: a runner, to unpickle and load policies.
        request_s: the driver, to ask one process for something and to notice its answer.
        result_s: the driver, to merge one runner's metrics.
        pack_s, unpack_s: to pickle and to unpickle a byte of episodes, in any process.
        update_s: a learner, a round of its share.
        episode_bytes: a round, of all agents.
        result_bytes: one runner's metrics.
        weights_bytes: of all policies, for inference.
        gradient_bytes: that all learners average, in one iteration.
        gradient_steps: in how many steps.
        bandwidth: bytes a second of a node's link; assumed, not measured.
        latency_s: of a message between nodes; assumed, not measured.
    """

    play_s: float
    play_deviation: float
    take_weights_s: float
    request_s: float
    result_s: float
    pack_s: float
    unpack_s: float
    update_s: float
    episode_bytes: float
    result_bytes: float
    weights_bytes: float
    gradient_bytes: float
    gradient_steps: int
    bandwidth: float
    latency_s: float


@dataclass(frozen=True)
class Setting:
    """How many of what.

    Attributes:
        runners: n >= 1, remote ones.
        learners: L; 0 is the driver itself.
        rounds: of an iteration, all learners together.
        batches_ahead: as of ``AMAGAILConfig.sampling``.
        by_reference: episodes go from runners to learners without passing the driver.
        runners_a_node: that share one copy of the policies.
    """

    runners: int
    learners: int
    rounds: int
    batches_ahead: int = 0
    by_reference: bool = False
    runners_a_node: int = 32


@dataclass(frozen=True)
class Schedule:
    """What an iteration is like once the queues have filled.

    Attributes:
        seconds: of an iteration.
        driver: share of it in which the driver works.
        runners: share in which a runner plays, on average.
        learners: share in which a learner learns.
    """

    seconds: float
    driver: float
    runners: float
    learners: float


def bytes_an_iteration(parts: Parts, setting: Setting) -> dict[str, float]:
    """Bytes of an iteration by message, all processes together."""
    nodes = -(-setting.runners // setting.runners_a_node)
    episodes = setting.rounds * parts.episode_bytes
    to_driver = 0.0 if setting.by_reference else episodes
    return {
        "episodes, runners to driver": to_driver,
        "episodes, to learners": episodes if setting.learners else 0.0,
        "metrics, runners to driver": setting.runners * parts.result_bytes,
        "policies, learner to driver": parts.weights_bytes if setting.learners else 0.0,
        "policies, driver to nodes": nodes * parts.weights_bytes,
        "gradients, a learner": _ring_share(setting.learners) * parts.gradient_bytes,
    }


def update_seconds(parts: Parts, setting: Setting) -> float:
    """A learner's part of an iteration: unpickle its share, learn, average gradients (a ring)."""
    share = setting.rounds / max(1, setting.learners)
    learning = share * parts.update_s
    if setting.learners == 0:
        return learning
    sent = _ring_share(setting.learners) * parts.gradient_bytes / parts.bandwidth
    turns = 2 * (setting.learners - 1) * parts.gradient_steps
    unpickling = share * parts.episode_bytes * (parts.unpack_s + 1 / parts.bandwidth)
    return unpickling + learning + sent + turns * parts.latency_s


def simulate(parts: Parts, setting: Setting, epochs: int, rng: np.random.Generator) -> Schedule:
    """Play the schedule of `AMAGAIL.training_step`; everybody does one thing at a time.

    Args:
        parts: what the steps cost.
        setting: how many processes.
        epochs: iterations to simulate.
        rng: draws how long runners take.
    """
    moved = bytes_an_iteration(parts, setting)
    n, now, worked = setting.runners, 0.0, 0.0  # `now`, of the driver
    free = np.zeros(n)  # when each runner has nothing left to do
    batches: deque[np.ndarray] = deque()
    played, learned, ends, work = 0.0, 0.0, [0.0], [0.0]
    learning = update_seconds(parts, setting)

    def work_for(seconds: float) -> None:
        nonlocal now, worked
        now, worked = now + seconds, worked + seconds

    for _ in range(epochs):
        while len(batches) <= setting.batches_ahead:
            asked = now + parts.request_s * np.arange(1, n + 1)
            work_for(n * parts.request_s)
            arrived = asked + moved["policies, driver to nodes"] / parts.bandwidth
            noise = np.maximum(0.0, rng.normal(1.0, parts.play_deviation, n))
            lasts = parts.take_weights_s + noise * parts.play_s * setting.rounds / n
            free = np.maximum(free, arrived) + lasts
            played = float(lasts.mean())
            batches.append(free)
        now = max(now, float(batches.popleft().max()))
        now += moved["episodes, runners to driver"] / parts.bandwidth
        work_for(n * parts.result_s + moved["episodes, runners to driver"] * parts.unpack_s)
        if setting.learners:
            if not setting.by_reference:
                work_for(moved["episodes, to learners"] * parts.pack_s)
            work_for(setting.learners * parts.request_s)
            now += learning
            work_for(moved["policies, learner to driver"] * (parts.pack_s + parts.unpack_s))
        else:
            work_for(learning)
        learned = learning
        ends.append(now)
        work.append(worked)
    first = int(epochs * (1 - SETTLED))
    seconds = (ends[-1] - ends[first]) / (epochs - first)
    driver = (work[-1] - work[first]) / (epochs - first)
    return Schedule(seconds, driver / seconds, played / seconds, learned / seconds)


def _ring_share(learners: int) -> float:
    """Of what is averaged, what each of L learners sends in a ring: 2 (L - 1) / L."""
    return 2 * (learners - 1) / learners if learners > 1 else 0.0
