"""Files of learned policies and rewards: JSON that describes, safetensors beside it that weigh.

A folder has ``learned.json``, which says which module each agent has, and per module
``policies/<module>.json`` and ``rewards/<module>.json`` with a ``.safetensors`` each. All of it is
data: reading it runs nothing that it holds, and every number is checked against its description.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Space
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from rllib_amagail.space_json import space_from_dict, space_to_dict

FORMAT_VERSION = 1
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
    _replace(folder / f"{name}.safetensors", save(arrays))
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
    return _write_json(folder / f"{name}.json", description)


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
        agents = _read_json(path, _INDEX_FIELDS, "index")["agents"]
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
        stored = _read_json(path, _FIELDS, kind)
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
            observation_space=space_from_dict(stored["observation_space"]),
            action_space=space_from_dict(stored["action_space"]),
            model=stored["model"],
            provenance=stored["provenance"],
        )
    except (OSError, ValueError, RecursionError) as error:
        raise LearnedFileError(f"{path}: {error}") from error


def read_weights(
    path: Path, expected: Mapping[str, tuple[int, ...]], optional: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Finite float32 arrays of the expected names and shapes.

    Args:
        path: the safetensors file.
        expected: shape by name.
        optional: names of arrays ``[1]`` that may be there besides.

    Raises:
        LearnedFileError: anything else, or a file that is too large or damaged.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_WEIGHTS_BYTES:
            raise ValueError(f"found {size} bytes, expected at most {_MAX_WEIGHTS_BYTES}")
        arrays = load_file(path)
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


def _read_json(path: Path, fields: set[str], kind: str) -> dict[str, Any]:
    size = path.stat().st_size
    if size > _MAX_JSON_BYTES:
        raise ValueError(f"found {size} bytes, expected at most {_MAX_JSON_BYTES}")
    stored = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    if not isinstance(stored, dict) or set(stored) != fields:
        found = sorted(stored)[:20] if isinstance(stored, dict) else type(stored).__name__
        raise ValueError(
            f"found the fields {found}, expected {sorted(fields)}: pass a file that "
            "export_learned wrote"
        )
    for name, expected in (("kind", kind), ("format_version", FORMAT_VERSION)):
        if type(stored[name]) is not type(expected) or stored[name] != expected:
            raise ValueError(f"found {name} {str(stored[name])[:50]!r}, expected {expected!r}")
    return stored


def _refuse_constant(name: str) -> None:
    raise ValueError(f"found {name}, expected finite numbers")


def _write_json(path: Path, stored: Mapping[str, Any]) -> Path:
    _replace(path, (json.dumps(stored, indent=1, default=str, allow_nan=False) + "\n").encode())
    return path


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever reads a part of it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
