"""Recording of demonstrations round by round, such that a kill costs seconds of it at most."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from gymnasium.spaces import Space

from rllib_amagail.demonstrations.closing import ClosedByWith
from rllib_amagail.demonstrations.concatenation import concatenate
from rllib_amagail.demonstrations.data import Demonstrations
from rllib_amagail.demonstrations.errors import DemonstrationsError
from rllib_amagail.demonstrations.parts_writer import PartsWriter
from rllib_amagail.demonstrations.record import AgentRecord
from rllib_amagail.spaces import MASK_KEY, ActionLayout, ObservationLayout


@dataclass(frozen=True)
class _Row:
    round: int
    participates: bool
    observation: np.ndarray  # [D + M] float32
    action: np.ndarray  # canonical, [...]
    reward: float


@dataclass(frozen=True)
class _Episode:
    """The episode under way."""

    rows: dict[str, list[_Row]]
    num_rounds: int = 0


class DemonstrationRecorder(ClosedByWith):
    """Writes finished episodes into a folder that `Demonstrations.load` reads.

    A part file is written after the first episode; then at the end of an episode, or in the middle
    of the next, once `seconds_per_part` have passed since the last one, or once it holds
    `episodes_per_part`; and by `flush`, `close`, the end of a `with` block and the ordinary end of
    the process. It appears whole or not at all. A kill therefore costs the episodes that ended in
    the last `seconds_per_part`, and the one under way.

    A folder that has parts already gets more of them, after a check that they are of one kind.

    Args:
        folder: a local folder; made if there is none.
        agents, observation_spaces, action_spaces, game, player_function, provenance: as of
            `Demonstrations`.
        label: lower-case letters and digits, for the names of parts where several processes record
            into one folder, each with a label of its own.
        episodes_per_part: the most episodes to hold in memory.
        seconds_per_part: 0 to write every episode at its end.

    Raises:
        DemonstrationsError: for an unusable folder or label, if another recorder is at work there
            with the same label, or if the folder holds recordings of another kind.
        ValueError: `episodes_per_part` below 1.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        agents: Sequence[str],
        observation_spaces: Mapping[str, Space],
        action_spaces: Mapping[str, Space],
        *,
        game: str | None = None,
        player_function: dict[str, Any] | None = None,
        provenance: dict[str, Any] | None = None,
        label: str = "",
        episodes_per_part: int = 1000,
        seconds_per_part: float = 10.0,
    ) -> None:
        self._layouts = {
            agent: (
                ObservationLayout.from_space(observation_spaces[agent]),
                ActionLayout.from_space(action_spaces[agent]),
            )
            for agent in agents
        }
        self._empty = Demonstrations(
            agents=tuple(agents),
            records={agent: self._record(agent, [], with_reward=False) for agent in agents},
            observation_spaces=observation_spaces,
            action_spaces=action_spaces,
            game=game,
            player_function=player_function,
            provenance=provenance or {},
        )
        self._episode: _Episode | None = None
        self._writer = PartsWriter(
            folder,
            self._empty,
            label=label,
            episodes_per_part=episodes_per_part,
            seconds_per_part=seconds_per_part,
        )
        atexit.register(self.close)

    @classmethod
    def like(
        cls, kind: Demonstrations, folder: str | os.PathLike[str], **settings: Any
    ) -> DemonstrationRecorder:
        """Of episodes of the same kind, for `add`; `settings` are `label` and those of parts."""
        return cls(
            folder,
            kind.agents,
            kind.observation_spaces,
            kind.action_spaces,
            game=kind.game,
            player_function=kind.player_function,
            provenance=kind.provenance,
            **settings,
        )

    @property
    def folder(self) -> str:
        """The absolute path of the folder."""
        return self._writer.folder

    @property
    def observation_spaces(self) -> Mapping[str, Space]:
        """By agent, in order."""
        return self._empty.observation_spaces

    @property
    def num_rounds(self) -> int | None:
        """Rounds of the episode under way; None if there is none."""
        return None if self._episode is None else self._episode.num_rounds

    def begin_episode(self) -> None:
        """Begin an episode. Raises DemonstrationsError if one is under way."""
        self._writer.check_open()
        if self._episode is not None:
            raise DemonstrationsError(
                "found an episode under way, expected none: call end_episode to keep it, or "
                "abandon_episode"
            )
        self._episode = _Episode({agent: [] for agent in self._empty.agents})

    def record_round(
        self,
        observations: Mapping[str, Any],
        participates: Mapping[str, bool],
        actions: Mapping[str, Any],
        rewards: Mapping[str, float] | None = None,
        action_masks: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a round of the episode under way; all or nothing of it.

        Args:
            observations: agent to an observation of its space, on which it acted. An agent without
                one has no row in this round.
            participates: agent to I_{i,t}; False for agents that are left out. phi is recorded for
                observed agents that do not participate.
            actions: agent to action; needed of participants, those of others are ignored.
            rewards: agent to what this round earned it, 0 for observed agents that are left out.
                Either always given or never.
            action_masks: agent to [M] of 0 and 1, for observations that are given without their
                "action_mask"; these are then dicts of the other parts, or the only other part.

        Raises DemonstrationsError, naming agent and round, for what is missing or does not fit the
        spaces. Ranges and legality are checked at the end of the episode.
        """
        episode = self._under_way()
        given = {"observations": observations, "participates": participates, "actions": actions}
        for what, values in {**given, "rewards": rewards, "action_masks": action_masks}.items():
            unknown = sorted(set(values or ()) - set(self._empty.agents))
            if unknown:
                raise DemonstrationsError(
                    f"round {episode.num_rounds}: found {what} of {unknown}, expected of "
                    f"{self._empty.agents} only"
                )
        self._writer.expect_rewards(rewards is not None)
        rows = {}
        for agent in self._empty.agents:
            acts = bool(participates.get(agent, False))
            try:
                if agent in observations:
                    mask = (action_masks or {}).get(agent)
                    rows[agent] = _Row(
                        episode.num_rounds,
                        acts,
                        self._flat(agent, observations[agent], mask),
                        self._canonical(agent, actions.get(agent) if acts else None, acts),
                        float((rewards or {}).get(agent, 0.0)),
                    )
                elif acts:
                    raise ValueError("found no observation of a participant, expected one")
            except (TypeError, ValueError) as error:
                raise DemonstrationsError(
                    f"agent {agent!r}, round {episode.num_rounds}: {error}"
                ) from error
        for agent, row in rows.items():
            episode.rows[agent].append(row)
        self._episode = replace(episode, num_rounds=episode.num_rounds + 1)
        self._writer.flush_if_due()

    def end_episode(self) -> None:
        """Keep the episode under way, and write a part if one is due.

        Raises DemonstrationsError, naming agent, row and round, for an episode in which nobody was
        observed, values that are not finite, and actions out of range or masked out; the episode
        is dropped then. Raises OSError if a part cannot be written; its episodes are kept for the
        next attempt.
        """
        episode = self._under_way()
        self._episode = None
        with_reward = bool(self._writer.with_reward)
        records = {
            agent: self._record(agent, rows, with_reward) for agent, rows in episode.rows.items()
        }
        recorded = replace(self._empty, records=records)
        if recorded.num_episodes == 0:
            raise DemonstrationsError("found an episode without any row, expected observations")
        self._writer.add(recorded)

    def abandon_episode(self) -> None:
        """Drop the episode under way, if there is one."""
        self._episode = None

    def add(self, episodes: Demonstrations) -> None:
        """Keep whole episodes that were recorded elsewhere, and write a part if one is due.

        Raises DemonstrationsError if they are of another kind than this recorder's, OSError as
        `end_episode`.
        """
        with_reward = episodes.records[episodes.agents[0]].reward is not None
        self._writer.expect_rewards(with_reward)
        concatenate([self._writer.no_episodes(with_reward), episodes.select([])])
        self._writer.add(episodes)

    def flush(self) -> None:
        """Write the finished episodes. Once it returns, they survive a kill or a power cut.

        Raises OSError if the part cannot be written; its episodes are kept for the next attempt.
        """
        self._writer.flush()

    def close(self) -> None:
        """Drop the episode under way, write the finished ones and leave the folder to others."""
        self.abandon_episode()
        self._writer.close()
        atexit.unregister(self.close)

    def _flat(self, agent: str, observation: Any, mask: Any) -> np.ndarray:
        layout = self._layouts[agent][0]
        if mask is not None:
            if not layout.mask_size:
                raise ValueError(f"found an action mask, expected none for {layout.space}")
            others = {key for key in layout.space.spaces if key != MASK_KEY}
            if not isinstance(observation, Mapping) or set(observation) != others:
                if len(others) != 1:
                    raise ValueError(f"found an observation beside a mask, expected {others}")
                observation = {others.pop(): observation}
            observation = {**observation, MASK_KEY: mask}
        return layout.flatten([observation])[0]

    def _canonical(self, agent: str, action: Any, acts: bool) -> np.ndarray:
        layout = self._layouts[agent][1]
        if not acts:
            return np.zeros(layout.shape, layout.dtype)
        if action is None:
            raise ValueError("found no action of a participant, expected one")
        return layout.encode([action])[0]

    def _record(self, agent: str, rows: Sequence[_Row], with_reward: bool) -> AgentRecord:
        observations, actions = self._layouts[agent]
        flat = np.zeros((len(rows), observations.feature_size + observations.mask_size), np.float32)
        action = np.zeros((len(rows), *actions.shape), actions.dtype)
        for index, row in enumerate(rows):
            flat[index], action[index] = row.observation, row.action
        features, mask = observations.split(flat)
        return AgentRecord(
            agent=agent,
            episode=np.zeros(len(rows), np.int64),
            round=np.array([row.round for row in rows], np.int64),
            participates=np.array([row.participates for row in rows], bool),
            observation=features,
            action=action,
            action_mask=mask,
            reward=np.array([row.reward for row in rows], np.float32) if with_reward else None,
        )

    def _under_way(self) -> _Episode:
        self._writer.check_open()
        if self._episode is None:
            raise DemonstrationsError("found no episode under way, expected begin_episode first")
        return self._episode
