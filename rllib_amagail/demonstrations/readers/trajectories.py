"""Episodes as dicts of arrays per agent, in memory or in the pickles of MAGAIL and MA-AIRL."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rllib_amagail.demonstrations.data import Demonstrations
from rllib_amagail.demonstrations.errors import DemonstrationsError
from rllib_amagail.demonstrations.readers.interpretation import (
    AgentRows,
    Interpretation,
    assemble,
    flags,
    numbers,
)
from rllib_amagail.demonstrations.readers.restricted_pickle import loads
from rllib_amagail.demonstrations.readers.source_file import SourceFile

FIELDS = ("observations", "actions", "rewards", "participation", "action_masks")
# As `render.py` of both repositories writes them and `irl/dataset.py` reads them; "ep_ret" and
# "all_ob" repeat what is in these.
_MAGAIL = {"observations": "ob", "actions": "ac", "rewards": "rew"}


def from_dicts(episodes: Sequence[Mapping[str, Any]], **options: Any) -> Demonstrations:
    """Demonstrations of E episodes in memory, a dict each.

    | field | value, as a dict by agent or a list of N | |
    |---|---|---|
    | observations | [T, D] | needed |
    | actions | [T], or [T, n]; a Discrete action may be one-hot | may be missing in all episodes |
    | rewards | [T] | may be missing in all |
    | participation | [T] bool; actions elsewhere are ignored | may be missing in all: everywhere |
    | action_masks | [T, M] | may be missing in all |

    T may differ between episodes and between agents.

    Args:
        episodes: the dicts; other fields are ignored.
        **options: of `Interpretation`.

    Raises DemonstrationsError, naming episode, field and agent.
    """
    how = Interpretation(**options)
    return from_episodes(episodes, how, {}, {"format": "dicts"})


def read_pickle(path: str | os.PathLike[str], **options: Any) -> Demonstrations:
    """Demonstrations of an expert file of MAGAIL or MA-AIRL, of Python 2 or 3.

    The file holds a list of dicts: "ob", N arrays [T, D]; "ac", N lists of T one-hot arrays;
    "rew", N lists of T numbers; "ep_ret" and "all_ob", which repeat these. That is what
    `irl/render.py` of ermongroup/multiagent-gail and ermongroup/MA-AIRL writes and `MADataSet` of
    their `irl/dataset.py` reads. Other names go into `names`; the fields are those of `from_dicts`.

    Nothing in the file is executed, see `restricted_pickle`.

    Args:
        path: the file.
        **options: of `Interpretation`.

    Raises DemonstrationsError naming the file.
    """
    how = Interpretation(**options)
    try:
        source = SourceFile.read(path, how.max_bytes)
        episodes = loads(source.data, how.max_bytes)
        return from_episodes(episodes, how, _MAGAIL, source.provenance("pickle"))
    except DemonstrationsError as error:
        raise DemonstrationsError(f"{os.fspath(path)}: {error}") from error


def from_episodes(
    episodes: Any, how: Interpretation, defaults: Mapping[str, str], source: dict[str, Any]
) -> Demonstrations:
    """Demonstrations of dicts as `from_dicts` takes them.

    Args:
        episodes: the dicts, not checked yet.
        how: what the caller of the reader said.
        defaults: names of fields that are not called as in `from_dicts`.
        source: where the data came from, for the provenance.

    Raises DemonstrationsError, naming episode, field and agent.
    """
    names = how.field_names(FIELDS, defaults)
    if not isinstance(episodes, Sequence) or not episodes:
        raise DemonstrationsError(
            f"found {'no' if episodes == [] else type(episodes).__name__} episodes, expected a "
            f"list of dicts, one for each episode"
        )
    for number, episode in enumerate(episodes):
        if not isinstance(episode, Mapping) or names["observations"] not in episode:
            found = sorted(map(str, episode)) if isinstance(episode, Mapping) else type(episode)
            raise DemonstrationsError(
                f"episode {number}: found {str(found)[:200]}, expected a dict with "
                f"{names['observations']!r}: say what the source calls its fields with names"
            )
    has = {name for name in FIELDS if any(names[name] in episode for episode in episodes)}
    agents = _agents(episodes[0][names["observations"]], how)
    parts: dict[str, list[dict[str, np.ndarray]]] = {agent: [] for agent in agents}
    for number, episode in enumerate(episodes):
        values = {name: _by_agent(episode, names[name], agents, number) for name in has}
        for agent in agents:
            own = {name: by_agent[agent] for name, by_agent in values.items() if agent in by_agent}
            parts[agent].append(_rows(own, f"episode {number}, agent {agent!r}"))
    return assemble({agent: _join(agent, parts[agent]) for agent in agents}, how, source)


def _agents(observations: Any, how: Interpretation) -> list[str]:
    if isinstance(observations, Mapping):
        return how.ordered_agents(list(observations))
    if not isinstance(observations, Sequence | np.ndarray) or len(observations) == 0:
        raise DemonstrationsError(
            f"episode 0: found observations of type {type(observations).__name__}, expected a dict "
            f"by agent or a list of N arrays"
        )
    return how.agent_names(len(observations))


def _by_agent(
    episode: Mapping[str, Any], name: str, agents: list[str], number: int
) -> Mapping[str, Any]:
    values = episode.get(name)
    if isinstance(values, Mapping):
        # Agents without masks have none; every other field is everybody's.
        if unknown := sorted(set(values) - set(agents)):
            raise DemonstrationsError(
                f"episode {number}: found {name} of {unknown}, expected of {agents} only"
            )
        return values
    if not isinstance(values, Sequence | np.ndarray) or len(values) != len(agents):
        found = type(values).__name__ if not isinstance(values, Sequence) else len(values)
        raise DemonstrationsError(
            f"episode {number}: found {found} for {name!r}, expected a list of {len(agents)}, one "
            f"for each agent, or a dict by agent"
        )
    return dict(zip(agents, values, strict=True))


def _rows(values: Mapping[str, Any], where: str) -> dict[str, np.ndarray]:
    """The arrays of one agent in one episode; all have T rows."""
    arrays = {name: numbers(value, f"{where}, {name}") for name, value in values.items()}
    if "observations" not in arrays:
        raise DemonstrationsError(f"{where}: found no observations, expected some of every agent")
    # `np.squeeze` of MAGAIL's writer takes the axis of a single round away, too.
    seen = arrays["observations"]
    counted = next((arrays[name] for name in ("actions", "rewards") if name in arrays), seen)
    if seen.ndim < 2 and counted.ndim and len(counted) == 1:
        arrays["observations"] = seen.reshape(1, -1)
    if "rewards" in arrays and arrays["rewards"].ndim == 2 and arrays["rewards"].shape[1] == 1:
        arrays["rewards"] = arrays["rewards"][:, 0]
    lengths = {name: len(array) if array.ndim else None for name, array in arrays.items()}
    if None in lengths.values() or len(set(lengths.values())) > 1:
        raise DemonstrationsError(f"{where}: found rounds {lengths}, expected as many everywhere")
    return arrays


def _join(agent: str, parts: list[dict[str, np.ndarray]]) -> AgentRows:
    """All episodes of one agent."""
    names = set(parts[0])
    for number, part in enumerate(parts):
        if set(part) != names:
            raise DemonstrationsError(
                f"episode {number}, agent {agent!r}: found {sorted(part)}, expected "
                f"{sorted(names)} as in episode 0"
            )
    lengths = [len(part["observations"]) for part in parts]
    joined = {}
    for name in names:
        try:
            joined[name] = np.concatenate([part[name] for part in parts])
        except ValueError as error:
            shapes = sorted({part[name].shape[1:] for part in parts})[:5]
            raise DemonstrationsError(
                f"agent {agent!r}: found {name} with rows of shapes {shapes}, expected one shape"
            ) from error
    return AgentRows(
        episode=np.repeat(np.arange(len(parts)), lengths),
        round=np.concatenate([np.arange(length) for length in lengths]),
        observation=joined["observations"],
        action=joined.get("actions"),
        reward=joined.get("rewards"),
        participates=flags(joined.get("participation"), f"participation of {agent!r}"),
        action_mask=joined.get("action_masks"),
    )
