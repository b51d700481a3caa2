"""Policies as files, and back as functions that need neither Ray nor torch.

A policy is a JSON description and its weights as safetensors beside it. Both are data: reading
them runs nothing that they hold, and every number is checked against the description.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Space
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from rllib_amagail.evaluation import Policy, sample_softmax
from rllib_amagail.space_json import space_from_dict, space_to_dict
from rllib_amagail.spaces import ActionLayout, ObservationLayout

FORMAT_VERSION = 1
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
_MAX_JSON_BYTES = 2**20
_MAX_WEIGHTS_BYTES = 2**28
_MAX_WIDTH, _MAX_LAYERS = 2**14, 32
_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "relu": lambda inputs: np.maximum(inputs, 0.0),
    "linear": lambda inputs: inputs,
}
_ENCODER = "encoder.actor_encoder.net.mlp.{}"
_SHARED_ENCODER = "encoder.encoder.net.mlp.{}"
_HEAD = "pi.net.mlp.0"
# What RLlib's networks carry besides linear layers; without effect on categorical actions.
_CONSTANT = "pi.log_std_clip_param_const"


class PolicyFileError(ValueError):
    """A policy file that cannot be used; says which, what was found and what was expected."""


@dataclass(frozen=True)
class _Description:
    """The JSON of a policy, checked."""

    weights: Path
    features: int  # D, width of an observation without its mask
    actions: int  # A; phi, where policies choose it, is the last
    mask: int  # M, A or 0
    hiddens: tuple[int, ...]
    activation: str
    shared: bool  # policy and value function share the hidden layers

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight, layer by layer, the constant excepted."""
        encoder = _SHARED_ENCODER if self.shared else _ENCODER
        # RLlib numbers layers and activations in one row.
        names = [encoder.format(2 * layer) for layer in range(len(self.hiddens))] + [_HEAD]
        widths = (self.features, *self.hiddens, self.actions)
        shapes: dict[str, tuple[int, ...]] = {}
        for name, inputs, outputs in zip(names, widths[:-1], widths[1:], strict=True):
            shapes |= {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
        return shapes


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
    """Write ``<name>.json`` and ``<name>.safetensors``.

    Args:
        folder: created if it is missing.
        name: of the module.
        weights: arrays by name.
        kind: "policy" or "reward".
        observation_space, action_space: of the module.
        model: widths and activation of its networks.
        provenance: free JSON: where it comes from.

    Returns:
        The JSON file, which names its weights.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {key: np.ascontiguousarray(array) for key, array in weights.items()}
    save_file(arrays, folder / f"{name}.safetensors")
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
    path = folder / f"{name}.json"
    path.write_text(json.dumps(description, indent=1, default=str) + "\n")
    return path


def load_policy(path: str | os.PathLike[str]) -> Policy:
    """Read a policy that `export_learned` wrote.

    Args:
        path: its JSON file; the weights lie beside it.

    Returns:
        A function of flat observations ``[B, F]`` (features, then the mask of actions where the
        space has one) and a generator, which draws actions ``[B]`` from the policy.

    Raises:
        PolicyFileError: a file that is missing, too large, damaged, or not what the JSON says.
    """
    path = Path(path)
    try:
        description = _description(path.parent, _read_json(path))
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise PolicyFileError(f"{path}: {error}") from error
    try:
        layers = _read_layers(description)
    except (OSError, SafetensorError, ValueError) as error:
        raise PolicyFileError(f"{description.weights}: {error}") from error
    return _sampler(layers, description)


def _read_json(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    if size > _MAX_JSON_BYTES:
        raise ValueError(f"found {size} bytes, expected at most {_MAX_JSON_BYTES}")
    stored = json.loads(path.read_bytes())
    if not isinstance(stored, dict) or set(stored) != _FIELDS:
        found = sorted(stored)[:20] if isinstance(stored, dict) else type(stored).__name__
        raise ValueError(
            f"found the fields {found}, expected {sorted(_FIELDS)}: pass a JSON file of the "
            f"folder policies/ that export_learned writes"
        )
    for name, expected in (("kind", "policy"), ("format_version", FORMAT_VERSION)):
        if stored[name] != expected:
            raise ValueError(f"found {name} {str(stored[name])[:50]!r}, expected {expected!r}")
    return stored


def _description(folder: Path, stored: dict[str, Any]) -> _Description:
    observations = ObservationLayout.from_space(space_from_dict(stored["observation_space"]))
    actions = ActionLayout.from_space(space_from_dict(stored["action_space"]))
    if len(actions.sizes) != 1 or actions.shape != ():
        raise ValueError(f"found actions in {stored['action_space']}, expected a Discrete space")
    name, model = stored["weights"], stored["model"]
    if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
        raise ValueError(
            f"found weights {str(name)[:100]!r}, expected the name of a .safetensors file beside it"
        )
    hiddens, activation = model["fcnet_hiddens"], model["fcnet_activation"]
    if (
        not isinstance(hiddens, list)
        or not 1 <= len(hiddens) <= _MAX_LAYERS
        or any(type(width) is not int or not 1 <= width <= _MAX_WIDTH for width in hiddens)
    ):
        raise ValueError(
            f"found fcnet_hiddens {str(hiddens)[:100]}, expected 1 to {_MAX_LAYERS} widths from 1 "
            f"to {_MAX_WIDTH}"
        )
    if activation not in _ACTIVATIONS:
        raise ValueError(
            f"found fcnet_activation {str(activation)[:50]!r}, expected one of "
            f"{', '.join(_ACTIVATIONS)}"
        )
    return _Description(
        weights=folder / name,
        features=observations.feature_size,
        actions=int(actions.sizes[0]),
        mask=observations.mask_size,
        hiddens=tuple(hiddens),
        activation=activation,
        shared=bool(model["vf_share_layers"]),
    )


def _read_layers(description: _Description) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights ``[in, out]`` and biases ``[out]`` of the layers, float64.

    In float64, machines that round differently agree on every action but for events of a chance
    around 1e-15, so a recording is the same everywhere.
    """
    size = description.weights.stat().st_size
    if size > _MAX_WEIGHTS_BYTES:
        raise ValueError(f"found {size} bytes, expected at most {_MAX_WEIGHTS_BYTES}")
    arrays = load_file(description.weights)
    arrays.pop(_CONSTANT, None)
    expected = description.shapes()
    found = {name: array.shape for name, array in arrays.items()}
    if found != expected:
        wrong = sorted(k for k in found.keys() | expected if found.get(k) != expected.get(k))[:4]
        raise ValueError(
            f"found { ({name: found.get(name) for name in wrong}) }, expected "
            f"{ ({name: expected.get(name) for name in wrong}) } from the JSON beside it"
        )
    for name, array in arrays.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError(f"found {name} {array.dtype}, expected finite float32 numbers")
    wide = [arrays[name].astype(np.float64) for name in expected]
    return [(weight.T, bias) for weight, bias in zip(wide[::2], wide[1::2], strict=True)]


def _sampler(layers: list[tuple[np.ndarray, np.ndarray]], description: _Description) -> Policy:
    activate = _ACTIVATIONS[description.activation]
    width = description.features + description.mask

    def act(observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if observations.ndim != 2 or observations.shape[1] != width:
            raise ValueError(
                f"observations have shape {observations.shape}, expected (B, {width}) of "
                f"{description.weights.stem}"
            )
        outputs = observations[:, : description.features].astype(np.float64)
        for weight, bias in layers[:-1]:
            outputs = activate(outputs @ weight + bias)
        logits = outputs @ layers[-1][0] + layers[-1][1]
        if description.mask:
            allowed = observations[:, description.features :] > 0.5
            logits = np.where(allowed, logits, np.finfo(np.float64).min)
        return sample_softmax(logits, rng)

    return act
