"""From arrays of rounds to RLlib's episodes: one `SingleAgentEpisode` an agent and episode."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Space
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from rllib_amagail.runners.batched_worlds import PlayedRound
from rllib_amagail.runners.turn_segments import (
    CUT,
    TERMINATED,
    TRUNCATED,
    TURN,
    PolicyColumns,
    Segments,
    TurnRows,
)

# Adds columns that are cheaper for all rows at once.
Complete = Callable[[PolicyColumns], PolicyColumns]


@dataclass(frozen=True)
class RecordedAgent:
    """What an agent's episodes say about it."""

    agent: str
    module_id: str
    observation_space: Space
    action_space: Space
    gamma: float = 1.0  # discount of a round


class RecordedEpisode(SingleAgentEpisode):
    """RLlib's episode of arrays whose lengths are right by construction."""

    def validate(self) -> None:
        """Nothing: to look at every episode again would take a quarter of building it."""


class TurnRecorder:
    """Collects the turns and rewards of N agents in B worlds and cuts them into episodes.

    Rewards are credited to the agent's latest turn, as plain sums; those before its first one to
    nobody. An agent without a turn in an episode gets no `SingleAgentEpisode`.

    A recording may be cut in the middle of an episode. A turn is *open* until its agent acts again
    or the episode ends. The open turns of a recording belong to the next one, whole, so that
    nothing is lost or counted twice. The chunk before ends with the open turn's observation.

    ``custom_data`` of the episodes has ``rounds``, int64 `[L + 1]`, the round of every observation;
    ``participates``, bool `[L]`; ``world``, the index of the world; and, where rewards came between
    turns, ``discounts``, float64 `[L]`, which make sums discounted by rounds of plain ones.
    """

    def __init__(self, agents: Sequence[RecordedAgent], batch_size: int) -> None:
        self._agents = tuple(agents)
        self._batch_size = batch_size
        self._name = uuid.uuid4().hex  # episode ids must differ between recorders
        self._num_episodes = 0
        self.reset()

    def reset(self) -> None:
        """Forget what was recorded: new episodes begin in all worlds."""
        shape = (self._batch_size, len(self._agents))
        self._episodes = np.zeros(self._batch_size, dtype=np.int64)
        self._begin_episodes(np.arange(self._batch_size))
        self._rows: list[list[TurnRows]] = [[] for _ in self._agents]
        self._columns: list[list[PolicyColumns]] = [[] for _ in self._agents]
        self._begin_recording(np.zeros(shape), np.zeros(shape, dtype=np.int64))

    def add_turns(
        self,
        index: int,
        worlds: np.ndarray,
        rounds: np.ndarray,
        participates: np.ndarray,
        observations: np.ndarray,
        columns: Mapping[str, np.ndarray],
    ) -> None:
        """Record that an agent acts in the round about to be played.

        Args:
            index: of the agent.
            worlds: `[n]` where it acts.
            rounds: `[n]` t in these worlds.
            participates: `[n]` bool, whether its action counts.
            observations: `[n, ...]`.
            columns: ``actions`` `[n, ...]` and outputs of the policy by name, each `[n, ...]`.
        """
        self._add_rows(index, worlds, rounds, TURN, participates, observations)
        self._columns[index].append(columns)

    def add_round(self, played: PlayedRound) -> None:
        """Record the rewards of a round and the episodes that ended in it."""
        self._rewards.append(played.rewards)
        if len(played.ended) == 0:
            return
        kinds = np.where(played.terminated, TERMINATED, TRUNCATED)
        for index, agent in enumerate(self._agents):
            observations = played.observations[agent.agent]
            self._add_rows(index, played.ended, played.rounds, kinds, False, observations)
        self._begin_episodes(played.ended)

    def cut(
        self,
        acting: np.ndarray,
        rounds: np.ndarray,
        observations: Mapping[str, np.ndarray],
        complete: Complete,
    ) -> list[SingleAgentEpisode]:
        """End the recording and begin the next one with the open turns.

        Args:
            acting: `[B, N]` bool, who acts in the round about to be played: their turns before it
                are not open.
            rounds: `[B]` this round.
            observations: agent to `[B, ...]`, in this round.
            complete: adds what is missing in an agent's columns.

        Returns:
            Episodes that ended, and chunks of those under way, agent by agent, world by world.
        """
        for index, agent in enumerate(self._agents):
            worlds = np.flatnonzero(acting[:, index])
            seen = observations[agent.agent][worlds]
            self._add_rows(index, worlds, rounds[worlds], CUT, False, seen)
        return self._end_recording(complete)

    def ended(self, complete: Complete) -> list[SingleAgentEpisode]:
        """The recorded episodes that ended. Those under way are lost: `reset` comes next."""
        return [episode for episode in self._end_recording(complete) if episode.is_done]

    def _end_recording(self, complete: Complete) -> list[SingleAgentEpisode]:
        rewards = np.stack(self._rewards)  # [T, B, N]
        open_rewards = np.zeros(rewards.shape[1:])
        under_way = self._episodes == self._first_episodes
        returned_turns = np.where(under_way[:, None], self._returned_turns, 0)
        episodes: list[SingleAgentEpisode] = []
        for index in range(len(self._agents)):
            segments = self._cut_agent(index, rewards[:, :, index], open_rewards[:, index])
            if segments is not None:
                columns = complete(segments.columns)
                episodes += self._build(index, segments, columns, returned_turns[:, index])
        self._begin_recording(open_rewards, returned_turns)
        return episodes

    def get_state(self) -> dict[str, Any]:
        """The episodes under way and their open turns; `cut` comes before it."""
        return {
            "name": self._name,
            "num_episodes": self._num_episodes,
            "episodes": self._episodes.copy(),
            "returned_turns": self._returned_turns.copy(),
            "rewards": self._rewards[0].copy(),
            "rows": [[dict(vars(part)) for part in parts] for parts in self._rows],
            "columns": [[dict(part) for part in parts] for parts in self._columns],
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `get_state` was called, with as many agents and worlds."""
        self._name, self._num_episodes = state["name"], state["num_episodes"]
        self._episodes = state["episodes"].copy()
        self._rows = [[_rows_of(part) for part in parts] for parts in state["rows"]]
        self._columns = [[dict(part) for part in parts] for parts in state["columns"]]
        self._begin_recording(state["rewards"].copy(), state["returned_turns"].copy())

    def _begin_recording(self, open_rewards: np.ndarray, returned_turns: np.ndarray) -> None:
        self._rewards = [open_rewards]  # [B, N] each; the first is what open turns have earned
        self._returned_turns = returned_turns  # [B, N] of the episodes under way, in past chunks
        self._first_episodes = self._episodes.copy()

    def _begin_episodes(self, worlds: np.ndarray) -> None:
        self._episodes[worlds] = self._num_episodes + np.arange(len(worlds))
        self._num_episodes += len(worlds)

    def _add_rows(
        self,
        index: int,
        worlds: np.ndarray,
        rounds: np.ndarray,
        kinds: np.ndarray | int,
        participates: np.ndarray | bool,
        observations: np.ndarray,
    ) -> None:
        count = len(worlds)
        rows = TurnRows(
            worlds,
            self._episodes[worlds],
            np.full(count, len(self._rewards)),
            rounds,
            np.full(count, kinds, dtype=np.int8),
            np.full(count, participates),
            observations,
            lags=np.zeros(count, dtype=np.int64),
            discounts=np.zeros(count),
        )
        self._rows[index].append(rows)

    def _cut_agent(
        self, index: int, rewards: np.ndarray, open_rewards: np.ndarray
    ) -> Segments | None:
        """An agent's recording in order; its open turns, and what they earned, are kept.

        Args:
            index: of the agent.
            rewards: `[T, B]` of the recording, the rewards of open turns first.
            open_rewards: `[B]`, written to.
        """
        columns, rows = self._columns[index], self._rows[index]
        self._rows[index], self._columns[index] = [], []
        if not columns:  # no turn, so there are only ends of episodes in which it never acted
            return None
        gamma = self._agents[index].gamma
        segments = Segments.of(TurnRows.concatenate(rows), columns, rewards, gamma)
        still_open, kept = segments.open_turns(len(rewards))
        if len(still_open):
            self._rows[index] = [kept]
            self._columns[index] = [{k: v[still_open] for k, v in segments.columns.items()}]
            open_rewards[kept.worlds] = segments.rewards[still_open]
        return segments

    def _build(
        self, index: int, segments: Segments, columns: PolicyColumns, returned_turns: np.ndarray
    ) -> list[SingleAgentEpisode]:
        """RLlib's episodes of an agent. `returned_turns`, `[B]`, is brought up to date."""
        agent, rows = self._agents[index], segments.rows
        rewards = segments.rewards.astype(np.float32)
        is_discounted = segments.discounts.any()
        lasts = segments.bounds[1:] - 1
        spans = zip(segments.bounds[:-1].tolist(), lasts.tolist(), strict=True)
        worlds, kinds = rows.worlds[lasts].tolist(), rows.kinds[lasts].tolist()
        serials = rows.episodes[lasts].tolist()
        built = []
        for (first, last), world, kind, serial in zip(spans, worlds, kinds, serials, strict=True):
            if first == last:
                continue
            under_way = serial == self._first_episodes[world]
            turns_before = int(self._returned_turns[world, index]) if under_way else 0
            episode_id = f"{self._name}_{serial}"
            outputs = {name: column[first:last] for name, column in columns.items()}
            episode = RecordedEpisode(
                f"{episode_id}_{agent.agent}",
                observations=rows.observations[first : last + 1],
                observation_space=agent.observation_space,
                infos=[{}] * (last - first + 1),  # all the same: what is known is in custom_data
                actions=outputs.pop(Columns.ACTIONS),
                action_space=agent.action_space,
                rewards=rewards[first:last],
                terminated=kind == TERMINATED,
                truncated=kind == TRUNCATED,
                extra_model_outputs=outputs,
                t_started=turns_before,
                len_lookback_buffer=0,
                agent_id=agent.agent,
                module_id=agent.module_id,
                multi_agent_episode_id=episode_id,
            )
            episode.custom_data.update(
                rounds=rows.rounds[first : last + 1],
                participates=rows.participates[first:last],
                world=world,
            )
            if is_discounted:
                episode.custom_data["discounts"] = segments.discounts[first:last]
            if not episode.is_done:
                returned_turns[world] = turns_before + last - first
            built.append(episode)
        return built


def _rows_of(saved: Mapping[str, np.ndarray]) -> TurnRows:
    """Rows of a state; those of release 0.1.0 do not tell when open turns have earned something."""
    unknown = np.zeros(len(saved["times"]))
    return TurnRows(**{"lags": unknown.astype(np.int64), "discounts": unknown, **saved})
