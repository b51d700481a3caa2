"""K-FAC's factors, natural gradients and trust region, on nets small enough for a dense F."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from rllib_amagail.kfac import (
    KFAC,
    categorical_fisher_loss,
    gaussian_fisher_loss,
)
from tests.kfac_samples import normal, rng, small_net, values

# With these settings a first step is exactly the natural gradient.
PLAIN = {"lr": 1.0, "kl_clip": 1e9, "damping": 0.0, "momentum": 0.0}


def collect_and_descend(
    optimizer: KFAC, net: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, seed: int = 0
) -> torch.Tensor:
    """One full step on half the squared error; returns the change of the parameters ``[P]``."""
    with optimizer.collecting():
        gaussian_fisher_loss(net(inputs), rng(seed)).backward()
    optimizer.zero_grad()
    ((net(inputs) - targets).square().sum(1).mean() / 2).backward()
    before = values(net)
    optimizer.step()
    return values(net) - before


def with_ones(rows: torch.Tensor) -> torch.Tensor:
    return torch.cat([rows, torch.ones(len(rows), 1, dtype=rows.dtype)], dim=1)


def dense_fisher(net: nn.Module, inputs: torch.Tensor, output_fisher: torch.Tensor) -> torch.Tensor:
    """``[P, P]``: mean of J^T H J with J the outputs' Jacobian of a row and H ``[B, d, d]``."""
    names = [name for name, _ in net.named_parameters()]
    jacobians = torch.func.jacrev(
        lambda parameters: torch.func.functional_call(net, parameters, (inputs,))
    )({name: parameter.detach() for name, parameter in net.named_parameters()})
    rows = torch.cat([jacobians[name].flatten(2) for name in names], dim=2)  # [B, d, P]
    return torch.einsum("bip,bij,bjq->pq", rows, output_fisher, rows) / len(inputs)


def softmax_fisher(logits: torch.Tensor) -> torch.Tensor:
    p = logits.detach().softmax(1)
    return torch.diag_embed(p) - p[:, :, None] * p[:, None, :]


# -- factors and natural gradient against the dense Fisher ---------------------------------------


def test_one_gaussian_layer_takes_the_exact_natural_gradient() -> None:
    net = nn.Linear(3, 2).double()
    inputs, targets = normal(40, 3), normal(40, 2, seed=1)
    optimizer = KFAC([net], **PLAIN)
    # Gradients that are signs in a balanced pattern have E[g g^T] = I exactly.
    signs = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64).repeat(10, 1)
    with optimizer.collecting():
        (net(inputs) * signs).sum().backward()
    ((net(inputs) - targets).square().sum(1).mean() / 2).backward()
    gradient = torch.cat([net.weight.grad.flatten(), net.bias.grad])
    fisher = dense_fisher(net, inputs, torch.eye(2).double().repeat(40, 1, 1))
    before = values(net)
    optimizer.step()
    expected = -torch.linalg.solve(fisher, gradient)
    np.testing.assert_allclose(values(net) - before, expected, atol=1e-9)


@pytest.mark.parametrize("bias", [True, False])
def test_uniform_softmax_layer_has_an_exact_kronecker_block(bias: bool) -> None:
    net = nn.Linear(3, 4, bias=bias).double()
    nn.init.zeros_(net.weight)
    if bias:
        nn.init.zeros_(net.bias)
    inputs = normal(50_000, 3)
    optimizer = KFAC(net, **PLAIN)
    with optimizer.collecting():
        categorical_fisher_loss(net(inputs), rng()).backward()
    ((a, g),) = optimizer.factors().values()
    block = dense_fisher(net, inputs[:500], softmax_fisher(net(inputs[:500])))
    rows = with_ones(inputs) if bias else inputs
    np.testing.assert_allclose(a, rows.T @ rows / len(rows), atol=1e-12)
    np.testing.assert_allclose(g, np.eye(4) / 4 - 1 / 16, atol=0.004)
    # The block's order is weight [out, in], then bias [out]: A and G take turns.
    g = torch.eye(4, dtype=torch.float64) / 4 - 1 / 16
    kronecker = torch.einsum("oq,ip->oiqp", g, rows[:500].T @ rows[:500] / 500)
    weights = kronecker[:, :3, :, :3].reshape(12, 12)
    np.testing.assert_allclose(block[:12, :12], weights, atol=1e-12)
    if bias:
        np.testing.assert_allclose(
            block[:12, 12:], kronecker[:, :3, :, 3].reshape(12, 4), atol=1e-12
        )


