"""K-FAC as a torch optimizer: natural gradient by Kronecker factors, in a trust region."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from rllib_amagail.kfac.factors import KroneckerFactors
from rllib_amagail.kfac.layers import check_settings, named_linear_layers
from rllib_amagail.kfac.statistics import caught_moments


class KFAC(torch.optim.Optimizer):
    """Natural gradient descent on linear layers (Martens and Grosse 2015; Wu et al. 2017).

    ``velocity <- momentum * velocity + F^-1 gradient``, scaled down until the predicted KL of
    ``lr * velocity``, ``lr^2 / 2 velocity^T F velocity``, is at most `kl_clip`; then
    ``parameters <- parameters - lr * velocity``. F holds the damping, so damped directions are in
    the trust region, too. The clip is on the velocity that is kept: one outlier does not drive
    the steps after it.

    An example is a row of a layer's input (all dimensions but the last are rows), in every call of
    the layer: two passes over halves of a batch are one over the whole.

    With several learners, `all_reduce` averages moments and row counts: one call per pass, on one
    flat tensor. Averaging ``.grad`` is the caller's task, or that of DistributedDataParallel
    (DDP). Replicas that start equal then take equal steps. Build the optimizer on the DDP module;
    if built on its layers, collect through the inner module, which starts no reduction.

    Args:
        layers: a module whose parameters are all in `nn.Linear` layers, or the layers. On their
            final device, float32 or float64.
        lr: learning rate, >= 0; like all settings below, it may change in ``param_groups``.
        kl_clip: largest predicted KL of a step, in nats per row, > 0.
        damping: Tikhonov damping of F, >= 0, spread over both factors.
        momentum: in [0, 1), as in `torch.optim.SGD`: steady gradients move by lr / (1 - momentum).
        statistics_decay: in [0, 1), per pass.
        inverse_every: steps between Cholesky factorisations, >= 1.
        weight_decay: >= 0; times the parameters (biases, too), added to their gradient.
        all_reduce: maps a tensor to its mean over learners, in place or not.

    Raises:
        ValueError: a parameter outside linear layers, frozen or shared; no layer; layers that
            differ in type or device; a setting out of range.
        TypeError: something else than `nn.Linear` among the layers.
    """

    def __init__(
        self,
        layers: nn.Module | Iterable[nn.Linear],
        lr: float,
        *,
        kl_clip: float = 3e-3,
        damping: float = 0.01,
        momentum: float = 0.9,
        statistics_decay: float = 0.99,
        inverse_every: int = 1,
        weight_decay: float = 0.0,
        all_reduce: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        settings = {
            "lr": lr,
            "kl_clip": kl_clip,
            "damping": damping,
            "momentum": momentum,
            "statistics_decay": statistics_decay,
            "inverse_every": inverse_every,
            "weight_decay": weight_decay,
        }
        check_settings(settings)
        self._layers = named_linear_layers(layers)
        parameters = [p for layer in self._layers.values() for p in layer.parameters()]
        super().__init__(parameters, settings)
        self._all_reduce = all_reduce
        self._without_reduction = (
            layers.no_sync if isinstance(layers, DistributedDataParallel) else nullcontext
        )
        self._factors = KroneckerFactors(self._layers)
        self._passes = 0
        self._steps = 0
        shapes = [_joined(layer.weight, layer.bias).shape for layer in self._layers.values()]
        lengths = [shape.numel() for shape in shapes]
        self._velocity = next(iter(self._layers.values())).weight.new_zeros(sum(lengths))
        self._layer_velocities = [
            part.view(shape)
            for part, shape in zip(self._velocity.split(lengths), shapes, strict=True)
        ]

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Fold the statistics of the forwards and backwards in this context into the factors.

        ``with optimizer.collecting(): categorical_fisher_loss(net(inputs), generator).backward()``
        Gradients flow to the layers' outputs only; ``.grad`` of the parameters stays as it is.
        Calls without gradients (`torch.no_grad`) do not count. After an exception the factors are
        as before.

        Raises:
            RuntimeError: a layer had no call, or a call without its backward.
        """
        sums = self._factors.new_sums()
        with self._without_reduction(), caught_moments(self._layers, sums):
            yield
        flat = sums.flat if self._all_reduce is None else self._all_reduce(sums.flat)
        self._factors.fold_in(flat, self.param_groups[0]["statistics_decay"])
        self._passes += 1

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step along ``.grad``, the gradient of a loss that is a mean over rows.

        Args:
            closure: computes loss and gradients first; its loss is returned.

        Raises:
            RuntimeError: no statistics yet, a parameter without gradient, or a factor that is not
                positive definite; names the layer.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if self._passes == 0:
            raise RuntimeError(
                "no statistics, expected at least one pass before the first step: run the Fisher "
                "loss inside `with optimizer.collecting():`"
            )
        settings = self.param_groups[0]
        if self._steps % settings["inverse_every"] == 0:
            self._factors.factorise(settings["damping"])
        self._steps += 1
        self._velocity.mul_(settings["momentum"])
        whitened = []
        for index, ((name, layer), velocity) in enumerate(
            zip(self._layers.items(), self._layer_velocities, strict=True)
        ):
            gradient = _gradient(name, layer, settings["weight_decay"])
            velocity += self._factors.natural_gradient(index, gradient)
            whitened.append(self._factors.whitened(index, velocity))
        length = settings["lr"] * torch.stack(torch._foreach_norm(whitened)).norm()
        self._velocity.mul_((math.sqrt(2 * settings["kl_clip"]) / length).clamp(max=1.0))
        for layer, velocity in zip(self._layers.values(), self._layer_velocities, strict=True):
            layer.weight.sub_(velocity[:, : layer.in_features], alpha=settings["lr"])
            if layer.bias is not None:
                layer.bias.sub_(velocity[:, -1], alpha=settings["lr"])
        return loss

    def factors(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Copies of the undamped A ``[in + 1, in + 1]`` and G ``[out, out]`` by layer name.

        Layers of a module go by their names in it, others by their position. Without bias A is
        ``[in, in]``.
        """
        return self._factors.moments()

    def state_dict(self) -> dict[str, Any]:
        """Copies of all that `load_state_dict` needs: numbers and tensors only."""
        return {
            **super().state_dict(),
            "kfac": {
                **self._factors.get_state(),
                "velocity": self._velocity.clone(),
                "passes": self._passes,
                "steps": self._steps,
            },
        }

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state: equal inputs then give equal steps, bit for bit.

        Raises:
            ValueError: the state is another optimizer's, or of layers of other shapes.
        """
        if "kfac" not in state_dict:
            raise ValueError(
                f"the state has {sorted(state_dict)}, expected 'kfac' among them: load a state "
                "that KFAC.state_dict() returned"
            )
        state = state_dict["kfac"]
        own = {**self._factors.get_state(), "velocity": self._velocity}
        saved = {name: torch.as_tensor(state[name]) for name in own}
        found = {name: list(tensor.shape) for name, tensor in saved.items()}
        expected = {name: list(tensor.shape) for name, tensor in own.items()}
        if found != expected:
            raise ValueError(
                f"the saved state has shapes {found}, expected {expected}: build the optimizer on "
                "layers of the saved shapes"
            )
        super().load_state_dict(state_dict)
        self._factors.set_state(saved)
        self._velocity.copy_(saved["velocity"])
        self._passes, self._steps = int(state["passes"]), int(state["steps"])


def _joined(weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """``[out, in + 1]``, the bias as last column; ``[out, in]`` without bias."""
    return weight if bias is None else torch.cat([weight, bias[:, None]], dim=1)


def _gradient(name: str, layer: nn.Linear, weight_decay: float) -> torch.Tensor:
    bias = layer.bias
    if layer.weight.grad is None or (bias is not None and bias.grad is None):
        raise RuntimeError(
            f"layer {name!r} has no gradient, expected one for every parameter: call "
            "`loss.backward()` before the step, or leave the layer out of the optimizer"
        )
    gradient = _joined(layer.weight.grad, None if bias is None else bias.grad)
    if weight_decay:
        gradient = gradient.add(_joined(layer.weight, bias), alpha=weight_decay)
    return gradient
