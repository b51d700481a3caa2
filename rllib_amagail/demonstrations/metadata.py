"""The JSON beside the rows of a demonstrations file: what they are, and a checksum of it all."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Space

from rllib_amagail.demonstrations.errors import DemonstrationsError
from rllib_amagail.demonstrations.record import AgentRecord
from rllib_amagail.spaces import space_from_dict

SCHEMA_VERSION = 2
_MAX_TEXT = 16 * 2**20  # bytes; spaces and provenance take a few thousand
_FIELDS = {
    "schema_version",
    "agents",
    "observation_spaces",
    "action_spaces",
    "game",
    "player_function",
    "provenance",
    "num_episodes",
    "checksum",
}
# What version 2 adds, and what a file of version 1 means by its absence.
_SINCE_VERSION_2 = {"has_actions": True, "turns_kept_every": 1}


@dataclass(frozen=True)
class Metadata:
    """What a file says about its rows, checked."""

    description: dict[str, Any]  # plain JSON, of all that the checksum covers besides the rows
    checksum: str
    agents: tuple[str, ...]
    observation_spaces: dict[str, Space]
    action_spaces: dict[str, Space]
    has_actions: bool
    turns_kept_every: int


def encode(description: dict[str, Any], records: Mapping[str, AgentRecord]) -> bytes:
    """The text to store: `description` with version and checksum. Refuses what `decode` would.

    The version is the oldest that can say it, so that older packages read what they understand.
    """
    is_plain = all(description[name] == value for name, value in _SINCE_VERSION_2.items())
    stored = {**description, "schema_version": 1 if is_plain else 2}
    if is_plain:
        stored = {name: value for name, value in stored.items() if name not in _SINCE_VERSION_2}
    stored["checksum"] = checksum(stored, records)
    text = _canonical(stored)
    decode(text)
    return text


def decode(text: bytes) -> Metadata:
    """Parse and check stored text.

    Raises DemonstrationsError for anything that `encode` does not write.
    """
    if len(text) > _MAX_TEXT:
        raise DemonstrationsError(
            f"found {len(text)} bytes of metadata, expected at most {_MAX_TEXT}"
        )
    try:
        stored = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DemonstrationsError(f"found metadata that is not JSON: {error}") from error
    version = stored.get("schema_version") if isinstance(stored, dict) else None
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        raise DemonstrationsError(
            f"found schema version {str(version)[:100]}, expected 1 to {SCHEMA_VERSION}: if the "
            f"file is newer than this package, upgrade the package"
        )
    fields = _FIELDS | set(_SINCE_VERSION_2 if version >= 2 else ())
    if set(stored) != fields:
        wrong = sorted(set(stored) ^ fields)
        raise DemonstrationsError(
            f"found metadata with missing or unknown fields {wrong[:9]}, expected {sorted(fields)}"
        )
    since = {
        **_SINCE_VERSION_2,
        **{name: stored[name] for name in _SINCE_VERSION_2 if name in stored},
    }
    for name, default in _SINCE_VERSION_2.items():
        if type(since[name]) is not type(default):
            raise DemonstrationsError(
                f"found {name} {str(since[name])[:100]} in the metadata, expected a "
                f"{type(default).__name__}"
            )
    agents = stored["agents"]
    if not isinstance(agents, list) or not agents or any(type(a) is not str for a in agents):
        raise DemonstrationsError(
            f"found agents {str(agents)[:100]} in the metadata, expected a list of names"
        )
    return Metadata(
        checksum=stored.pop("checksum"),
        agents=tuple(agents),
        observation_spaces=_spaces("observation_spaces", stored["observation_spaces"], agents),
        action_spaces=_spaces("action_spaces", stored["action_spaces"], agents),
        description=stored,
        **since,
    )


def checksum(description: dict[str, Any], records: Mapping[str, AgentRecord]) -> str:
    """SHA-256 over the canonical JSON (without a checksum) and the little-endian arrays."""
    digest = hashlib.sha256(_canonical(description))
    for agent, record in records.items():
        for name, array in record.columns(slice(None)).items():
            if array is not None:
                little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
                digest.update(_canonical([agent, name, little.dtype.str, list(little.shape)]))
                digest.update(np.ascontiguousarray(little).data)
    return digest.hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _spaces(name: str, descriptions: Any, agents: list[str]) -> dict[str, Space]:
    if not isinstance(descriptions, dict) or set(descriptions) != set(agents):
        raise DemonstrationsError(f"found metadata whose {name} are not those of agents {agents}")
    try:
        return {agent: space_from_dict(descriptions[agent]) for agent in agents}
    except ValueError as error:
        raise DemonstrationsError(f"{name}: {error}") from error
