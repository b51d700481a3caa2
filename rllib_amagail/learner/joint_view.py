"""What is seen of several agents at once: the core of the joint critic and of joint rows.

At a round t of a game, of every agent j that is looked at,

- whether j participates in round t,
- the features of what j last saw: at its last turn at or before t; zeros before its first turn,
- the action of j in round t; zeros stand for phi.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import gymnasium as gym
import numpy as np

from rllib_amagail.learner.turns import TurnBatch
from rllib_amagail.row_encoder import DiscriminatorInputs, RowEncoder


@dataclass(frozen=True)
class JointView:
    """Who are the agents, and how much of them is seen.

    They come in the order of their modules, so that all agents of a shared module see the same
    kind of agent in the same columns.
    """

    modules: Mapping[str, str]  # agent -> policy module, for all agents
    encoders: Mapping[str, RowEncoder]  # by module

    @classmethod
    def from_spaces(
        cls,
        modules: Mapping[str, str],
        spaces: Mapping[str, tuple[gym.Space, gym.Space]],
        judged: DiscriminatorInputs = "state_action",
    ) -> JointView:
        """Of agents with these ``modules``, whose observation and action ``spaces`` are given.

        With ``judged="state"`` actions are not seen.
        """
        used = set(modules.values())
        return cls(dict(modules), {m: RowEncoder(*spaces[m], judged) for m in sorted(used)})

    @property
    def order(self) -> list[str]:
        """All agents, in the order of their columns."""
        return sorted(self.modules, key=lambda agent: (self.modules[agent], agent))

    def others(self, agent: str) -> list[str]:
        """The other agents, in the order of their columns."""
        return [other for other in self.order if other != agent]

    def encoder(self, agent: str) -> RowEncoder:
        """Of the agent's module."""
        return self.encoders[self.modules[agent]]

    def width(self, agent: str) -> int:
        """Columns that an agent takes."""
        return 1 + self.encoder(agent).input_size

    def size(self, module_id: str) -> int:
        """J, the columns that the critic of a module sees of all others."""
        agent = next(a for a, m in self.modules.items() if m == module_id)
        return sum(map(self.width, self.others(agent)))


@dataclass(frozen=True)
class Sightings:
    """K sightings of one agent, by rising key; a key is a round of a game."""

    keys: np.ndarray  # [K] game * span + round
    rows: np.ndarray  # [K, 1 + D + A] participation, features, action
    acts: np.ndarray  # [K] bool, False for final observations
    feature_size: int  # D

    @classmethod
    def of(
        cls,
        encoder: RowEncoder,
        keys: np.ndarray,
        observations: np.ndarray,
        actions: np.ndarray | None,
        participates: np.ndarray,
        finals: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> Sightings | None:
        """Of K turns of an agent, wherever they are from; None without turns.

        Args:
            encoder: of the agent's module.
            keys: ``[K]``, in any order.
            observations: ``[K, F]``.
            actions: ``[K, ...]``; None where the encoder reads none.
            participates: ``[K]`` bool.
            finals: ``[L]`` keys and ``[L, F]`` of final observations, on which nobody acts.
        """
        if len(keys) == 0:
            return None
        final_keys, final_observations = finals or (keys[:0], observations[:0])
        first, features = len(final_keys), encoder.feature_size
        rows = np.zeros((first + len(keys), 1 + encoder.input_size), np.float32)
        # Final observations first: where the next chunk's turn has the same key, the turn counts.
        rows[:first, 1 : 1 + features] = final_observations[:, :features]
        rows[first:, 0] = participates
        rows[first:, 1:] = encoder.encode(observations, actions)
        found = np.concatenate([final_keys, keys])
        order = np.argsort(found, kind="stable")
        acts = np.arange(len(found)) >= first
        return cls(found[order], rows[order], acts[order], features)

    def seen_at(self, keys: np.ndarray, span: int, shows_turns: np.ndarray) -> np.ndarray:
        """``[Q, 1 + D + A]`` what is known of the agent at ``keys`` (``[Q]``).

        Args:
            keys: of rounds.
            span: rounds from one game to the next.
            shows_turns: ``[Q]`` bool; elsewhere the agent counts as absent, whatever it did.
        """
        latest = np.searchsorted(self.keys, keys, side="right") - 1
        known = (latest >= 0) & (self.keys[latest] // span == keys // span)
        acts_now = known & shows_turns & (self.keys[latest] == keys) & self.acts[latest]
        seen = self.rows[latest] * known[:, None]
        seen[~acts_now, 0] = 0.0
        seen[~acts_now, 1 + self.feature_size :] = 0.0
        return seen


@dataclass(frozen=True)
class RoundKeys:
    """A number for every round of every game in a batch: game * span + round."""

    span: int
    turns: Mapping[str, np.ndarray]  # by module, [T]
    finals: Mapping[str, np.ndarray]  # by module, [S] of final observations

    @classmethod
    def of(cls, batches: Mapping[str, TurnBatch]) -> RoundKeys:
        """Of all modules that acted, at least one."""
        names = np.concatenate([turns.games for turns in batches.values()])
        games, first = np.unique(names, return_index=True)
        # By first appearance: RLlib draws names at random, and the order must follow from the seed.
        numbers = np.argsort(np.argsort(first))
        span = 1 + max(int(turns.final_rounds.max()) for turns in batches.values())
        begins = {
            m: numbers[np.searchsorted(games, turns.games)] * span for m, turns in batches.items()
        }
        return cls(
            span,
            {
                m: np.repeat(begins[m], np.diff(turns.segment_starts)) + turns.rounds
                for m, turns in batches.items()
            },
            {m: begins[m] + turns.final_rounds for m, turns in batches.items()},
        )


def rows_of_agent(turns: TurnBatch, agent: str) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the agent's turns and of its agent episodes."""
    segments = turns.agents == agent
    rows = np.repeat(segments, np.diff(turns.segment_starts))
    return np.flatnonzero(rows), np.flatnonzero(segments)
