"""Record demonstrations from anything RLlib has trained.

A recording is dense where the environment can show it: `TurnBasedEnv` shows every agent that its
environment observes, and one that does not participate is recorded with phi. Other environments are
recorded as they are, turns only; so are recurrent policies, which must not see other rounds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import ray
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import COMPONENT_RL_MODULE
from ray.rllib.utils.typing import EpisodeType

from rllib_amagail.demonstrations import (
    DemonstrationRecorder,
    Demonstrations,
    DemonstrationsError,
    concatenate,
)
from rllib_amagail.demonstrations.locations import is_address
from rllib_amagail.recorded_episodes import OpenEpisodes, RecordedGame
from rllib_amagail.runners.turn_env_runner import TurnEnvRunner


def record(
    source: Algorithm | str | Path,
    num_episodes: int,
    *,
    seed: int = 0,
    explore: bool = True,
) -> Demonstrations:
    """Play whole episodes with trained policies and keep them as demonstrations.

    Args:
        source: a multi-agent algorithm, or the folder of its checkpoint. RLlib unpickles
            checkpoints: record only from those you trust.
        num_episodes: E, played one after the other.
        seed: of environment and actions.
        explore: draw actions from the policies; False for their most likely ones.

    Raises:
        DemonstrationsError: policies that choose phi themselves, or a cut episode.
        ValueError: fewer than one episode.
    """
    played = list(_play(source, num_episodes, seed, explore))
    return replace(concatenate(played), provenance=played[0].provenance)


def record_to(
    folder: str | os.PathLike[str],
    source: Algorithm | str | Path,
    num_episodes: int,
    *,
    seed: int = 0,
    explore: bool = True,
    progress: Callable[[int], None] = lambda num_recorded: None,
) -> None:
    """As `record`, into a folder of parts: what is recorded survives a kill.

    The episodes are added to those that are in the folder already. The same seed records the same
    episodes once more.

    Args:
        folder: for `Demonstrations.load`.
        source, num_episodes, seed, explore: as of `record`.
        progress: told the number of episodes recorded so far, after each.

    Raises:
        DemonstrationsError: also for a folder that cannot be recorded into, see
            `DemonstrationRecorder`.
        ValueError: as `record`.
    """
    recorder: DemonstrationRecorder | None = None
    with closing(_play(source, num_episodes, seed, explore)) as played, ExitStack() as at_end:
        for number, episode in enumerate(played, 1):
            if recorder is None:
                recorder = at_end.enter_context(DemonstrationRecorder.like(episode, folder))
            recorder.add(episode)
            progress(number)


def episodes_to_demonstrations(
    game: RecordedGame, episodes: Sequence[EpisodeType]
) -> Demonstrations:
    """Whole RLlib episodes, of either runner, as demonstrations.

    Raises:
        DemonstrationsError: an episode whose beginning or end is missing.
        ValueError: rounds that cannot be told (see `observation_rounds`).
    """
    rows = [game.rows(episode) for episode in episodes]
    whole = OpenEpisodes(num_envs=0).add(rows)
    given = len({chunk.game for chunk in rows})
    if len(whole) < given:
        raise DemonstrationsError(
            f"found {given - len(whole)} of {given} episodes that are chunks of longer ones; "
            "expected whole episodes. Sample with num_episodes=... or "
            "batch_mode='complete_episodes'."
        )
    return game.demonstrations(whole)


def _play(
    source: Algorithm | str | Path, num_episodes: int, seed: int, explore: bool
) -> Generator[Demonstrations]:
    """One episode after the other."""
    if num_episodes < 1:
        raise ValueError(f"num_episodes is {num_episodes}; expected >= 1")
    algorithm = source if isinstance(source, Algorithm) else _restored(source)
    try:
        runner = _recording_runner(algorithm, seed)
        env = runner.env.envs[0].unwrapped
        provenance = {
            "algorithm": type(algorithm).__name__,
            "iterations": algorithm.iteration,
            "rounds_trained": _rounds_trained(algorithm),
            "seed": seed,
            "explore": explore,
            "ray": ray.__version__,
        }
        game = RecordedGame.of(env, algorithm.config, provenance)
        is_recurrent = runner.module.is_stateful()  # and would step in rounds that are no turns
        if hasattr(env, "show_observed") and not is_recurrent:
            env.show_observed()
        for _ in range(num_episodes):
            yield episodes_to_demonstrations(game, runner.sample(num_episodes=1, explore=explore))
            runner.get_metrics()  # it keeps the episodes until it is asked
    finally:
        if algorithm is not source:
            algorithm.stop()


def _restored(checkpoint: str | Path) -> Algorithm:
    """RLlib takes a relative path for an address, and fails."""
    if not is_address(checkpoint):
        checkpoint = os.path.abspath(checkpoint)
    return Algorithm.from_checkpoint(str(checkpoint))


def _recording_runner(algorithm: Algorithm, seed: int) -> TurnEnvRunner:
    """A local runner of one environment, so that short episodes are not preferred."""
    config = algorithm.config.copy(copy_frozen=False)
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=1)
    config.debugging(seed=seed)
    runner = TurnEnvRunner(config=config)
    state = algorithm.learner_group.get_state(inference_only=True)["learner"][COMPONENT_RL_MODULE]
    runner.module.set_state({mid: state[mid] for mid in runner.module.keys()})  # noqa: SIM118
    return runner


def _rounds_trained(algorithm: Algorithm) -> int:
    key = ("env_runners", "num_env_steps_sampled_lifetime")
    return int(algorithm.metrics.peek(key, default=0))
