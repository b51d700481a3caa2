"""Kronecker factors of all layers in one flat tensor: decay, damping, Cholesky, natural gradient.

A layer's block of the Fisher is taken for ``A ⊗ G`` with ``A = E[a a^T]`` of its inputs (1 appended
for the bias) and ``G = E[g g^T]`` of the gradients by its outputs (Martens and Grosse 2015,
equation 1 and section 3). The 2 L factors of L layers lie in the flat tensor by size, so that equal
sizes are one batch ``[n, d, d]``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain

import torch
from torch import nn

SMALLEST_MEAN_DIAGONAL = 1e-8  # of a factor, in the damping's balance: layers may see no gradient


@dataclass(frozen=True)
class MomentSums:
    """Views of a flat tensor ``[P]``; matrices of L layers, and the number of rows in each."""

    flat: torch.Tensor
    blocks: list[torch.Tensor]  # [n, d, d] for each size d
    activations: list[torch.Tensor]  # [in + 1, in + 1], or [in, in] without bias
    gradients: list[torch.Tensor]  # [out, out]
    rows: torch.Tensor  # [L]


class KroneckerFactors:
    """Running factors of linear layers, and the Cholesky factors of their damped form."""

    def __init__(self, layers: dict[str, nn.Linear]) -> None:
        self.names = list(layers)
        count = len(layers)
        sizes = [layer.in_features + (layer.bias is not None) for layer in layers.values()]
        sizes += [layer.out_features for layer in layers.values()]
        by_size = {d: [i for i, size in enumerate(sizes) if size == d] for d in sorted(set(sizes))}
        self._batches = [(len(members), d) for d, members in by_size.items()]
        self._batch_lengths = [n for n, _ in self._batches]
        order = list(chain.from_iterable(by_size.values()))
        self._place = [order.index(i) for i in range(2 * count)]  # factor -> place in the tensor
        weight = next(iter(layers.values())).weight
        # The same as tensors: factors and layers in the order of the flat tensor, and back.
        self._order = torch.tensor(order, device=weight.device)
        self._layer_in_order = self._order % count
        self._place_of_factor = torch.tensor(self._place, device=weight.device)
        length = sum(n * d * d for n, d in self._batches) + count
        self._sums = self._views(weight.new_zeros(length))
        self._lower = self._views(weight.new_zeros(length))

    def new_sums(self) -> MomentSums:
        """Zeros to add the moments of one pass to."""
        return self._views(torch.zeros_like(self._sums.flat))

    def fold_in(self, flat: torch.Tensor, decay: float) -> None:
        """Decay the past and add one pass's ``MomentSums.flat`` ``[P]``.

        Rows decay with the sums, and a factor is sum / rows: the mean is unbiased from the first
        pass on, and passes (or learners) count by their rows.
        """
        self._sums.flat.mul_(decay).add_(flat)

    def moments(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Copies of A ``[in + 1, in + 1]`` and G ``[out, out]`` by the layers' names."""
        sums = self._sums
        return {
            name: (a / n, g / n)
            for name, a, g, n in zip(
                self.names, sums.activations, sums.gradients, sums.rows, strict=True
            )
        }

    def factorise(self, damping: float) -> None:
        """Cholesky of ``A + pi sqrt(damping) I`` and ``G + sqrt(damping) / pi I``.

        ``pi^2`` is the ratio of the factors' mean diagonals (Martens and Grosse 2015, section 6.3).

        Raises:
            RuntimeError: a factor is not finite and positive definite; names its layer.
        """
        per_row = self._sums.rows.reciprocal()[self._layer_in_order].split(self._batch_lengths)
        blocks = [
            block * scale[:, None, None]
            for block, scale in zip(self._sums.blocks, per_row, strict=True)
        ]
        diagonals = [block.diagonal(dim1=1, dim2=2) for block in blocks]
        mean_diagonal = torch.cat([diagonal.mean(1) for diagonal in diagonals])
        balanced = mean_diagonal.clamp_min(SMALLEST_MEAN_DIAGONAL)[self._place_of_factor]
        activations, gradients = balanced.chunk(2)
        pi = (activations / gradients).sqrt()
        strength = math.sqrt(damping) * torch.cat([pi, 1 / pi])[self._order]
        info = []
        for lower, block, diagonal, added in zip(
            self._lower.blocks, blocks, diagonals, strength.split(self._batch_lengths), strict=True
        ):
            diagonal.add_(added[:, None])
            decomposition = torch.linalg.cholesky_ex(block)
            lower.copy_(decomposition.L)
            info.append(decomposition.info)
        # A NaN or an infinity reaches the diagonal; not every LAPACK reports it.
        failed = (torch.cat(info) != 0) | ~mean_diagonal.isfinite()
        if failed.any():
            self._raise_indefinite(failed, damping)

    def natural_gradient(self, layer: int, gradient: torch.Tensor) -> torch.Tensor:
        """``G^-1 gradient A^-1`` of a ``[out, in + 1]`` gradient, by the damped factors."""
        half = torch.cholesky_solve(gradient, self._lower.gradients[layer])
        return torch.cholesky_solve(half.T, self._lower.activations[layer]).T

    def whitened(self, layer: int, step: torch.Tensor) -> torch.Tensor:
        """``[out, in + 1]`` whose squared norm is ``step^T F step``, F of the damped factors."""
        return self._lower.gradients[layer].T @ step @ self._lower.activations[layer]

    def get_state(self) -> dict[str, torch.Tensor]:
        """Copies of what `set_state` needs: ``sums`` and ``lower``, ``[P]`` each."""
        return {"sums": self._sums.flat.clone(), "lower": self._lower.flat.clone()}

    def set_state(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from a saved state."""
        self._sums.flat.copy_(state["sums"])
        self._lower.flat.copy_(state["lower"])

    def _views(self, flat: torch.Tensor) -> MomentSums:
        count = len(self.names)
        lengths = [n * d * d for n, d in self._batches]
        *parts, rows = flat.split([*lengths, count])
        blocks = [part.view(n, d, d) for part, (n, d) in zip(parts, self._batches, strict=True)]
        matrices = [matrix for block in blocks for matrix in block]
        in_factor_order = [matrices[place] for place in self._place]
        return MomentSums(flat, blocks, in_factor_order[:count], in_factor_order[count:], rows)

    def _raise_indefinite(self, failed: torch.Tensor, damping: float) -> None:
        factor = int(self._order[failed][0])
        count = len(self.names)
        layer, is_gradient = factor % count, factor >= count
        rows = self._sums.rows[layer]
        matrix = (self._sums.gradients if is_gradient else self._sums.activations)[layer] / rows
        diagonal = matrix.diagonal()
        raise RuntimeError(
            f"layer {self.names[layer]!r}: the factor "
            f"{'G of output gradients' if is_gradient else 'A of inputs'} is not positive definite "
            f"(diagonal from {diagonal.min():.3g} to {diagonal.max():.3g}, "
            f"{int((~matrix.isfinite()).sum())} entries not finite, {rows:.4g} rows, damping "
            f"{damping:g}). Expected finite moments, and damping above their rounding errors: look "
            "for NaN in inputs and loss, or raise the damping"
        )
