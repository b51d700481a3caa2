"""What RLlib's checkpoints leave out: the random streams and open episodes of remote env runners.

RLlib saves the local runner and takes all others for interchangeable. They are not, if a restored
run is to give the numbers of an uninterrupted one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.env.env_runner_group import EnvRunnerGroup

from rllib_amagail.runners.batched_env_runner import ROLLOUT
from rllib_amagail.runners.turn_env_runner import RANDOM_STREAMS

logger = logging.getLogger(__name__)
_COMPONENTS = (ROLLOUT, RANDOM_STREAMS)

GroupStates = dict[str, dict[int, dict[str, Any]]]  # group, worker index, component


def save_runners(groups: Mapping[str, EnvRunnerGroup], config: Any) -> GroupStates:
    """Where the remote runners stand.

    Args:
        groups: runners of training and evaluation, by name.
        config: its ``sample_timeout_s`` is how long to wait for them.

    Returns:
        By name and worker index. Runners that are dead or do not answer are missing.
    """
    return {
        name: dict(
            sorted(
                group.foreach_env_runner(
                    _streams, local_env_runner=False, timeout_seconds=config.sample_timeout_s
                )
            )
        )
        for name, group in groups.items()
    }


def restore_runners(groups: Mapping[str, EnvRunnerGroup], states: GroupStates, config: Any) -> None:
    """Let every remote runner go on where the one of its index stood.

    With another number of runners, those without a state go on with streams of their own, and
    states without a runner are dropped. A warning says so, because other episodes follow.

    Args:
        groups: as for `save_runners`.
        states: of `save_runners`; groups that are missing are left as they are.
        config: its ``sample_timeout_s`` is how long to wait for the runners.
    """
    for name, group in groups.items():
        saved = states.get(name)
        if saved is None:
            continue
        present = sorted(group.healthy_env_runner_ids())
        if present != sorted(saved):
            logger.warning(
                "the checkpoint has the random streams of the remote env runners %s for %s, and "
                "this run has env runners %s: it goes on, with other episodes than the run that "
                "was saved. Restore with the same number of env runners for the same numbers",
                sorted(saved),
                name,
                present,
            )
        known = [index for index in present if index in saved]
        if known:
            group.foreach_env_runner(
                [lambda runner, state=saved[index]: runner.set_state(state) for index in known],
                remote_worker_ids=known,
                local_env_runner=False,
                timeout_seconds=config.sample_timeout_s,
            )


def _streams(runner: EnvRunner) -> tuple[int, dict[str, Any]]:
    state = runner.get_state(components=list(_COMPONENTS))
    return runner.worker_index, {name: state[name] for name in _COMPONENTS if name in state}
