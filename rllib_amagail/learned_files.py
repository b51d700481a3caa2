"""Files of learned policies and rewards: JSON that describes, safetensors beside it that weigh.

A folder has ``learned.json``, which says which module each agent has, and per module
``policies/<module>.json`` and ``rewards/<module>.json`` with a ``.safetensors`` each. All of it is
data: reading it runs nothing that it holds, and every number is checked against its description.
Since version 2 a checksum covers both; files of version 1 have none.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from gymnasium.spaces import Space
from safetensors import SafetensorError
from safetensors.numpy import load, save

from rllib_amagail.space_json import space_from_dict, space_to_dict

Network = TypeVar("Network")

FORMAT_VERSION = 2
INDEX = "learned.json"
FOLDERS = {"policy": "policies", "reward": "rewards"}
_FIELDS = {
    "format_version",
    "kind",
    "module",
    "weights",
    "observation_space",
    "action_space",
    "model",
    "provenance",
}
_INDEX_FIELDS = {"format_version", "kind", "agents"}
_DIGEST = "sha256"
_SUFFIX = ".safetensors"
_MAX_JSON_BYTES = 2**20
_MAX_WEIGHTS_BYTES = 2**28
_MAX_WIDTH, _MAX_LAYERS = 2**14, 32


class LearnedFileError(ValueError):
    """A file that cannot be used; says which, what was found and what was expected."""


@dataclass(frozen=True)
class Description:
    """The JSON of one module; its fields are of the right kind, ``model`` is yet to be checked."""

    path: Path
    weights: Path
    digest: Any  # of JSON and weights, hexadecimal; None in version 1
    stored: Mapping[str, Any]  # what the digest covers besides the weights
    observation_space: Space
    action_space: Space
    model: Mapping[str, Any]
    provenance: Mapping[str, Any]


def save_learned(
    folder: str | os.PathLike[str],
    name: str,
    weights: Mapping[str, np.ndarray],
    *,
    kind: str,
    observation_space: Space,
    action_space: Space,
    model: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> Path:
    """Write ``<name>.json`` and ``<name>.safetensors``, each at once and whole.

    Args:
        folder: created if it is missing.
        name: of the module.
        weights: arrays by name.
        kind: "policy" or "reward".
        observation_space, action_space: of the module.
        model: what is needed to rebuild its networks.
        provenance: free JSON: where it comes from.

    Returns:
        The JSON file, which names its weights.

    Raises:
        ValueError: a name that is no file name.
    """
    if not _is_file_name(name):
        raise ValueError(f"found module {name!r}, expected a name that can be a file's")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {key: np.ascontiguousarray(array) for key, array in weights.items()}
    content = save(arrays)
    _replace(folder / f"{name}.safetensors", content)
    description = {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "module": name,
        "weights": f"{name}.safetensors",
        "observation_space": space_to_dict(observation_space),
        "action_space": space_to_dict(action_space),
        "model": dict(model),
        "provenance": dict(provenance),
    }
    return _write_json(folder / f"{name}.json", description, content)


def save_index(folder: str | os.PathLike[str], module_of: Mapping[str, str]) -> Path:
    """Write ``learned.json``, which maps agents to modules."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    index = {"format_version": FORMAT_VERSION, "kind": "index", "agents": dict(module_of)}
    return _write_json(Path(folder) / INDEX, index)


def read_index(folder: str | os.PathLike[str]) -> dict[str, str]:
    """The module of each agent.

    Raises:
        LearnedFileError: no index in ``folder``, or a damaged one.
    """
    path = Path(folder) / INDEX
    try:
        stored, digest = _read_json(path, _INDEX_FIELDS, "index")
        _check_digest(digest, stored, b"")
        agents = stored["agents"]
        if not isinstance(agents, dict) or not agents:
            raise ValueError(f"found agents {str(agents)[:100]}, expected a module per agent")
        for module in agents.values():
            if not isinstance(module, str) or not _is_file_name(module):
                raise ValueError(
                    f"found module {str(module)[:100]!r}, expected the name of files in "
                    f"{' and '.join(FOLDERS.values())}"
                )
    except (OSError, ValueError, RecursionError) as error:
        raise LearnedFileError(f"{path}: {error}") from error
    return agents


def read_networks(
    folder: str | os.PathLike[str], kind: str, load: Callable[[Path], Network]
) -> dict[str, Network]:
    """What ``load`` makes of every module's JSON, by agent; agents of one module share it.

    Raises:
        LearnedFileError: as `read_index` and ``load``.
    """
    module_of = read_index(folder)
    modules = sorted(set(module_of.values()))
    networks = {module: load(module_path(folder, kind, module)) for module in modules}
    return {agent: networks[module] for agent, module in module_of.items()}


def module_path(folder: str | os.PathLike[str], kind: str, module: str) -> Path:
    """Where the JSON of a module lies in a folder."""
    return Path(folder) / FOLDERS[kind] / f"{module}.json"


def read_description(path: str | os.PathLike[str], kind: str) -> Description:
    """Read the JSON of a module.

    Raises:
        LearnedFileError: it is missing, too large, damaged, or of another kind.
    """
    path = Path(path)
    try:
        stored, digest = _read_json(path, _FIELDS, kind)
        name = stored["weights"]
        if not isinstance(name, str) or not _is_file_name(name) or Path(name).suffix != _SUFFIX:
            raise ValueError(
                f"found weights {str(name)[:100]!r}, expected the name of a {_SUFFIX} file beside "
                "it"
            )
        for part in ("model", "provenance"):
            if not isinstance(stored[part], dict):
                raise ValueError(f"found {part} {str(stored[part])[:50]}, expected an object")
        return Description(
            path=path,
            weights=path.parent / name,
            digest=digest,
            stored=stored,
            observation_space=space_from_dict(stored["observation_space"]),
            action_space=space_from_dict(stored["action_space"]),
            model=stored["model"],
            provenance=stored["provenance"],
        )
    except (OSError, ValueError, RecursionError) as error:
        raise LearnedFileError(f"{path}: {error}") from error


