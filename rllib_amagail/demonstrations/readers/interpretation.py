"""From what a source holds of every agent to demonstrations: the last step of every reader.

K counts rows of an agent, D features, M mask columns, E episodes, T rounds, N agents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space

from rllib_amagail.demonstrations.data import Demonstrations
from rllib_amagail.demonstrations.errors import DemonstrationsError
from rllib_amagail.demonstrations.readers.asynchronous import make_asynchronous
from rllib_amagail.demonstrations.readers.source_file import MAX_BYTES
from rllib_amagail.demonstrations.record import AgentRecord
from rllib_amagail.player_functions import PlayerFunction
from rllib_amagail.spaces import MASK_KEY, ActionLayout, ObservationLayout

_MAX_CHOICES = 10_000  # of an inferred action space


@dataclass(frozen=True)
class Interpretation:
    """What a reader is told about its source; all of it is optional.

    Attributes:
        names: what the source calls the fields, by what this package calls them. Each reader's
            docstring has its fields.
        agents: the N agents in order. Sources that number their agents call them agent_1, ...;
            those that name them may be given another order.
        observation_spaces, action_spaces: by agent. Those not given are inferred: unbounded Boxes
            for observations and for actions with fractions, Discrete for single integers and
            one-hot rows, MultiDiscrete for several integers. The provenance says so.
        game: a name for it.
        player_function: makes a recording asynchronous in which everybody acted in every round,
            see `make_asynchronous`; `rng` draws from it.
        rng: for `player_function` only.
        max_bytes: refuse a source whose contents would take more memory.

    Raises DemonstrationsError for a player function without a generator.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    agents: Sequence[str] | None = None
    observation_spaces: Mapping[str, Space] = field(default_factory=dict)
    action_spaces: Mapping[str, Space] = field(default_factory=dict)
    game: str | None = None
    player_function: PlayerFunction | None = None
    rng: np.random.Generator | None = None
    max_bytes: int = MAX_BYTES

    def __post_init__(self) -> None:
        if self.player_function is not None and self.rng is None:
            raise DemonstrationsError(
                "found a player_function without rng, expected both: pass "
                "rng=numpy.random.default_rng(seed), which decides who participates"
            )

    def field_names(self, fields: Sequence[str], defaults: Mapping[str, str]) -> dict[str, str]:
        """Names of `fields` in the source: as told, else by default, else their own.

        Raises DemonstrationsError if `names` has others.
        """
        unknown = sorted(set(self.names) - set(fields))
        if unknown:
            raise DemonstrationsError(
                f"found names for {unknown}, expected names for some of {list(fields)}"
            )
        return {name: self.names.get(name, defaults.get(name, name)) for name in fields}

    def ordered_agents(self, found: Sequence[str]) -> list[str]:
        """The source's named agents in the order asked for.

        Raises DemonstrationsError if others were asked for.
        """
        if self.agents is None:
            return list(found)
        if sorted(self.agents) != sorted(found):
            raise DemonstrationsError(
                f"found agents {list(found)[:20]}, expected {list(self.agents)}: give all agents "
                f"of the source, in any order"
            )
        return list(self.agents)

    def agent_names(self, count: int) -> list[str]:
        """Names of the source's `count` numbered agents.

        Raises DemonstrationsError if another number of names was given.
        """
        if self.agents is None:
            return [f"agent_{number}" for number in range(1, count + 1)]
        if len(self.agents) != count:
            raise DemonstrationsError(
                f"found {count} agents, expected {len(self.agents)}: {list(self.agents)}"
            )
        return list(self.agents)


@dataclass(frozen=True)
class AgentRows:
    """K rows of one agent as its source has them, in any order; `assemble` checks them."""

    episode: np.ndarray  # [K] int, from 0
    round: np.ndarray  # [K] int
    observation: np.ndarray  # [K, ...]
    action: np.ndarray | None  # [K] or [K, n]; a Discrete one may be one-hot
    reward: np.ndarray | None = None  # [K]
    participates: np.ndarray | None = None  # [K] bool; None: in every row
    action_mask: np.ndarray | None = None  # [K, M] of 0 and 1


def assemble(
    rows: Mapping[str, AgentRows], how: Interpretation, source: dict[str, Any]
) -> Demonstrations:
    """Demonstrations of the agents in `rows`, in that order.

    Args:
        rows: of each agent.
        how: what the caller of the reader said.
        source: where the data came from, for the provenance.

    Raises DemonstrationsError for whatever does not fit together.
    """
    observation_spaces, action_spaces, records = {}, {}, {}
    inferred: dict[str, list[str]] = {"observation_spaces": [], "action_spaces": []}
    for name in ("observation_spaces", "action_spaces"):
        unknown = sorted(set(getattr(how, name)) - set(rows))
        if unknown:
            raise DemonstrationsError(
                f"found {name} of {unknown}, expected of some of {list(rows)} only"
            )
        inferred[name] = [agent for agent in rows if agent not in getattr(how, name)]
    for agent, own in rows.items():
        try:
            seen = how.observation_spaces.get(agent)
            seen = _observation_space(own) if seen is None else seen
            done = how.action_spaces.get(agent)
            done = _action_space(own) if done is None else done
            records[agent] = _record(agent, own, seen, done)
        except DemonstrationsError:
            raise
        except ValueError as error:
            raise DemonstrationsError(f"agent {agent!r}: {error}") from error
        observation_spaces[agent], action_spaces[agent] = seen, done
    demonstrations = Demonstrations(
        agents=tuple(rows),
        records=records,
        observation_spaces=observation_spaces,
        action_spaces=action_spaces,
        game=how.game,
        provenance={"source": source, "inferred": {k: v for k, v in inferred.items() if v}},
    )
    if how.player_function is None or how.rng is None:
        return demonstrations
    return make_asynchronous(demonstrations, how.player_function, how.rng)


