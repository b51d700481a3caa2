"""Counters that RLlib's own results show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ray.rllib.core import ALL_MODULES
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode
from ray.rllib.utils.metrics import (
    NUM_ENV_STEPS_TRAINED,
    NUM_ENV_STEPS_TRAINED_LIFETIME,
    NUM_MODULE_STEPS_TRAINED,
    NUM_MODULE_STEPS_TRAINED_LIFETIME,
)
from ray.rllib.utils.metrics.metrics_logger import MetricsLogger
from ray.rllib.utils.typing import EpisodeType

from rllib_amagail.learner.turns import TurnBatch, observation_rounds


def count_rounds(episodes: Sequence[EpisodeType]) -> int:
    """Rounds of the environment that the episodes span; agents of one episode share them."""
    spans: dict[str, tuple[int, int]] = {}
    rounds = 0
    for episode in episodes:
        if isinstance(episode, MultiAgentEpisode):
            rounds += len(episode)
            continue
        observed = observation_rounds(episode, episode)
        first, last = spans.get(episode.multi_agent_episode_id, (observed[0], observed[-1]))
        span = (min(first, observed[0]), max(last, observed[-1]))
        spans[episode.multi_agent_episode_id] = span
    return rounds + int(sum(last - first for first, last in spans.values()))


def log_steps(
    metrics: MetricsLogger, turns: Mapping[str, TurnBatch], episodes: Sequence[EpisodeType]
) -> None:
    """Log the turns trained on, per module and in all, and the rounds they came from."""

    def log(key: str, lifetime: str, module_id: str, count: int) -> None:
        metrics.log_value((module_id, key), count, reduce="sum")
        metrics.log_value((module_id, lifetime), count, reduce="lifetime_sum")

    steps = (NUM_MODULE_STEPS_TRAINED, NUM_MODULE_STEPS_TRAINED_LIFETIME)
    for module_id, module_turns in turns.items():
        log(*steps, module_id, len(module_turns))
        log(*steps, ALL_MODULES, len(module_turns))
    rounds = count_rounds(episodes)
    log(NUM_ENV_STEPS_TRAINED, NUM_ENV_STEPS_TRAINED_LIFETIME, ALL_MODULES, rounds)
