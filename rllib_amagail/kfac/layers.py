"""Which layers and settings K-FAC takes; everything is checked here, once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

# Smallest value of each setting, whether it is allowed itself, and the bound above (exclusive).
BOUNDS: dict[str, tuple[float, bool, float]] = {
    "lr": (0.0, True, float("inf")),
    "kl_clip": (0.0, False, float("inf")),
    "damping": (0.0, True, float("inf")),
    "momentum": (0.0, True, 1.0),
    "statistics_decay": (0.0, True, 1.0),
    "inverse_every": (1, True, float("inf")),
    "weight_decay": (0.0, True, float("inf")),
}


def check_settings(settings: Mapping[str, float]) -> None:
    """ValueError for a setting out of its range, TypeError for a fraction of steps."""
    for name, (low, low_is_allowed, high) in BOUNDS.items():
        value = settings[name]
        if not (low <= value < high) or (value == low and not low_is_allowed):
            left = "[" if low_is_allowed else "("
            raise ValueError(f"{name} is {value}, expected a number in {left}{low:g}, {high:g})")
    if not isinstance(settings["inverse_every"], int):
        raise TypeError(
            f"inverse_every is {settings['inverse_every']!r}, expected a whole number of steps"
        )


def named_linear_layers(layers: nn.Module | Iterable[nn.Linear]) -> dict[str, nn.Linear]:
    """The linear layers of a module by their names in it, or of an iterable by position.

    Raises:
        ValueError: no layer; a parameter of the module outside linear layers; a parameter frozen,
            shared by layers, of another type or on another device than the first, or not float32
            or float64.
        TypeError: something else than `nn.Linear` in the iterable.
    """
    if isinstance(layers, nn.Module):
        found = {name: m for name, m in layers.named_modules() if isinstance(m, nn.Linear)}
        inside = {id(p) for layer in found.values() for p in layer.parameters()}
        outside = [name for name, p in layers.named_parameters() if id(p) not in inside]
        if outside:
            raise ValueError(
                f"parameters {outside} are not of linear layers, expected nn.Linear only: pass the "
                "linear layers, and give the other parameters an optimizer of their own"
            )
    else:
        found = {str(position): layer for position, layer in enumerate(layers)}
    if not found:
        raise ValueError("no linear layer found, expected at least one nn.Linear")
    for name, layer in found.items():
        if not isinstance(layer, nn.Linear):
            raise TypeError(f"layer {name} is a {type(layer).__name__}, expected nn.Linear")
    _check_parameters(found)
    return found


def _check_parameters(layers: Mapping[str, nn.Linear]) -> None:
    first = next(iter(layers.values())).weight
    if first.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"the layers are {first.dtype}, expected float32 or float64: convert them")
    seen: set[int] = set()
    for layer_name, layer in layers.items():
        for parameter_name, parameter in layer.named_parameters():
            name = f"{layer_name}.{parameter_name}"
            if id(parameter) in seen:
                raise ValueError(f"{name} is in two layers, expected layers that share nothing")
            if not parameter.requires_grad:
                raise ValueError(f"{name} is frozen, expected requires_grad: leave its layer out")
            if (parameter.dtype, parameter.device) != (first.dtype, first.device):
                raise ValueError(
                    f"{name} is {parameter.dtype} on {parameter.device}, expected {first.dtype} on "
                    f"{first.device} as the first layer: move all layers before"
                )
            seen.add(id(parameter))