def test_factors_of_all_layers_are_those_of_the_exact_fisher() -> None:
    net, inputs = small_net(outputs=3), normal(50, 3)
    optimizer = KFAC(net, **PLAIN)
    # Expectation in place of draws: a pass per label, whose square is weighted by 3 p(label).
    with optimizer.collecting():
        for label in range(3):
            log_p = net(inputs).log_softmax(1)[:, label]
            ((3 * log_p.detach().exp()).sqrt() * log_p).sum().backward()
    factors = optimizer.factors()
    assert list(factors) == ["0", "2"]
    with torch.no_grad():
        hidden = net[1](net[0](inputs))
        # H of the logits, carried back through the last layer and the derivative of tanh.
        output = softmax_fisher(net(inputs))
        back = net[2].weight.T @ output @ net[2].weight
        slope = 1 - hidden.square()
        back = slope[:, :, None] * back * slope[:, None, :]
    for name, rows, gradient in (("0", inputs, back.mean(0)), ("2", hidden, output.mean(0))):
        a, g = factors[name]
        np.testing.assert_allclose(a, with_ones(rows).T @ with_ones(rows) / len(rows), atol=1e-12)
        np.testing.assert_allclose(g, gradient, atol=1e-12)


def test_damping_is_shared_by_the_ratio_of_mean_diagonals() -> None:
    net = nn.Linear(1, 1, bias=False).double()
    optimizer = KFAC(net, **{**PLAIN, "damping": 0.25})
    with optimizer.collecting():
        (net(torch.full((10, 1), 2.0).double()) * 0.5).sum().backward()
    net.weight.grad = torch.ones(1, 1).double()
    before = net.weight.item()
    optimizer.step()
    # A = 4 and G = 1/4, so pi = 4: (4 + 4 * .5) (1/4 + .5 / 4) = 6 * .375.
    assert before - net.weight.item() == pytest.approx(1 / (6 * 0.375))


def test_past_passes_decay_without_bias_and_count_by_rows() -> None:
    net = nn.Linear(1, 1, bias=False).double()
    optimizer = KFAC(net, **PLAIN, statistics_decay=0.5)

    def a_after(value: float, rows: int) -> float:
        with optimizer.collecting():
            net(torch.full((rows, 1), value).double()).sum().backward()
        return optimizer.factors()[""][0].item()

    assert a_after(2.0, rows=4) == pytest.approx(4)
    assert a_after(1.0, rows=6) == pytest.approx((0.5 * 4 * 4 + 6 * 1) / (0.5 * 4 + 6))


# -- calls of layers -----------------------------------------------------------------------------


def test_calls_add_up() -> None:
    inputs = normal(30, 3)
    weights = normal(30, 2, seed=1)
    whole, halves = small_net(), small_net()
    optimizers = [KFAC(whole, **PLAIN), KFAC(halves, **PLAIN)]
    with optimizers[0].collecting():
        (whole(inputs) * weights).sum().backward()
    with optimizers[1].collecting():
        loss = (halves(inputs[:10]) * weights[:10]).sum()
        (loss + (halves(inputs[10:]) * weights[10:]).sum()).backward()
    for expected, found in zip(*(o.factors().values() for o in optimizers), strict=True):
        torch.testing.assert_close(found, expected)


def test_one_input_of_two_layers_and_a_layer_called_twice() -> None:
    layer = nn.Linear(2, 2).double()
    head = nn.Linear(2, 1).double()
    optimizer = KFAC([layer, head], **PLAIN)
    inputs = normal(5, 2)
    with optimizer.collecting():
        middle = layer(inputs)
        (layer(torch.relu_(middle)).sum() + head(inputs).sum()).backward()
    a, _ = optimizer.factors()["0"]
    with torch.no_grad():
        rows = with_ones(torch.cat([inputs, layer(inputs).relu()]))
    torch.testing.assert_close(a, rows.T @ rows / 10)
    torch.testing.assert_close(optimizer.factors()["1"][0], rows[:5].T @ rows[:5] / 5)


