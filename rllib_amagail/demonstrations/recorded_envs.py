"""PettingZoo environments that record what is played in them, in anybody's own loop.

Not imported by `rllib_amagail.demonstrations` itself, so that it works without PettingZoo.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, MultiBinary, Space
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils import BaseParallelWrapper, BaseWrapper

from rllib_amagail.demonstrations.closing import ClosedByWith
from rllib_amagail.demonstrations.recorder import DemonstrationRecorder
from rllib_amagail.spaces import MASK_KEY, ActionLayout, ObservationLayout

Target = DemonstrationRecorder | str | os.PathLike[str]
_Infos = Mapping[str, Mapping[str, Any]]


def record_parallel(env: ParallelEnv, target: Target, **settings: Any) -> RecordedParallelEnv:
    """Record every whole episode that is played in a parallel environment.

    All live agents that are observed have a row in every round. They participate, but for those
    whose infos say `"participates": False` and those without an action, which get phi.

    Action masks are part of the observation (under "action_mask"), or stand in the infos. Then
    the recorded observations are dicts of "observation" and "action_mask".

    Args:
        env: to be used through what is returned, from its next `reset` on.
        target: a folder, or a recorder.
        settings: of `DemonstrationRecorder` for a folder, such as `game` or `seconds_per_part`.

    Returns:
        The same environment. `close`, or leaving a `with` block, closes the recorder, too.

    Raises TypeError for settings beside a recorder. What the recorder raises comes out of `reset`
    and `step`.
    """
    return RecordedParallelEnv(env, EpisodeTap(env, target, settings))


def record_aec(env: AECEnv, target: Target, **settings: Any) -> RecordedAECEnv:
    """Record every whole episode that is played in an environment of turns, such as a board game.

    A round is one turn: the selected agent participates, the other live ones get phi, with what
    `env.observe` shows them then. Every live agent is credited with what `env.rewards` says after
    the round. The last steps of dead agents are no rounds. Otherwise as `record_parallel`.
    """
    return RecordedAECEnv(env, EpisodeTap(env, target, settings))


class EpisodeTap:
    """What both kinds of environment share: a recorder, and what the agents were shown last.

    Attributes:
        recorder: None until the first reset tells whether there are masks in the infos.
    """

    def __init__(self, env: AECEnv | ParallelEnv, target: Target, settings: dict[str, Any]) -> None:
        if isinstance(target, DemonstrationRecorder) and settings:
            raise TypeError(
                f"found a recorder and settings {sorted(settings)}, expected settings for a folder "
                f"only: give them to the recorder"
            )
        self._env = env
        self._target = target
        self._settings = settings
        self._observations: dict[str, Any] = {}
        self._masks: dict[str, np.ndarray] = {}
        self._abstain: set[str] = set()
        self._mask_sizes: dict[str, int] = {}  # of those whose observations come without
        self.recorder: DemonstrationRecorder | None = None

    def begin(self, infos: _Infos) -> None:
        """Begin an episode; warns if that drops one under way."""
        recorder = self.recorder
        if recorder is None:
            recorder = self.recorder = self._new_recorder(infos)
        if recorder.num_rounds:
            warnings.warn(
                "reset() in the middle of an episode, which is dropped: call "
                "env.recorder.end_episode() before reset() to keep what was played of it",
                stacklevel=3,
            )
        recorder.abandon_episode()
        recorder.begin_episode()

    def show(self, observations: Mapping[str, Any], infos: _Infos) -> None:
        """Remember what the agents see before the round, apart from the environment's arrays."""
        self._observations = copy.deepcopy(dict(observations))
        told = {agent: infos.get(agent) or {} for agent in observations}
        self._masks = {
            agent: np.array(told[agent].get(MASK_KEY, np.ones(size)))
            for agent, size in self._mask_sizes.items()
            if agent in told
        }
        self._abstain = {agent for agent in told if not told[agent].get("participates", True)}

    def play(
        self,
        live: Iterable[str],
        actions: Mapping[str, Any],
        rewards: Mapping[str, float],
        is_over: bool,
    ) -> None:
        """Record the round that was played by `live` agents, if an episode is under way."""
        if self.recorder is None or self.recorder.num_rounds is None:
            return  # it began before it was wrapped, or was ended by hand
        observed = {
            agent: self._observations[agent]
            for agent in live
            if self._observations.get(agent) is not None
        }
        acting = {
            agent: action
            for agent, action in actions.items()
            if agent in observed and agent not in self._abstain and action is not None
        }
        self.recorder.record_round(
            observed,
            dict.fromkeys(acting, True),
            acting,
            {agent: float(rewards.get(agent, 0.0)) for agent in observed},
            {agent: mask for agent, mask in self._masks.items() if agent in observed},
        )
        if is_over:
            self.recorder.end_episode()

    def close(self) -> None:
        """Close the recorder."""
        if self.recorder is not None:
            self.recorder.close()

    def _new_recorder(self, infos: _Infos) -> DemonstrationRecorder:
        env = self._env
        agents = list(env.possible_agents)
        own = {agent: env.observation_space(agent) for agent in agents}
        recorder = self._target
        if not isinstance(recorder, DemonstrationRecorder):
            has_masks = any(MASK_KEY in (info or {}) for info in infos.values())
            actions = {agent: env.action_space(agent) for agent in agents}
            name = getattr(env, "metadata", {}).get("name", type(env.unwrapped).__name__)
            recorder = DemonstrationRecorder(
                recorder,
                agents,
                {a: _with_mask(own[a], actions[a]) if has_masks else own[a] for a in agents},
                actions,
                **{"provenance": {"recorded_in": str(name)}, **self._settings},
            )
        sizes = {
            agent: ObservationLayout.from_space(space).mask_size
            for agent, space in recorder.observation_spaces.items()
            if agent in own and not _has_mask(own[agent])
        }
        self._mask_sizes = {agent: size for agent, size in sizes.items() if size}
        return recorder


