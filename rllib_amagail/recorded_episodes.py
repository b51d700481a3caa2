"""From RLlib's episodes, whole or in chunks, to demonstrations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import gymnasium as gym
import numpy as np
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.spaces.space_utils import unsquash_action
from ray.rllib.utils.typing import EpisodeType

from rllib_amagail.demonstrations import AgentRecord, Demonstrations, DemonstrationsError
from rllib_amagail.envs.wrapped_env import WrappedEnv
from rllib_amagail.learner.turns import (
    agent_episodes,
    flat_rows,
    observation_rounds,
    participation,
)
from rllib_amagail.spaces import ActionLayout, ObservationLayout

_Columns = dict[str, Any]  # fields of AgentRecord to [K, ...]; no masks: None


@dataclass(frozen=True)
class RecordedGame:
    """What is recorded of an RLlib environment: its agents, and how their rows are read.

    Args:
        agents: all of them, in order.
        observation_spaces, action_spaces: by agent.
        normalised_actions: RLlib's `normalize_actions`: episodes hold Box actions from -1 to 1,
            which the environment is given stretched to its bounds. False: clipped to them.
        game, player_function, provenance: as of `Demonstrations`.
    """

    agents: Sequence[str]
    observation_spaces: Mapping[str, gym.Space]
    action_spaces: Mapping[str, gym.Space]
    normalised_actions: bool = False
    game: str | None = None
    player_function: dict[str, Any] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, env: Any, config: Any, provenance: dict[str, Any]) -> Self:
        """What an environment and the configuration of its runner say.

        Raises:
            DemonstrationsError: the policies choose phi themselves.
            ValueError: the environment does not name its agents and their spaces.
        """
        if getattr(env, "phi_is_action", False):
            raise DemonstrationsError(
                "these policies choose phi themselves (phi_is_action); a recording holds phi only "
                "for agents that did not participate. Record policies trained with phi='filtered'."
            )
        has_spaces = isinstance(getattr(env, "observation_spaces", None), Mapping)
        told = env if has_spaces else WrappedEnv(env)
        player_function = getattr(env, "player_function", None)
        return cls(
            agents=tuple(told.possible_agents),
            observation_spaces=told.observation_spaces,
            action_spaces=told.action_spaces,
            normalised_actions=config.normalize_actions,
            game=config.env if isinstance(config.env, str) else None,
            player_function=None if player_function is None else player_function.to_dict(),
            provenance=provenance,
        )

    def rows(self, chunk: EpisodeType) -> Rows:
        """Read a chunk at once, since learners may change it later.

        Raises ValueError for rounds that cannot be told (see `observation_rounds`).
        """
        is_multi = isinstance(chunk, MultiAgentEpisode)
        return Rows(
            game=chunk.id_ if is_multi else chunk.multi_agent_episode_id or chunk.id_,
            ends=chunk.is_done,
            starting={part.agent_id for part in agent_episodes(chunk) if part.t_started == 0},
            columns={
                part.agent_id: self._columns(part, observation_rounds(part, chunk)[:-1])
                for part in agent_episodes(chunk)
            },
        )

    def demonstrations(self, episodes: Sequence[Sequence[Rows]]) -> Demonstrations:
        """Whole episodes, each of its chunks in order, as demonstrations."""
        records = {}
        for agent in self.agents:
            parts = [self._no_rows(agent)]
            numbers = [np.zeros(0, np.int64)]
            for number, chunks in enumerate(episodes):
                for columns in (rows.columns[agent] for rows in chunks if agent in rows.columns):
                    parts.append(columns)
                    numbers.append(np.full(columns["round"].shape, number))
            joined: dict[str, Any] = {
                name: None if column is None else np.concatenate([part[name] for part in parts])
                for name, column in parts[0].items()
            }
            records[agent] = AgentRecord(agent, episode=np.concatenate(numbers), **joined)
        return Demonstrations(
            agents=tuple(self.agents),
            records=records,
            observation_spaces=self.observation_spaces,
            action_spaces=self.action_spaces,
            game=self.game,
            player_function=self.player_function,
            provenance=self.provenance,
        )

    def _columns(self, part: SingleAgentEpisode, rounds: np.ndarray) -> _Columns:
        layout, actions = self._layouts(part.agent_id)
        features, mask = layout.split(flat_rows(layout, part.get_observations())[:-1])
        played = np.asarray(part.get_actions())
        if isinstance(actions.space, gym.spaces.Box):
            if self.normalised_actions:
                played = unsquash_action(played, actions.space)
            played = np.clip(played, actions.space.low, actions.space.high)
        acted = participation(part)
        action = np.zeros((len(rounds), *actions.shape), actions.dtype)
        action[acted] = actions.encode(played[acted])
        return {
            "round": rounds,
            "participates": acted,
            "observation": features,
            "action": action,
            "action_mask": mask,
            "reward": np.asarray(part.get_rewards(), np.float32),
        }

    def _no_rows(self, agent: str) -> _Columns:
        layout, actions = self._layouts(agent)
        width = layout.feature_size + layout.mask_size
        features, mask = layout.split(np.zeros((0, width), np.float32))
        return {
            "round": np.zeros(0, np.int64),
            "participates": np.zeros(0, bool),
            "observation": features,
            "action": np.zeros((0, *actions.shape), actions.dtype),
            "action_mask": mask,
            "reward": np.zeros(0, np.float32),
        }

    def _layouts(self, agent: str) -> tuple[ObservationLayout, ActionLayout]:
        return (
            ObservationLayout.from_space(self.observation_spaces[agent]),
            ActionLayout.from_space(self.action_spaces[agent]),
        )


@dataclass(frozen=True)
class Rows:
    """A chunk of an episode: of all agents from RLlib's runner, of one from the batched one."""

    game: str  # id of the whole episode
    ends: bool
    starting: set[str]  # the agents whose first turns are here
    columns: dict[str, _Columns]  # by agent: the fields of AgentRecord but for the episode


class OpenEpisodes:
    """Chunks in the order in which they are sampled, until their episodes end.

    An episode whose beginning was missed, because a runner was restored in its middle, is dropped.

    Args:
        num_envs: no more episodes than these are under way; older ones have been abandoned.
    """

    def __init__(self, num_envs: int) -> None:
        self._num_envs = num_envs
        self._chunks: dict[str, list[Rows]] = {}

    def add(self, rows: Sequence[Rows]) -> list[list[Rows]]:
        """Take the chunks of a sample; the whole episodes that ended in it, each as its chunks."""
        sampled: dict[str, list[Rows]] = defaultdict(list)
        for chunk in rows:
            sampled[chunk.game].append(chunk)
        ended = []
        for game, chunks in sampled.items():
            together = self._chunks.pop(game, []) + chunks
            if not any(chunk.ends for chunk in chunks):
                self._chunks[game] = together  # the latest last
            elif _is_whole(together):
                ended.append(together)
        for game in list(self._chunks)[: max(len(self._chunks) - self._num_envs, 0)]:
            del self._chunks[game]
        return ended


def _is_whole(chunks: Sequence[Rows]) -> bool:
    """Whether every agent's first turns are there."""
    begun: set[str] = set()
    for chunk in chunks:
        begun |= chunk.starting
        if not begun.issuperset(chunk.columns):
            return False
    return True
