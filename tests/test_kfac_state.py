"""K-FAC's checkpoints, several learners, and the errors it raises."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from rllib_amagail.kfac import KFAC, gaussian_fisher_loss
from tests.kfac_samples import values

ROWS = 24  # of the joined batch


def net_of(seed: int = 0, bias: bool = True) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(3, 4, bias=bias), nn.ReLU(inplace=True), nn.Linear(4, 2)).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(generator=generator)
    return net


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs ``[ROWS, 3]``, targets ``[ROWS, 2]`` and the Fisher's gradients ``[ROWS, 2]``."""
    generator = torch.Generator().manual_seed(1)
    return tuple(
        torch.randn(ROWS, width, generator=generator, dtype=torch.float64) for width in (3, 2, 2)
    )


def train(net: nn.Module, optimizer: KFAC, rows: slice, steps: int) -> None:
    inputs, targets, gradients = (tensor[rows] for tensor in batch())
    for _ in range(steps):
        with optimizer.collecting():
            (net(inputs) * gradients).sum().backward()
        optimizer.zero_grad()
        (net(inputs) - targets).square().mean().backward()
        optimizer.step()


# -- checkpoints ---------------------------------------------------------------------------------


@pytest.mark.parametrize("inverse_every", [1, 3])
def test_a_restored_optimizer_takes_equal_steps(inverse_every: int) -> None:
    net = net_of()
    optimizer = KFAC(net, lr=0.1, inverse_every=inverse_every, weight_decay=0.01)
    train(net, optimizer, slice(None), steps=4)
    saved, start = optimizer.state_dict(), copy.deepcopy(net)
    train(net, optimizer, slice(None), steps=4)  # leaves the saved state alone

    restored = KFAC(start, lr=7.0, momentum=0.0)
    # The way of an RLlib checkpoint: tensors become arrays.
    saved["kfac"] = {name: np.asarray(value) for name, value in saved["kfac"].items()}
    restored.load_state_dict(saved)
    assert restored.param_groups[0]["lr"] == 0.1
    train(start, restored, slice(None), steps=4)
    assert torch.equal(values(start), values(net))