class RecordedParallelEnv(BaseParallelWrapper, ClosedByWith):
    """See `record_parallel`."""

    def __init__(self, env: ParallelEnv, tap: EpisodeTap) -> None:
        super().__init__(env)
        self._tap = tap

    @property
    def recorder(self) -> DemonstrationRecorder | None:
        """The recorder; None before the first reset."""
        return self._tap.recorder

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """As of the environment; begins the recording of an episode."""
        observations, infos = self.env.reset(seed=seed, options=options)
        self._tap.begin(infos)
        self._tap.show(observations, infos)
        return observations, infos

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[
        dict[str, Any],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """As of the environment; records the round."""
        live, played = list(self.env.agents), copy.deepcopy(dict(actions))
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        ended = {a for flags in (terminations, truncations) for a, flag in flags.items() if flag}
        self._tap.play(live, played, rewards, is_over=not set(self.env.agents) - ended)
        self._tap.show(observations, infos)
        return observations, rewards, terminations, truncations, infos

    def close(self) -> None:
        """Close recorder and environment; an episode under way is dropped."""
        self._tap.close()
        self.env.close()


class RecordedAECEnv(BaseWrapper, ClosedByWith):
    """See `record_aec`."""

    def __init__(self, env: AECEnv, tap: EpisodeTap) -> None:
        super().__init__(env)
        self._tap = tap
        self._seen: dict[str, Any] = {}  # in this round: observing may cost, or draw noise

    @property
    def recorder(self) -> DemonstrationRecorder | None:
        """The recorder; None before the first reset."""
        return self._tap.recorder

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """As of the environment; begins the recording of an episode."""
        self.env.reset(seed=seed, options=options)
        self._seen = {}
        self._tap.begin(self.env.infos)

    def observe(self, agent: str) -> Any:
        """As of the environment."""
        observation = self.env.observe(agent)
        self._seen[agent] = copy.deepcopy(observation)
        return observation

    def step(self, action: Any) -> None:
        """As of the environment; records the round, unless it is the last step of a dead agent."""
        selected, live = self.env.agent_selection, self._live()
        if selected in live:
            shown = {agent: self._shown(agent) for agent in live}
            self._tap.show(shown, self.env.infos)
        played = {selected: copy.deepcopy(action)}
        self.env.step(action)
        self._seen = {}
        if selected in live:
            self._tap.play(live, played, self.env.rewards, is_over=not self._live())

    def close(self) -> None:
        """Close recorder and environment; an episode under way is dropped."""
        self._tap.close()
        self.env.close()

    def _live(self) -> list[str]:
        env = self.env
        return [a for a in env.agents if not (env.terminations[a] or env.truncations[a])]

    def _shown(self, agent: str) -> Any:
        return self._seen[agent] if agent in self._seen else self.env.observe(agent)


def _has_mask(space: Space) -> bool:
    return isinstance(space, Dict) and MASK_KEY in space.spaces


def _with_mask(space: Space, action_space: Space) -> Space:
    """The space of an observation whose mask comes in the infos."""
    if _has_mask(space) or isinstance(action_space, Box):
        return space
    size = ActionLayout.from_space(action_space).mask_size
    return Dict({"observation": space, MASK_KEY: MultiBinary(size)})