def test_collecting_leaves_gradients_graph_and_frozen_state_alone() -> None:
    net, inputs = small_net(), normal(6, 3)
    optimizer = KFAC(net, **PLAIN)
    net(inputs).sum().backward()
    before = [p.grad.clone() for p in net.parameters()]
    with optimizer.collecting():
        with torch.no_grad():
            net(inputs)  # does not count
        gaussian_fisher_loss(net(inputs), rng()).backward()
    assert all(p.requires_grad for p in net.parameters())
    assert not net[0]._forward_hooks
    torch.testing.assert_close([p.grad for p in net.parameters()], before, rtol=0, atol=0)


# -- the step ------------------------------------------------------------------------------------


def test_affine_reparametrisation_of_inputs_changes_nothing() -> None:
    inputs, targets = normal(200, 3), normal(200, 2, seed=1)
    matrix, shift = normal(3, 3, seed=2), normal(3, seed=3)
    net = small_net()
    other = copy.deepcopy(net)
    with torch.no_grad():
        other[0].weight.copy_(net[0].weight @ matrix.inverse())
        other[0].bias.sub_(other[0].weight @ shift)
    other_inputs = inputs @ matrix.T + shift
    torch.testing.assert_close(net(inputs), other(other_inputs))
    settings = {**PLAIN, "momentum": 0.5, "lr": 0.1, "kl_clip": 0.01}
    optimizers = KFAC(net, **settings), KFAC(other, **settings)
    start = net(inputs).detach()
    for step in range(3):
        collect_and_descend(optimizers[0], net, inputs, targets, seed=step)
        collect_and_descend(optimizers[1], other, other_inputs, targets, seed=step)
    torch.testing.assert_close(net(inputs), other(other_inputs), rtol=1e-7, atol=1e-7)
    assert (net(inputs) - start).abs().max() > 0.01


def predicted_kl(optimizer: KFAC, net: nn.Sequential, change: torch.Tensor) -> float:
    """Quadratic KL of a change ``[P]`` by the undamped factors, as sum of vec^T (A x G) vec / 2."""
    total, start = 0.0, 0
    for layer, (a, g) in zip((net[0], net[2]), optimizer.factors().values(), strict=True):
        weight = change[start : start + layer.weight.numel()].view_as(layer.weight)
        start += layer.weight.numel()
        bias = change[start : start + layer.out_features]
        start += layer.out_features
        joined = torch.cat([weight, bias[:, None]], dim=1)
        total += float((g @ joined @ a * joined).sum() / 2)
    return total


@pytest.mark.parametrize("damping", [0.0, 0.01])
def test_predicted_kl_stays_at_the_clip(damping: float) -> None:
    net, inputs, targets = small_net(), normal(200, 3), 10 * normal(200, 2, seed=1)
    optimizer = KFAC(net, lr=0.5, kl_clip=1e-3, damping=damping, momentum=0.9)
    for step in range(5):
        change = collect_and_descend(optimizer, net, inputs, targets, seed=step)
        kl = predicted_kl(optimizer, net, change)
        assert kl <= 1e-3 * (1 + 1e-6)
        # Far from the optimum the clip binds; with damping in F it binds a little earlier.
        assert kl >= (1e-3 * (1 - 1e-6) if damping == 0 else 0.5e-3)


def test_small_steps_are_not_clipped() -> None:
    inputs, targets = normal(200, 3), normal(200, 2, seed=1)
    changes = []
    for kl_clip in (1e3, 1e6):
        net = small_net()
        changes.append(
            collect_and_descend(KFAC(net, lr=0.1, kl_clip=kl_clip), net, inputs, targets)
        )
    torch.testing.assert_close(changes[0], changes[1], rtol=0, atol=0)


