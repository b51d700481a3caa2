"""Expert demonstrations: episodes of a game as every agent saw them (Z of the paper)."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from gymnasium.spaces import Space

from rllib_amagail.demonstrations import parquet
from rllib_amagail.demonstrations.errors import DemonstrationsError
from rllib_amagail.demonstrations.record import AgentRecord
from rllib_amagail.demonstrations.rounds import Episodes, records_from_rounds
from rllib_amagail.spaces import space_to_dict


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """E expert episodes of N agents, numbered 0 to E - 1; validates itself.

    Every episode has at least one row, but need not have rows of every agent. Either all
    records have rewards or none, and either all have actions or none. Raises DemonstrationsError
    for anything inconsistent.
    """

    agents: tuple[str, ...]
    records: Mapping[str, AgentRecord]
    observation_spaces: Mapping[str, Space]
    action_spaces: Mapping[str, Space]
    game: str | None = None
    player_function: dict[str, Any] | None = None  # as PlayerFunction.to_dict gives it
    provenance: dict[str, Any] = field(default_factory=dict)  # free JSON: command, seed, versions
    turns_kept_every: int = 1  # k after `subsample(k)`: then no row's next turn is known

    def __post_init__(self) -> None:
        agents = tuple(self.agents)
        if not agents or len(set(agents)) < len(agents) or not all(map(_is_name, agents)):
            raise DemonstrationsError(f"found agents {agents}, expected different non-empty names")
        object.__setattr__(self, "agents", agents)
        for name in ("records", "observation_spaces", "action_spaces"):
            values = getattr(self, name)
            if set(values) != set(agents):
                raise DemonstrationsError(
                    f"found {name} of {sorted(values)}, expected of {sorted(agents)}"
                )
            object.__setattr__(self, name, {agent: values[agent] for agent in agents})
        if self.game is not None and not _is_name(self.game):
            raise DemonstrationsError(f"found game {self.game!r}, expected a name or None")
        if self.player_function is not None:
            player_function = _json_copy(self.player_function, "player_function")
            object.__setattr__(self, "player_function", player_function)
        object.__setattr__(self, "provenance", _json_copy(self.provenance, "provenance"))
        for agent, record in self.records.items():
            if record.agent != agent:
                raise DemonstrationsError(
                    f"found a record of {record.agent!r}, expected of {agent!r}"
                )
            record.check_spaces(self.observation_spaces[agent], self.action_spaces[agent])
        for name in ("reward", "action"):
            found = [agent for agent in agents if getattr(self.records[agent], name) is not None]
            if len(found) not in (0, len(agents)):
                raise DemonstrationsError(
                    f"found {name}s of {found} only, expected {name}s of all agents or of none"
                )
        if self.turns_kept_every < 1:
            raise DemonstrationsError(
                f"found turns_kept_every {self.turns_kept_every}, expected 1 or more"
            )
        missing = np.flatnonzero(self.episode_lengths() == 0)
        if len(missing):
            raise DemonstrationsError(
                f"found no rows of episode {missing[0]} of {self.num_episodes}, expected rows in "
                f"every episode: number the episodes 0, 1, ... without gaps"
            )

    def __deepcopy__(self, memo: dict[int, Any]) -> "Demonstrations":
        """Itself, as nothing in it changes. RLlib copies a config once for every policy in it."""
        return self

    @classmethod
    def from_rounds(
        cls,
        agents: Sequence[str],
        observation_spaces: Mapping[str, Space],
        action_spaces: Mapping[str, Space],
        *,
        observations: Mapping[str, Episodes],
        participation: Episodes,
        actions: Mapping[str, Episodes] | Episodes,
        rewards: Episodes | None = None,
        action_masks: Mapping[str, Episodes] | None = None,
        game: str | None = None,
        player_function: dict[str, Any] | None = None,
        provenance: dict[str, Any] | None = None,
    ) -> "Demonstrations":
        """Build dense demonstrations from E recorded episodes of T rounds.

        Every [E, T, ...] may also be a list of E arrays [T_e, ...] of different lengths.

        Args:
            agents: the N agents, in the order of the N axes below.
            observation_spaces, action_spaces: per agent.
            observations: agent -> [E, T, D], flat features without the mask, of every round.
            participation: [E, T, N] bool, I_t.
            actions: [E, T, N, ...], or agent -> [E, T, ...]; ignored where an agent does not
                participate, where phi is recorded.
            rewards: [E, T, N] of the environment, or None.
            action_masks: agent -> [E, T, M] bool, of the agents whose observations have a mask.
            game, player_function, provenance: as in the class.

        Raises DemonstrationsError, or ValueError for unsupported spaces and malformed actions.
        """
        records = records_from_rounds(
            agents, action_spaces, observations, participation, actions, rewards, action_masks
        )
        return cls(
            agents=tuple(agents),
            records=records,
            observation_spaces=observation_spaces,
            action_spaces=action_spaces,
            game=game,
            player_function=player_function,
            provenance=provenance or {},
        )

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], max_bytes: int = parquet.MAX_BYTES
    ) -> "Demonstrations":
        """Read what `save` or a `DemonstrationRecorder` wrote, and check all of it.

        Args:
            path: a Parquet file, or a folder of part files, whose episodes are joined in order;
                local, or an address that pyarrow understands: "s3://bucket/folder", "gs://...".
            max_bytes: refuse contents that would take more memory, all parts together, before
                reading them.

        Raises DemonstrationsError naming the file if it is missing, foreign, damaged or too large,
        or a part that differs from the first in anything but its episodes.
        """
        from rllib_amagail.demonstrations import folder  # which makes objects of this class

        return folder.load(path, max_bytes)

    @classmethod
    def validate(cls, path: str | os.PathLike[str]) -> dict[str, Any]:
        """Check a file as `load` does; what it holds, as JSON.

        Raises DemonstrationsError as `load` does.
        """
        loaded = cls.load(path)
        rows = {
            agent: {"rows": len(record), "turns": record.num_turns, "phi_share": record.phi_share}
            for agent, record in loaded.records.items()
        }
        return {
            "game": loaded.game,
            "episodes": loaded.num_episodes,
            "has_actions": loaded.has_actions,
            "turns_kept_every": loaded.turns_kept_every,
            "agents": rows,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a Parquet file of plain types, in one step: `path` never holds half a file.

        Raises DemonstrationsError if the directory is missing or the metadata cannot be stored,
        OSError if the file cannot be written.
        """
        spaces = {
            name: {agent: space_to_dict(space) for agent, space in getattr(self, name).items()}
            for name in ("observation_spaces", "action_spaces")
        }
        description = {
            "agents": list(self.agents),
            **spaces,
            "game": self.game,
            "player_function": self.player_function,
            "provenance": self.provenance,
            "num_episodes": self.num_episodes,
            "has_actions": self.has_actions,
            "turns_kept_every": self.turns_kept_every,
        }
        parquet.write(path, self.records, description)

    @property
    def num_episodes(self) -> int:
        """E."""
        last = [int(record.episode[-1]) for record in self.records.values() if len(record)]
        return max(last, default=-1) + 1

    @property
    def has_actions(self) -> bool:
        """Whether it is recorded what the agents did."""
        return self.records[self.agents[0]].action is not None

    def episode_lengths(self) -> np.ndarray:
        """Rounds per episode, [E] int64: the last recorded round of any agent, plus one."""
        lengths = np.zeros(self.num_episodes, np.int64)
        for record in self.records.values():
            np.maximum.at(lengths, record.episode, record.round + 1)
        return lengths

    def scores(self) -> np.ndarray:
        """Return per episode, [E] float64: rewards summed over rounds, averaged over the N agents.

        Raises DemonstrationsError without rewards.
        """
        scores = np.zeros(self.num_episodes)
        for agent, record in self.records.items():
            if record.reward is None:
                raise DemonstrationsError(
                    f"found no rewards of agent {agent!r}, expected rewards: record the episodes "
                    f"with rewards to score them"
                )
            scores += np.bincount(record.episode, record.reward, minlength=len(scores))
        return scores / len(self.agents)

    def select(self, episode_indices: Sequence[int] | np.ndarray) -> "Demonstrations":
        """The given episodes, in the given order, renumbered from 0; one may be given twice.

        Raises DemonstrationsError if an index is not an integer from 0 to E - 1.
        """
        chosen = np.asarray(episode_indices)
        if chosen.size == 0:
            chosen = chosen.astype(np.int64)
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
            raise DemonstrationsError(
                f"found episode indices {chosen.dtype} of shape {chosen.shape}, expected a list "
                f"of integers"
            )
        wrong = (chosen < 0) | (chosen >= self.num_episodes)
        if wrong.any():
            raise DemonstrationsError(
                f"found episode index {chosen[wrong][0]}, expected 0 to {self.num_episodes - 1}"
            )
        records = {}
        for agent, record in self.records.items():
            first = np.searchsorted(record.episode, chosen, "left")
            counts = np.searchsorted(record.episode, chosen, "right") - first
            episode = np.repeat(np.arange(len(chosen)), counts)
            # Row k of the result is row k of its own episode, counted from that episode's first.
            rows = np.arange(len(episode)) + (first - _starts(counts))[episode]
            records[agent] = AgentRecord(agent, **{**record.columns(rows), "episode": episode})
        return replace(self, records=records)

    def head(self, num_episodes: int) -> "Demonstrations":
        """The first episodes. Raises DemonstrationsError if there are fewer."""
        if not 0 <= num_episodes <= self.num_episodes:
            raise DemonstrationsError(
                f"found {self.num_episodes} episodes, expected at least {num_episodes}"
            )
        return self.select(range(num_episodes))

    def without_actions(self) -> "Demonstrations":
        """The same rows without actions, for imitation from observation alone."""
        records = {agent: replace(record, action=None) for agent, record in self.records.items()}
        return replace(self, records=records)

    def subsample(self, every: int, rng: np.random.Generator) -> "Demonstrations":
        """Keep one in `every` turns of each agent, as GAIL's experiments do (arXiv:1606.03476).

        The first one kept is random per agent and episode, among the first `every` turns or as
        many as there are, so that no agent loses an episode. phi rows are dropped. The next turn
        of a row that is left is not known any more: there are no pairs (s, s') to judge.

        Raises DemonstrationsError if `every` is below 1.
        """
        if every < 1:
            raise DemonstrationsError(f"found every {every}, expected 1 or more")
        records = {}
        for agent, record in self.records.items():
            turns = record.turns()
            _, first, counts = np.unique(turns.episode, return_index=True, return_counts=True)
            position = np.arange(len(turns)) - np.repeat(first, counts)
            offset = np.repeat(rng.integers(np.minimum(every, counts)), counts)
            records[agent] = AgentRecord(agent, **turns.columns(position % every == offset))
        return replace(self, records=records, turns_kept_every=self.turns_kept_every * every)

    def check_trainable(self, min_rows: int = 1) -> None:
        """Raise DemonstrationsError unless every agent has at least `min_rows` >= 1 turns."""
        turns = {agent: record.num_turns for agent, record in self.records.items()}
        needed = max(min_rows, 1)
        short = [agent for agent, count in turns.items() if count < needed]
        if short:
            raise DemonstrationsError(
                f"found too few turns to train {short}: {turns}, expected at least {needed} of "
                f"every agent: record more episodes or lower the minimum"
            )

    def check_compatible(
        self,
        agents: Sequence[str],
        observation_spaces: Mapping[str, Space],
        action_spaces: Mapping[str, Space],
        game: str | None = None,
    ) -> None:
        """Raise DemonstrationsError listing every difference to an environment.

        Spaces must be equal to the key order and the bounds, since the flat features must be.
        Games are compared if both sides name one.
        """
        differences = []
        if tuple(agents) != self.agents:
            differences.append(f"agents: found {self.agents}, expected {tuple(agents)}")
        for agent in self.agents:
            for own, other in (
                (self.observation_spaces, observation_spaces),
                (self.action_spaces, action_spaces),
            ):
                if agent in other and space_to_dict(own[agent]) != space_to_dict(other[agent]):
                    differences.append(f"{agent!r}: found {own[agent]}, expected {other[agent]}")
        if game is not None and self.game not in (None, game):
            differences.append(f"game: found {self.game!r}, expected {game!r}")
        if differences:
            raise DemonstrationsError(
                f"demonstrations do not fit: {'; '.join(differences)}: use the environment that "
                f"recorded them, or record new ones"
            )


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.cumsum(counts) - counts


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _json_copy(value: Any, what: str) -> dict[str, Any]:
    try:
        copy = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise DemonstrationsError(f"found {what} that is not plain JSON: {error}") from error
    if not isinstance(copy, dict):
        raise DemonstrationsError(f"found {what} {value!r}, expected a JSON object")
    return copy
