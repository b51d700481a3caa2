"""Moments of linear layers' inputs and output gradients, caught by hooks that live for a pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from rllib_amagail.kfac.factors import MomentSums


class LayerCatcher:
    """Adds the moments of one layer's calls to sums: of inputs forward, of gradients backward."""

    def __init__(self, layer: nn.Linear, activations: torch.Tensor, gradients: torch.Tensor):
        self.width = layer.in_features
        self.activations = activations
        self.gradients = gradients
        self.forwards = 0
        self.backwards = 0
        self.rows = 0

    def forward_hook(self, _: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> Any:
        """Add ``[a; 1] [a; 1]^T`` over rows; with frozen parameters the graph starts here."""
        if not torch.is_grad_enabled():
            return output
        rows = inputs[0].detach().reshape(-1, self.width)
        width = self.width
        self.activations[:width, :width].addmm_(rows.T, rows)
        if len(self.activations) > width:
            # The homogeneous coordinate, without a copy of the rows that has a column of ones.
            sums = rows.sum(0)
            self.activations[:width, width] += sums
            self.activations[width, :width] += sums
            self.activations[width, width] += len(rows)
        self.forwards += 1
        self.rows += len(rows)
        if not output.requires_grad:
            # The clone is no leaf: activation functions may overwrite it in place.
            output = output.requires_grad_().clone()
        output.register_hook(self.backward_hook)
        return output

    def backward_hook(self, gradient: torch.Tensor) -> None:
        """Add ``g g^T`` over rows."""
        rows = gradient.reshape(-1, len(self.gradients))
        self.gradients.addmm_(rows.T, rows)
        self.backwards += 1

    def check_complete(self, name: str) -> None:
        """RuntimeError unless every forward had its backward, and there was one."""
        if self.forwards == 0 or self.forwards != self.backwards:
            raise RuntimeError(
                f"layer {name!r} saw {self.forwards} forward and {self.backwards} backward calls "
                "while collecting, expected as many of each and at least one: run the forward and "
                "`fisher_loss.backward()` inside `with optimizer.collecting():`, through all layers"
            )


@contextmanager
def caught_moments(layers: Mapping[str, nn.Linear], sums: MomentSums) -> Iterator[None]:
    """Fill the sums with the moments of all calls of the layers in this context.

    Parameters are frozen meanwhile: their gradients are not needed, their ``.grad`` stays as it
    is, and the pass costs a third less.

    Raises:
        RuntimeError: a layer had no call, or a call without its backward.
    """
    parameters = [p for layer in layers.values() for p in layer.parameters()]
    catchers = {
        name: LayerCatcher(layer, activations, gradients)
        for (name, layer), activations, gradients in zip(
            layers.items(), sums.activations, sums.gradients, strict=True
        )
    }
    with ExitStack() as undo:
        for parameter in parameters:
            undo.callback(parameter.requires_grad_, parameter.requires_grad)
            parameter.requires_grad_(False)
        for name, layer in layers.items():
            undo.callback(layer.register_forward_hook(catchers[name].forward_hook).remove)
        yield
    for name, catcher in catchers.items():
        catcher.check_complete(name)
    sums.rows.copy_(torch.tensor([catcher.rows for catcher in catchers.values()]))