def read_network(
    path: str | os.PathLike[str], kind: str, build: Callable[[Description], Network]
) -> Network:
    """Read the JSON of a module, and make of it and of the weights beside it what ``build`` does.

    Raises:
        LearnedFileError: a file that is missing, too large, damaged, or not what it says.
    """
    description = read_description(path, kind)
    try:
        return build(description)
    except LearnedFileError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise LearnedFileError(f"{path}: {error}") from error


def read_weights(
    description: Description,
    expected: Mapping[str, tuple[int, ...]],
    optional: Collection[str] = (),
) -> dict[str, np.ndarray]:
    """Finite float32 arrays of the expected names and shapes.

    Args:
        description: names the safetensors file.
        expected: shape by name.
        optional: names of arrays ``[1]`` that may be there besides.

    Raises:
        LearnedFileError: anything else, or a file that is too large or damaged.
    """
    path = description.weights
    try:
        content = _read_bytes(path, _MAX_WEIGHTS_BYTES)
        arrays = load(content)
        shapes = {name: array.shape for name, array in arrays.items()}
        allowed = {**expected, **{name: (1,) for name in optional if name in shapes}}
        if shapes != allowed:
            either = shapes.keys() | allowed
            wrong = sorted(name for name in either if shapes.get(name) != allowed.get(name))[:4]
            raise ValueError(
                f"found { ({name: shapes.get(name) for name in wrong}) }, expected "
                f"{ ({name: allowed.get(name) for name in wrong}) } from the JSON beside it"
            )
        for name, array in arrays.items():
            if array.dtype != np.float32 or not np.isfinite(array).all():
                raise ValueError(f"found {name} {array.dtype}, expected finite float32 numbers")
        _check_digest(description.digest, description.stored, content)
    # What safetensors makes of types that numpy lacks is a KeyError or an AttributeError.
    except (OSError, SafetensorError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise LearnedFileError(f"{path}: {error}") from error
    return arrays


def check_widths(name: str, widths: Any) -> tuple[int, ...]:
    """Widths of hidden layers as a JSON has them.

    Raises:
        ValueError: not a list of 1 to 32 widths from 1 to 16,384.
    """
    if (
        not isinstance(widths, list)
        or not 1 <= len(widths) <= _MAX_LAYERS
        or any(type(width) is not int or not 1 <= width <= _MAX_WIDTH for width in widths)
    ):
        raise ValueError(
            f"found {name} {str(widths)[:100]}, expected 1 to {_MAX_LAYERS} widths from 1 to "
            f"{_MAX_WIDTH}"
        )
    return tuple(widths)


def linear_shapes(names: list[str], widths: list[int]) -> dict[str, tuple[int, ...]]:
    """Name and shape of the weights of a chain of linear layers, called ``names``."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, inputs, outputs in zip(names, widths[:-1], widths[1:], strict=True):
        shapes |= {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
    return shapes


def _is_file_name(name: str) -> bool:
    return name not in ("", ".", "..") and not set(name) & set("/\\\0") and len(name) <= 200


def _read_bytes(path: Path, limit: int) -> bytes:
    size = path.stat().st_size
    if size > limit:
        raise ValueError(f"found {size} bytes, expected at most {limit}")
    return path.read_bytes()


def _read_json(path: Path, fields: set[str], kind: str) -> tuple[dict[str, Any], Any]:
    """The fields of a file, and its digest; None in version 1."""
    content = _read_bytes(path, _MAX_JSON_BYTES)
    stored = json.loads(content, parse_constant=_refuse_constant)
    digest = stored.pop(_DIGEST, None) if isinstance(stored, dict) else None
    if not isinstance(stored, dict) or set(stored) != fields:
        found = sorted(stored)[:20] if isinstance(stored, dict) else type(stored).__name__
        raise ValueError(
            f"found the fields {found}, expected {sorted(fields)}: pass a file that "
            "export_learned wrote"
        )
    if stored["kind"] != kind:
        raise ValueError(f"found kind {str(stored['kind'])[:50]!r}, expected {kind!r}")
    version = stored["format_version"]
    if type(version) is not int or version not in (1, FORMAT_VERSION):
        raise ValueError(
            f"found format_version {str(version)[:50]!r}, expected 1 or {FORMAT_VERSION}"
        )
    if (digest is None) != (version == 1):
        raise ValueError(f"found {_DIGEST} {str(digest)[:50]} in version {version}")
    return stored, digest


def _check_digest(found: Any, stored: Mapping[str, Any], weights: bytes) -> None:
    if found is not None and found != _digest(stored, weights):
        raise ValueError(
            "found contents that do not match the checksum in the JSON, expected the files as they "
            "were written: export again, or copy both files again"
        )


def _digest(stored: Mapping[str, Any], weights: bytes) -> str:
    """SHA-256 of the canonical JSON, without the digest, and of the weights."""
    text = json.dumps(stored, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode() + b"\0" + weights).hexdigest()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"found {name}, expected finite numbers")


def _write_json(path: Path, stored: Mapping[str, Any], weights: bytes = b"") -> Path:
    plain = json.loads(json.dumps(stored, default=str, allow_nan=False))
    text = json.dumps({**plain, _DIGEST: _digest(plain, weights)}, indent=1)
    _replace(path, (text + "\n").encode())
    return path


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever reads a part of it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