def unit_optimizer(**settings: float) -> tuple[nn.Linear, KFAC]:
    """One weight 1 with A = G = 1: the natural gradient is the gradient."""
    net = nn.Linear(1, 1, bias=False).double()
    nn.init.ones_(net.weight)
    optimizer = KFAC(net, **{**PLAIN, **settings})
    with optimizer.collecting():
        net(torch.ones(2, 1).double()).sum().backward()
    return net, optimizer


def test_momentum_weight_decay_and_closure() -> None:
    net, optimizer = unit_optimizer(lr=0.1, momentum=0.5)
    net.weight.grad = torch.ones(1, 1).double()
    optimizer.step()
    assert net.weight.item() == pytest.approx(1 - 0.1)
    optimizer.step()
    assert net.weight.item() == pytest.approx(1 - 0.1 - 0.1 * 1.5)

    net, optimizer = unit_optimizer(lr=0.1, weight_decay=0.5)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = 2 * net.weight.sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == pytest.approx(2)
    assert net.weight.item() == pytest.approx(1 - 0.1 * (2 + 0.5 * 1))


def test_the_clipped_velocity_is_what_momentum_keeps() -> None:
    net, optimizer = unit_optimizer(lr=1.0, momentum=0.5, kl_clip=0.5)
    net.weight.grad = torch.full((1, 1), 100.0).double()
    optimizer.step()  # KL of a step s is s^2 / 2: the clip is at s = 1
    assert net.weight.item() == pytest.approx(0)
    net.weight.grad.zero_()
    optimizer.step()
    assert net.weight.item() == pytest.approx(-0.5)


def test_inverses_are_renewed_every_so_many_steps() -> None:
    net, optimizer = unit_optimizer(lr=1.0, inverse_every=2, statistics_decay=0.0)
    net.weight.grad = torch.full((1, 1), 8.0).double()
    optimizer.step()
    with optimizer.collecting():
        net(torch.full((2, 1), 2.0).double()).sum().backward()  # A = 4
    changes = []
    for _ in range(2):
        before = net.weight.item()
        optimizer.step()
        changes.append(before - net.weight.item())
    assert changes == pytest.approx([8, 8 / 4])


def test_a_layer_without_any_gradient_stays_and_stops_nothing() -> None:
    net = small_net()
    nn.init.zeros_(net[2].weight)  # nothing flows back into the first layer
    optimizer = KFAC(net, lr=0.1)
    before = net[0].weight.clone(), net[2].weight.clone()
    collect_and_descend(optimizer, net, normal(20, 3), normal(20, 2, seed=1))
    assert torch.equal(net[0].weight, before[0])
    assert net[2].weight.isfinite().all()
    assert not torch.equal(net[2].weight, before[1])


# -- it learns -----------------------------------------------------------------------------------


def steps_to_learn(optimizer: torch.optim.Optimizer, net: nn.Module, limit: int) -> int:
    """Steps until the loss is below .05 on labels of a line, in inputs of scales 1 to 30."""
    inputs = normal(256, 4) * torch.tensor([1.0, 3.0, 10.0, 30.0])
    labels = (inputs @ torch.tensor([3.0, -1.0, 0.3, -0.1]).double() > 0).long()
    generator = rng()
    for step in range(limit):
        if isinstance(optimizer, KFAC):
            with optimizer.collecting():
                categorical_fisher_loss(net(inputs), generator).backward()
        optimizer.zero_grad()
        loss = cross_entropy(net(inputs), labels)
        if loss < 0.05:
            return step
        loss.backward()
        optimizer.step()
    return limit


def test_learns_in_a_fifth_of_the_steps_of_sgd_at_its_best_rate() -> None:
    def net() -> nn.Module:
        return small_net(inputs=4, hidden=16)

    kfac_net = net()
    optimizer = KFAC(kfac_net, lr=0.3, kl_clip=0.03, damping=1e-3)
    steps = steps_to_learn(optimizer, kfac_net, limit=200)
    for lr in (0.01, 0.03, 0.1, 0.3, 1.0, 3.0):
        sgd_net = net()
        sgd = torch.optim.SGD(sgd_net.parameters(), lr=lr, momentum=0.9)
        assert steps_to_learn(sgd, sgd_net, limit=5 * steps) == 5 * steps
