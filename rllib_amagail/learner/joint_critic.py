"""What a joint critic sees of the other agents, as MAGAIL's does: V_nu(s, a_{-i}).

At a turn of agent i in round t the critic sees i's own observation and, of each other agent j,

- whether j participates in round t,
- the features of what j last saw: at its last turn at or before t; zeros before its first turn,
- the action of j in round t; zeros stand for phi.

With ``phi="chosen"`` or ``"executed"`` phi is an action, and others act every round: then the
action they chose is seen, phi included.

At the final observation of an agent episode nobody has acted yet: participation and actions are
zeros. So is all that a batch does not hold: turns of others before the chunk began or after it was
cut, whose last observation still counts as seen. Batches of whole episodes have no such gaps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.utils.typing import EpisodeType

from rllib_amagail.learner.turns import TurnBatch
from rllib_amagail.row_encoder import RowEncoder


@dataclass(frozen=True)
class JointView:
    """Who are an agent's others, and how much of them is seen.

    Others come in the order of their modules, so that all agents of a shared module see the same
    kind of agent in the same columns.
    """

    modules: Mapping[str, str]  # agent -> policy module, for all agents
    encoders: Mapping[str, RowEncoder]  # by module

    @classmethod
    def from_spaces(
        cls, modules: Mapping[str, str], spaces: Mapping[str, tuple[gym.Space, gym.Space]]
    ) -> JointView:
        """Of agents with these ``modules``, whose observation and action ``spaces`` are given."""
        used = set(modules.values())
        return cls(modules, {m: RowEncoder(*spaces[m]) for m in sorted(used)})

    def others(self, agent: str) -> list[str]:
        """The other agents, in the order of their columns."""
        return sorted((j for j in self.modules if j != agent), key=lambda j: (self.modules[j], j))

    def width(self, agent: str) -> int:
        """Columns that an agent takes among another's."""
        return 1 + self.encoders[self.modules[agent]].input_size

    def size(self, module_id: str) -> int:
        """J, the columns that the critic of a module sees of all others."""
        agent = next(a for a, m in self.modules.items() if m == module_id)
        return sum(map(self.width, self.others(agent)))


@dataclass(frozen=True)
class _Sightings:
    """K sightings of one agent, by rising key; a key is a round of a game."""

    keys: np.ndarray  # [K]
    rows: np.ndarray  # [K, 1 + D + A] participation, features, action
    acts: np.ndarray  # [K] bool, False for final observations
    feature_size: int  # D

    def seen_at(self, keys: np.ndarray, span: int, is_turn: np.ndarray) -> np.ndarray:
        """``[Q, 1 + D + A]`` what is known of the agent at ``keys`` (``[Q]``)."""
        latest = np.searchsorted(self.keys, keys, side="right") - 1
        known = (latest >= 0) & (self.keys[latest] // span == keys // span)
        acts_now = known & is_turn & (self.keys[latest] == keys) & self.acts[latest]
        seen = self.rows[latest] * known[:, None]
        seen[~acts_now, 0] = 0.0
        seen[~acts_now, 1 + self.feature_size :] = 0.0
        return seen


def add_others(batches: Mapping[str, TurnBatch], view: JointView) -> dict[str, TurnBatch]:
    """Fill ``others`` and ``final_others`` of all modules' turns.

    Args:
        batches: the turns of every module that acted, phi already filtered out where it is to be.
        view: of all agents.

    Returns:
        The same batches with the columns of the module docstring, ``[T, J]`` and ``[S, J]``.
    """
    games = np.unique(np.concatenate([turns.games for turns in batches.values()]))
    span = 1 + max(int(turns.final_rounds.max()) for turns in batches.values())
    keys = {
        module_id: _keys(turns, np.searchsorted(games, turns.games), span)
        for module_id, turns in batches.items()
    }
    sightings = {
        agent: _sightings(batches[m], keys[m], agent, view.encoders[m])
        for agent, m in view.modules.items()
        if m in batches
    }
    return {
        module_id: _with_others(turns, keys[module_id], span, sightings, view)
        for module_id, turns in batches.items()
    }


def _keys(turns: TurnBatch, games: np.ndarray, span: int) -> np.ndarray:
    """``[T + S]`` keys of turns, then of final observations."""
    of_turns = np.repeat(games, np.diff(turns.segment_starts)) * span + turns.rounds
    return np.concatenate([of_turns, games * span + turns.final_rounds])


def _rows_of(turns: TurnBatch, agent: str) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the agent's turns and of its agent episodes."""
    segments = turns.agents == agent
    rows = np.repeat(segments, np.diff(turns.segment_starts))
    return np.flatnonzero(rows), np.flatnonzero(segments)


def _sightings(
    turns: TurnBatch, keys: np.ndarray, agent: str, encoder: RowEncoder
) -> _Sightings | None:
    rows, segments = _rows_of(turns, agent)
    if len(rows) == 0:
        return None
    features = encoder.feature_size
    seen = np.zeros((len(segments) + len(rows), 1 + encoder.input_size), np.float32)
    # Final observations first: where the next chunk's turn has the same key, the turn counts.
    seen[: len(segments), 1 : 1 + features] = turns.final_observations[segments, :features]
    seen[len(segments) :, 0] = turns.participates[rows]
    seen[len(segments) :, 1:] = encoder.encode(turns.observations[rows], turns.actions[rows])
    found = np.concatenate([keys[len(turns) + segments], keys[rows]])
    order = np.argsort(found, kind="stable")
    acts = np.arange(len(found)) >= len(segments)
    return _Sightings(found[order], seen[order], acts[order], features)


def _with_others(
    turns: TurnBatch,
    keys: np.ndarray,
    span: int,
    sightings: Mapping[str, _Sightings | None],
    view: JointView,
) -> TurnBatch:
    agents = list(dict.fromkeys(turns.agents))
    others = np.zeros((len(keys), sum(map(view.width, view.others(agents[0])))), np.float32)
    for agent in agents:
        turn_rows, segments = _rows_of(turns, agent)
        rows = np.concatenate([turn_rows, len(turns) + segments])
        start = 0
        for other in view.others(agent):
            columns = slice(start, start := start + view.width(other))
            known = sightings.get(other)
            if known is not None:
                others[rows, columns] = known.seen_at(keys[rows], span, rows < len(turns))
    return replace(turns, others=others[: len(turns)], final_others=others[len(turns) :])


class AddOthers(ConnectorV2):
    """Applies `add_others` to every module's turns; the last of the learner's connectors.

    Args:
        modules: agent -> policy module, for all agents.
    """

    def __init__(self, *args: Any, modules: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._modules = dict(modules)

    def __call__(
        self,
        *,
        rl_module: RLModule,
        batch: dict[str, Any],
        episodes: Sequence[EpisodeType],
        explore: bool | None = None,
        shared_data: dict | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        if not batch:
            return batch
        policies = {m: rl_module[m] for m in set(self._modules.values())}
        spaces = {m: (p.observation_space, p.action_space) for m, p in policies.items()}
        return add_others(batch, JointView.from_spaces(self._modules, spaces))