def numbers(values: Any, what: str) -> np.ndarray:
    """`values` as an array. Raises DemonstrationsError, naming `what`, if they are no numbers."""
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, OverflowError) as error:
        raise DemonstrationsError(
            f"{what}: found rows of different shapes, expected one shape ({error})"
        ) from error
    if array.dtype.kind not in "biuf":
        raise DemonstrationsError(f"{what}: found {array.dtype} values, expected numbers")
    return array


def flags(values: np.ndarray | None, what: str) -> np.ndarray | None:
    """Participation as bool. Raises DemonstrationsError for other values than 0 and 1."""
    if values is None:
        return None
    if not np.isin(values, (0, 1)).all():
        raise DemonstrationsError(f"{what}: found other values, expected True and False")
    return values.astype(bool)


def _record(agent: str, rows: AgentRows, seen: Space, done: Space) -> AgentRecord:
    order = np.lexsort((rows.round, rows.episode))
    own = np.ones(len(order), bool) if rows.participates is None else rows.participates
    layout = ActionLayout.from_space(done)
    action = None
    if rows.action is not None:
        values = rows.action[own]
        if isinstance(done, Discrete) and _is_one_hot(values, int(done.n)):
            values = values.argmax(axis=1) + int(done.start)
        if values.size == len(values) and layout.low.size == 1:  # one number, in a row or not
            values = values.reshape(len(values), *layout.shape)
        action = np.zeros((len(own), *layout.shape), layout.dtype)
        action[own] = layout.encode(values)
        action = action[order]
    features = _features(rows.observation, seen)[order]
    mask = None
    if rows.action_mask is not None:
        wrong = (rows.action_mask != 0) & (rows.action_mask != 1)
        if wrong.any():
            raise ValueError(f"found action mask {rows.action_mask[wrong][0]}, expected 0 or 1")
        mask = rows.action_mask.astype(bool)[order]
    return AgentRecord(
        agent=agent,
        episode=rows.episode[order],
        round=rows.round[order],
        participates=own[order],
        observation=features,
        action=action,
        action_mask=mask,
        reward=None if rows.reward is None else rows.reward[order],
    )


def _features(observation: np.ndarray, space: Space) -> np.ndarray:
    """Flat features [K, D]; values of a space of categories are taken apart, flat ones are not."""
    if not isinstance(space, Box) and observation.shape[1:] == space.shape:
        return ObservationLayout.from_space(space).flatten(observation)
    return _as_matrix(observation)


def _as_matrix(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), -1) if array.size else array.reshape(len(array), 0)


def _observation_space(rows: AgentRows) -> Space:
    width = _as_matrix(rows.observation).shape[1]
    features = Box(-np.inf, np.inf, (width,), np.float32)
    if rows.action_mask is None:
        return features
    mask = MultiBinary(rows.action_mask.shape[1])
    return Dict({"observation": features, MASK_KEY: mask})


def _action_space(rows: AgentRows) -> Space:
    """The smallest space that holds the actions. Raises ValueError if there is no telling."""
    action = rows.action
    if action is not None and rows.participates is not None:
        action = action[rows.participates]
    if action is None or action.size == 0 or action.ndim > 2:
        raise ValueError(
            f"found {'no actions' if action is None else f'actions of shape {action.shape}'}, "
            f"expected [K] or [K, n] to infer an action space: give action_spaces"
        )
    if action.ndim == 2 and action.shape[1] == 1:
        action = action[:, 0]
    if (action != np.rint(action)).any() or not np.isfinite(action).all():
        width = 1 if action.ndim == 1 else action.shape[1]
        return Box(-np.inf, np.inf, (width,), np.float32)
    if rows.action_mask is not None and action.ndim == 1:
        return Discrete(rows.action_mask.shape[1])
    if action.ndim == 2 and _is_one_hot(action, action.shape[1]):
        return Discrete(action.shape[1])
    if action.min() < 0 or action.max() >= _MAX_CHOICES:
        raise ValueError(
            f"found actions from {action.min()} to {action.max()}, expected 0 to "
            f"{_MAX_CHOICES - 1} to infer an action space: give action_spaces"
        )
    choices = action.max(axis=0).astype(np.int64) + 1
    return Discrete(int(choices)) if action.ndim == 1 else MultiDiscrete(choices)


def _is_one_hot(action: np.ndarray, choices: int) -> bool:
    """Whether every row of actions is all 0 but for one 1."""
    if action.ndim != 2 or action.shape[1] != choices or choices < 2:
        return False
    return bool((((action == 0) | (action == 1)).all(axis=1) & (action.sum(axis=1) == 1)).all())
