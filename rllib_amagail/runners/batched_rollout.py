"""The rounds of a `BatchedEnvRunner`: who acts, what the worlds are given, what is recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Space
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.spaces.space_utils import clip_action, unsquash_action

from rllib_amagail.runners.batched_policies import BatchedPolicies, UniformPolicies
from rllib_amagail.runners.batched_worlds import AutoResetWorlds, PlayedRound
from rllib_amagail.runners.rollout_metrics import RolloutMetrics
from rllib_amagail.runners.turn_recorder import RecordedAgent, TurnRecorder

NULL_ACTION = 0  # what an agent executes that has chosen phi

# Actions of all worlds; gives what came of them, or None if the worlds had to be remade.
Step = Callable[[np.ndarray], PlayedRound | None]


@dataclass(frozen=True)
class ActionRules:
    """What becomes of the policies' actions before worlds get them, as RLlib's config has it."""

    normalise: bool  # scale Box actions from [-1, 1] to the bounds of their space
    clip: bool  # else clip them to these bounds


@dataclass(frozen=True)
class Goal:
    """When a rollout is over: after `num_steps`, or when no world misses an episode.

    Each world has its quota of episodes in advance. If all worlds were played until enough
    episodes have ended, short ones would be preferred.
    """

    num_steps: float
    episodes: np.ndarray  # [B] quotas

    @classmethod
    def of_steps(cls, num_steps: float, batch_size: int) -> Goal:
        """So many steps, whatever becomes of the episodes."""
        return cls(num_steps, np.full(batch_size, np.inf))

    @classmethod
    def of_episodes(cls, num_episodes: int, batch_size: int) -> Goal:
        """So many whole episodes, shared out among the worlds."""
        each, rest = divmod(num_episodes, batch_size)
        return cls(np.inf, each + (np.arange(batch_size) < rest))

    @property
    def cuts_episodes(self) -> bool:
        """Whether the rollout may end in the middle of episodes."""
        return bool(np.isfinite(self.num_steps))


class BatchedRollout:
    """Plays B worlds and remembers the episodes under way from one rollout to the next.

    Args:
        worlds: with the environment that made them; see `BatchedEnvRunner` for what it may have.
        module_of: agent to the id of its policy, in the worlds' order of agents.
        gamma_of: policy to its discount of a round.
        rules: for the policies' actions.
        reset_worlds: begins new episodes in `worlds`, which it may replace.
        count_agent_steps: steps are the agents' turns, not the rounds of worlds.

    Attributes:
        worlds: to be replaced when they had to be remade.
        metrics: of what was played.
        needs_reset: whether the next rollout begins with new episodes.
    """

    def __init__(
        self,
        worlds: AutoResetWorlds,
        module_of: Mapping[str, str],
        gamma_of: Mapping[str, float],
        rules: ActionRules,
        reset_worlds: Callable[[], None],
        count_agent_steps: bool,
    ) -> None:
        env = worlds.unwrapped
        self.worlds = worlds
        self._agents = tuple(
            RecordedAgent(
                agent,
                module_id,
                env.observation_spaces[agent],
                env.action_spaces[agent],
                gamma_of[module_id],
            )
            for agent, module_id in module_of.items()
        )
        self._rules = rules
        self._reset_worlds = reset_worlds
        self._count_agent_steps = count_agent_steps
        phi_is_action = bool(getattr(env, "phi_is_action", False))
        self._everybody_acts = phi_is_action or bool(getattr(env, "show_everyone", False))
        self._phi = {a: env.phi_action(a) if phi_is_action else None for a in module_of}
        self._idle_actions = worlds.idle_actions()
        self._recorder = TurnRecorder(self._agents, worlds.worlds.batch_size)
        self.metrics = RolloutMetrics(module_of, worlds.worlds.batch_size)
        self.needs_reset = True

    def reset(self) -> None:
        """Begin new episodes in all worlds; those under way are forgotten."""
        self._reset_worlds()
        self._recorder.reset()
        self.metrics.reset()
        self.needs_reset = False

    def collect(
        self, policies: BatchedPolicies | UniformPolicies, step: Step, goal: Goal
    ) -> list[SingleAgentEpisode]:
        """Play until the goal is reached.

        When `step` gives None, episodes under way are dropped, and as many steps played anew.

        Args:
            policies: who decides. Uniform actions are executed as they are, without `rules`.
            step: plays a round with actions `[B, N, *A]`.
            goal: when to stop.

        Returns:
            Episodes that ended and, unless the goal is whole episodes, chunks of the others.
        """
        num_steps = 0
        num_ended = np.zeros(len(goal.episodes), dtype=np.int64)
        episodes: list[SingleAgentEpisode] = []
        while num_steps < goal.num_steps:
            self.needs_reset = True  # should this round raise
            active = num_ended < goal.episodes
            if not active.any():
                break
            acting = self._acting() & active[:, None]
            start = time.perf_counter()
            actions = self._act(policies, acting, num_steps)
            played = step(actions)
            if played is None:
                episodes += self._recorder.ended(policies.complete)
                self.reset()
                num_steps = 0
                continue
            played = played.endings_in(active)
            self._recorder.add_round(played)
            num_worlds = int(np.count_nonzero(active))
            self.metrics.add_round(acting, num_worlds, played, time.perf_counter() - start)
            num_ended[played.ended] += 1
            num_steps += int(acting.sum()) if self._count_agent_steps else num_worlds
        self.needs_reset = not goal.cuts_episodes
        if self.needs_reset:
            return episodes + self._recorder.ended(policies.complete)
        now = self.worlds
        return episodes + self._recorder.cut(
            self._acting(), now.rounds, now.observations, policies.complete
        )

    def get_state(self) -> dict[str, Any]:
        """All that decides how the episodes go on, between two calls of `collect`."""
        worlds = self.worlds.worlds
        return {
            "worlds": worlds.get_state(),
            "turns": self._recorder.get_state(),
            "metrics": self.metrics.get_state(),
            "needs_reset": self.needs_reset or not getattr(worlds, "resumes_episodes", True),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `get_state` was called, with the same agents and as many worlds."""
        self.worlds.worlds.set_state(state["worlds"])
        self._recorder.set_state(state["turns"])
        self.metrics.set_state(state["metrics"])
        self.needs_reset = state["needs_reset"]
        if not self.needs_reset:
            self.worlds.observe()

    def _acting(self) -> np.ndarray:
        """`[B, N]` bool: who acts in the round about to be played."""
        return self.worlds.participation | self._everybody_acts

    def _act(
        self, policies: BatchedPolicies | UniformPolicies, acting: np.ndarray, num_steps: int
    ) -> np.ndarray:
        """Let the agents decide, record it, and return the actions of all worlds `[B, N, *A]`."""
        now = self.worlds
        worlds = [np.flatnonzero(column) for column in acting.T]
        seen = {
            agent.agent: now.observations[agent.agent][chosen]
            for agent, chosen in zip(self._agents, worlds, strict=True)
        }
        decisions = policies.decide(seen, num_steps)
        actions = self._idle_actions.copy()
        for index, (agent, chosen) in enumerate(zip(self._agents, worlds, strict=True)):
            if len(chosen) == 0:
                continue
            columns = decisions[agent.agent]
            self._recorder.add_turns(
                index,
                chosen,
                now.rounds[chosen],
                now.participation[chosen, index],
                seen[agent.agent],
                columns,
            )
            executed = columns[Columns.ACTIONS]
            if isinstance(policies, BatchedPolicies):
                executed = self._in_bounds(executed, agent.action_space)
            phi = self._phi[agent.agent]
            if phi is not None:
                executed = np.where(executed == phi, NULL_ACTION, executed)
            actions[chosen, index] = executed
        return actions

    def _in_bounds(self, actions: np.ndarray, space: Space) -> np.ndarray:
        """A policy's actions as worlds take them; only those of a Box may change."""
        if self._rules.normalise:
            return unsquash_action(actions, space)
        return clip_action(actions, space) if self._rules.clip else actions
