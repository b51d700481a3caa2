"""What env runners report: steps, and lengths and returns of the episodes that ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from ray.rllib.utils.metrics import (
    EPISODE_AGENT_RETURN_MEAN,
    EPISODE_AGENT_STEPS,
    EPISODE_DURATION_SEC_MEAN,
    EPISODE_LEN_MAX,
    EPISODE_LEN_MEAN,
    EPISODE_LEN_MIN,
    EPISODE_MODULE_RETURN_MEAN,
    EPISODE_RETURN_MAX,
    EPISODE_RETURN_MEAN,
    EPISODE_RETURN_MIN,
    NUM_AGENT_STEPS_SAMPLED,
    NUM_AGENT_STEPS_SAMPLED_LIFETIME,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_EPISODES,
    NUM_EPISODES_LIFETIME,
    NUM_MODULE_STEPS_SAMPLED,
    NUM_MODULE_STEPS_SAMPLED_LIFETIME,
)
from ray.rllib.utils.metrics.metrics_logger import MetricsLogger

from rllib_amagail.runners.batched_worlds import PlayedRound

_LIFETIME = {
    NUM_EPISODES: NUM_EPISODES_LIFETIME,
    NUM_AGENT_STEPS_SAMPLED: NUM_AGENT_STEPS_SAMPLED_LIFETIME,
    NUM_MODULE_STEPS_SAMPLED: NUM_MODULE_STEPS_SAMPLED_LIFETIME,
}


class RolloutMetrics:
    """Counts what N agents do in B worlds, and logs it under RLlib's names.

    An episode in which nobody has a turn counts, with return 0. As in RLlib, an agent's rewards
    before its first turn do not.

    Args:
        module_of: agent to the id of its policy, for all agents in order.
        batch_size: B.
    """

    def __init__(self, module_of: Mapping[str, str], batch_size: int) -> None:
        self._module_of = dict(module_of)
        shape = (batch_size, len(self._module_of))
        self._returns = np.zeros(shape)  # of the episodes under way, as are the next two
        self._turns = np.zeros(shape, dtype=np.int64)
        self._seconds = np.zeros(batch_size)
        self._env_steps = 0  # since they were logged, as are the next two
        self._agent_steps = np.zeros(shape[1], dtype=np.int64)
        self._num_episodes = 0
        # Episodes that ended since they were logged: returns, turns, lengths and seconds.
        self._ended: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []

    def reset(self) -> None:
        """Forget the episodes under way."""
        for running in (self._returns, self._turns, self._seconds):
            running[:] = 0

    def add_round(
        self, acting: np.ndarray, num_steps: int, played: PlayedRound, seconds: float
    ) -> None:
        """Count a round.

        Args:
            acting: `[B, N]` bool, who had a turn.
            num_steps: in how many worlds it counts.
            played: what came of it.
            seconds: how long it took.
        """
        self._turns += acting
        self._returns += np.where(self._turns > 0, played.rewards, 0.0)
        self._seconds += seconds
        self._env_steps += num_steps
        self._agent_steps += acting.sum(axis=0)
        worlds = played.ended
        if len(worlds):
            running = (self._returns, self._turns, self._seconds)
            returns, turns, durations = (array[worlds] for array in running)
            self._ended.append((returns, turns, played.rounds, durations))
            self._num_episodes += len(worlds)
            for array in running:
                array[worlds] = 0

    def log_steps(self, metrics: MetricsLogger) -> int:
        """Log the steps and the number of episodes since the last call; return the env steps."""
        steps_of_module: dict[str, int] = defaultdict(int)
        steps_of_agent = dict(zip(self._module_of, self._agent_steps.tolist(), strict=True))
        for agent, module_id in self._module_of.items():
            steps_of_module[module_id] += steps_of_agent[agent]
        counts: dict[tuple[str, ...], int] = {
            (NUM_EPISODES,): self._num_episodes,
            **{(NUM_AGENT_STEPS_SAMPLED, a): n for a, n in steps_of_agent.items()},
            **{(NUM_MODULE_STEPS_SAMPLED, m): n for m, n in steps_of_module.items()},
        }
        for (name, *who), count in counts.items():
            metrics.log_value((name, *who), count, reduce="sum")
            metrics.log_value((_LIFETIME[name], *who), count, reduce="lifetime_sum")
        metrics.log_value(NUM_ENV_STEPS_SAMPLED, self._env_steps, reduce="sum")
        metrics.log_value(
            NUM_ENV_STEPS_SAMPLED_LIFETIME,
            self._env_steps,
            reduce="lifetime_sum",
            with_throughput=True,
        )
        num_env_steps = self._env_steps
        self._env_steps = self._num_episodes = 0
        self._agent_steps[:] = 0
        return num_env_steps

    def log_episodes(self, metrics: MetricsLogger, window: int) -> None:
        """Log the last `window` of the episodes that ended since the last call, as their means.

        RLlib's runners log them one by one, but report no more than these means either.
        """
        if not self._ended:
            return
        returns, turns, lengths, seconds = map(np.concatenate, zip(*self._ended, strict=True))
        self._ended.clear()
        totals = returns.sum(axis=1)
        means: dict[tuple[str, ...], np.ndarray] = {
            (EPISODE_LEN_MEAN,): lengths,
            (EPISODE_RETURN_MEAN,): totals,
            (EPISODE_DURATION_SEC_MEAN,): seconds,
        }
        columns_of: dict[str, list[int]] = defaultdict(list)
        for index, (agent, module_id) in enumerate(self._module_of.items()):
            columns_of[module_id].append(index)
            acted = turns[:, index] > 0
            means[EPISODE_AGENT_RETURN_MEAN, agent] = returns[acted, index]
            means[EPISODE_AGENT_STEPS, agent] = turns[acted, index]
        for module_id, columns in columns_of.items():
            acted = turns[:, columns].max(axis=1) > 0
            means[EPISODE_MODULE_RETURN_MEAN, module_id] = returns[acted][:, columns].sum(axis=1)
        for key, values in means.items():
            if len(values):
                metrics.log_value(key, float(values[-window:].mean()), window=window)
        for lowest, highest, values in (
            (EPISODE_LEN_MIN, EPISODE_LEN_MAX, lengths),
            (EPISODE_RETURN_MIN, EPISODE_RETURN_MAX, totals),
        ):
            latest = values[-window:]
            metrics.log_value(lowest, float(latest.min()), reduce="min", window=window)
            metrics.log_value(highest, float(latest.max()), reduce="max", window=window)

    def get_state(self) -> dict[str, Any]:
        """What is known of the episodes under way."""
        return {
            "returns": self._returns.copy(),
            "turns": self._turns.copy(),
            "seconds": self._seconds.copy(),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `get_state` was called, with as many agents and worlds."""
        self._returns[:] = state["returns"]
        self._turns[:] = state["turns"]
        self._seconds[:] = state["seconds"]
