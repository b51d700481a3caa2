"""Episodes on their way to the learners."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.utils.typing import EpisodeType


def episodes_of(
    training_data: TrainingData | None, episodes: list[EpisodeType] | None
) -> list[EpisodeType]:
    """The episodes of a learner update, references to remote ones solved.

    Raises:
        ValueError: training data of another kind.
    """
    if training_data is None:
        training_data = TrainingData(episodes=episodes)
    training_data.validate()
    training_data.solve_refs()
    if training_data.episodes is None:
        raise ValueError("AMAGAIL learns from episodes; found a batch of another kind")
    return training_data.episodes


class EpisodeShards(TrainingData):
    """Training data that never cuts an episode.

    RLlib shards by slicing, which loses steps, rewards and infos at the cuts. The agents' parts of
    an episode stay together, so that every learner sees every agent.
    """

    def shard(
        self, num_shards: int, len_lookback_buffer: int | None = None, **kwargs: Any
    ) -> list[tuple[TrainingData, dict[str, Any]]]:
        """Deal episodes out, longest first, each to the shard with the fewest steps so far."""
        games: dict[str, list[EpisodeType]] = defaultdict(list)
        for episode in self.episodes:
            games[getattr(episode, "multi_agent_episode_id", None) or episode.id_].append(episode)
        if len(games) < num_shards:
            raise ValueError(
                f"{len(games)} episodes cannot be shared by {num_shards} learners; sample more a "
                "time (train_batch_size_per_learner, num_envs_per_env_runner) or use fewer learners"
            )
        shards: list[list[EpisodeType]] = [[] for _ in range(num_shards)]
        steps = [0] * num_shards
        for game in sorted(games.values(), key=lambda parts: -sum(map(len, parts))):
            shortest = steps.index(min(steps))
            shards[shortest] += game
            steps[shortest] += sum(map(len, game))
        return [(TrainingData(episodes=shard), {}) for shard in shards]