def test_state_of_other_layers_is_refused_and_changes_nothing() -> None:
    net = net_of()
    optimizer = KFAC(net, lr=0.1)
    with pytest.raises(ValueError, match=r"'velocity': \[2\].*'velocity': \[26\]"):
        optimizer.load_state_dict(KFAC([nn.Linear(1, 1)], lr=7.0).state_dict())
    with pytest.raises(ValueError, match="expected 'kfac' among them"):
        optimizer.load_state_dict(torch.optim.SGD(net.parameters(), lr=7.0).state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.1


# -- several learners ----------------------------------------------------------------------------


class Recorder:
    """Averages over processes and notes the shapes of what it was called on."""

    def __init__(self) -> None:
        self.dimensions: list[int] = []

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        self.dimensions.append(tensor.ndim)
        distributed.all_reduce(tensor)
        return tensor / distributed.get_world_size()


def learner(rank: int, folder: str) -> None:
    """One of two processes: half the rows, three steps; writes its parameters."""
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    average = Recorder()
    net = DistributedDataParallel(net_of())
    train(net, KFAC(net, lr=0.1, all_reduce=average), slice(rank, None, 2), steps=3)
    report = {"values": values(net).tolist(), "dimensions": average.dimensions}
    Path(folder, f"{rank}.json").write_text(json.dumps(report))
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_are_equal_to_one_on_the_joined_batch(tmp_path: Path) -> None:
    multiprocessing.spawn(learner, args=(str(tmp_path),), nprocs=2)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first == second
    assert first["dimensions"] == [1, 1, 1]  # one collective per pass, on one flat tensor
    net = net_of()
    train(net, KFAC(net, lr=0.1), slice(None), steps=3)
    np.testing.assert_allclose(first["values"], values(net), rtol=1e-10)


def test_unequal_shards_average_to_the_joined_statistics() -> None:
    inputs, _, gradients = batch()

    def factors(rows: slice, average: Callable[[torch.Tensor], torch.Tensor] | None) -> Any:
        net = net_of()
        optimizer = KFAC(net, lr=0.1, all_reduce=average)
        with optimizer.collecting():
            (net(inputs[rows]) * gradients[rows]).sum().backward()
        return optimizer.factors()

    sent: list[torch.Tensor] = []
    factors(slice(0, 5), lambda flat: sent.append(flat.clone()) or flat)
    averaged = factors(slice(5, None), lambda flat: (flat + sent[0]) / 2)
    torch.testing.assert_close(averaged, factors(slice(None), None))


# -- errors --------------------------------------------------------------------------------------


class WithScale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.scale = nn.Parameter(torch.ones(2))


def frozen() -> nn.Module:
    net = net_of()
    net[2].bias.requires_grad_(False)
    return net


def tied() -> nn.Module:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    return nn.Sequential(first, second)


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        (WithScale(), ValueError, r"\['scale'\] are not of linear layers"),
        (nn.Sequential(nn.Tanh()), ValueError, "no linear layer"),
        ([nn.Linear(1, 1), nn.Tanh()], TypeError, "layer 1 is a Tanh"),
        (frozen(), ValueError, r"2\.bias is frozen"),
        (tied(), ValueError, r"1\.weight is in two layers"),
        ([nn.Linear(1, 1), nn.Linear(1, 1).double()], ValueError, r"1\.weight is torch\.float64"),
        (nn.Linear(1, 1).half(), ValueError, "expected float32 or float64"),
    ],
)
def test_layers_that_do_not_fit(
    layers: nn.Module | Iterable[nn.Linear], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        KFAC(layers, lr=0.1)


@pytest.mark.parametrize(
    "setting",
    [
        {"lr": -0.1},
        {"lr": float("nan")},
        {"kl_clip": 0.0},
        {"damping": -1.0},
        {"momentum": 1.0},
        {"statistics_decay": 1.0},
        {"inverse_every": 0},
        {"weight_decay": -1.0},
    ],
)
def test_settings_out_of_range(setting: dict[str, float]) -> None:
    (name,) = setting
    with pytest.raises(ValueError, match=f"{name} is .*, expected a number in"):
        KFAC(net_of(), **{"lr": 0.1, **setting})
    with pytest.raises(TypeError, match=r"2\.5, expected a whole number"):
        KFAC(net_of(), lr=0.1, inverse_every=2.5)


def test_steps_need_statistics_and_gradients() -> None:
    net = net_of()
    optimizer = KFAC(net, lr=0.1)
    with pytest.raises(RuntimeError, match="at least one pass before the first step"):
        optimizer.step()
    with optimizer.collecting():
        net(batch()[0]).sum().backward()
    with pytest.raises(RuntimeError, match="layer '0' has no gradient"):
        optimizer.step()


def test_passes_need_forward_and_backward_of_every_layer() -> None:
    net = net_of()
    optimizer = KFAC(net, lr=0.1)
    inputs = batch()[0]
    with (
        pytest.raises(RuntimeError, match="'0' saw 0 forward and 0 backward"),
        optimizer.collecting(),
    ):
        pass
    with (
        pytest.raises(RuntimeError, match="'0' saw 1 forward and 0 backward"),
        optimizer.collecting(),
    ):
        net(inputs)
    with (
        pytest.raises(RuntimeError, match="'0' saw 2 forward and 1 backward"),
        optimizer.collecting(),
    ):
        (net[2](net[0](inputs)).sum() + 0 * net[2](net[0](inputs)).detach().sum()).backward()


def test_a_pass_that_raises_leaves_factors_and_layers_as_they_were() -> None:
    net = net_of()
    optimizer = KFAC(net, lr=0.1)
    with optimizer.collecting():
        net(batch()[0]).sum().backward()
    before = optimizer.factors()

    def pass_that_raises() -> None:
        with optimizer.collecting():
            net(batch()[0]).sum().backward()
            raise KeyError

    with pytest.raises(KeyError):
        pass_that_raises()
    torch.testing.assert_close(optimizer.factors(), before, rtol=0, atol=0)
    assert all(p.requires_grad for p in net.parameters())


def test_factors_that_cannot_be_inverted_name_their_layer() -> None:
    net = net_of()
    net(batch()[0]).sum().backward()
    inputs = batch()[0]
    # Four columns of one row each cannot fill a 4 x 4 matrix.
    optimizer = KFAC(net, lr=0.1, damping=0.0)
    with optimizer.collecting():
        net(inputs[:1]).sum().backward()
    with pytest.raises(RuntimeError, match=r"layer '.': the factor . of .* 1 rows, damping 0\)"):
        optimizer.step()

    optimizer = KFAC(net, lr=0.1)
    inputs[3, 1] = float("nan")
    before = values(net)
    with optimizer.collecting():
        gaussian_fisher_loss(net[2](inputs.new_ones(9, 4)), torch.Generator()).backward()
        net[0](inputs).sum().backward()
    # NaN in column 1 of four: 4 + 4 - 1 entries.
    with pytest.raises(
        RuntimeError, match=r"layer '0': the factor A of inputs .* 7 entries not finite"
    ):
        optimizer.step()
    assert torch.equal(values(net), before)
