"""Learned policies as ONNX files, which play without this package.

The graph is written node by node: linear layers, activations and a mask. Needs ``onnx`` (the extra
``rllib_amagail[onnx]``); whatever runs ONNX can play the files.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from rllib_amagail.learned_files import read_index
from rllib_amagail.learned_policy import LearnedPolicy, PolicyNetwork

OPSET = 17
_NODES = {"tanh": "Tanh", "relu": "Relu", "linear": "Identity"}
_CHECKED_ROWS = 256
_TOLERANCE = 1e-4  # float32 in the graph, float64 in `LearnedPolicy`


def export_onnx(
    folder: str | os.PathLike[str], output: str | os.PathLike[str], *, seed: int = 0
) -> dict[str, Path]:
    """Write the policies of a folder as ONNX, one file per module.

    Inputs of a graph are ``features`` ``[B, D]`` float32, in the order of `ObservationLayout`, and,
    where the observation space has one, ``mask`` ``[B, M]`` bool of legal actions. Outputs:

    - Discrete: ``probabilities`` ``[B, A]`` and ``action`` ``[B]`` int64, the likeliest;
    - MultiDiscrete: ``probabilities_0`` ..., one per component, and ``action`` ``[B, n]``;
    - Box: ``action`` ``[B, d]``, the mean as the environment gets it, and ``mean`` and
      ``log_deviation`` ``[B, d]`` of the Gaussian before it is scaled or clipped.

    Args:
        folder: that `export_learned` wrote.
        output: folder for the files, created if it is missing.
        seed: of the random rows on which a file is compared with `LearnedPolicy`.

    Returns:
        Agent to its file; agents with one policy have one file.

    Raises:
        ImportError: onnx is not installed.
        LearnedFileError: the folder cannot be used.
        RuntimeError: a graph that does not play like its policy; nothing is written then.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError('export_onnx needs onnx: pip install "rllib_amagail[onnx]"') from error
    policies, module_of = LearnedPolicy.load(folder), read_index(folder)
    written: dict[str, Path] = {}
    graphs = {module: policies.network(agent) for agent, module in module_of.items()}
    models = {module: _model(network) for module, network in graphs.items()}
    for module, network in graphs.items():
        onnx.checker.check_model(models[module])
        _check(models[module], network, np.random.default_rng(seed))
    Path(output).mkdir(parents=True, exist_ok=True)
    for agent, module in module_of.items():
        written[agent] = Path(output) / f"{module}.onnx"
        onnx.save(models[module], written[agent])
    return written


class _Graph:
    """Nodes and constants in the order in which they are computed."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, name: str, array: np.ndarray) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name


def _model(network: PolicyNetwork) -> Any:
    from onnx import TensorProto, helper

    layout, graph = network.observations, _Graph()
    inputs = {"features": (TensorProto.FLOAT, layout.feature_size)}
    if layout.mask_size:
        inputs["mask"] = (TensorProto.BOOL, layout.mask_size)
    last = _layers(graph, network)
    describe = _choices if network.actions.sizes else _mean
    outputs = describe(graph, network, last)

    def described(columns: dict[str, tuple[int, Any]]) -> list[Any]:
        return [
            helper.make_tensor_value_info(name, kind, ["B"] if width is None else ["B", width])
            for name, (kind, width) in columns.items()
        ]

    body = helper.make_graph(
        graph.nodes, network.name, described(inputs), described(outputs), graph.constants
    )
    return helper.make_model(
        body,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,  # the oldest that goes with the opset
        producer_name="rllib_amagail",
    )


def _layers(graph: _Graph, network: PolicyNetwork) -> str:
    last = "features"
    for index, (weight, bias) in enumerate(network.layers):
        names = [
            graph.constant(f"{kind}_{index}", array.astype(np.float32))
            for kind, array in (("weight", weight), ("bias", bias))
        ]
        last = graph.add("Gemm", [last, *names], f"layer_{index}")
        if index < len(network.layers) - 1:
            last = graph.add(_NODES[network.activation], [last], f"hidden_{index}")
    return last


def _choices(graph: _Graph, network: PolicyNetwork, logits: str) -> dict[str, tuple[int, Any]]:
    """Probabilities and likeliest actions of Discrete and MultiDiscrete spaces."""
    from onnx import TensorProto

    sizes, is_single = network.actions.sizes, not network.actions.shape
    if network.observations.mask_size:
        smallest = graph.constant("smallest", np.array(np.finfo(np.float32).min, np.float32))
        logits = graph.add("Where", ["mask", logits, smallest], "legal_logits")
    parts = [logits]
    if not is_single:
        parts = [f"logits_{index}" for index in range(len(sizes))]
        split = graph.constant("sizes", np.array(sizes, np.int64))
        graph.nodes.append(_split(logits, split, parts))
    outputs: dict[str, tuple[int, Any]] = {}
    chosen = []
    for index, part in enumerate(parts):
        name = "probabilities" if is_single else f"probabilities_{index}"
        graph.add("Softmax", [part], name, axis=1)
        outputs[name] = (TensorProto.FLOAT, sizes[index])
        choice = graph.add("ArgMax", [part], f"choice_{index}", axis=1, keepdims=not is_single)
        chosen.append(choice)
    choice = chosen[0] if is_single else graph.add("Concat", chosen, "choices", axis=1)
    low = network.actions.low[0] if is_single else network.actions.low
    first = graph.constant("first_action", np.array(low, np.int64))
    graph.add("Add", [choice, first], "action")
    outputs["action"] = (TensorProto.INT64, None if is_single else len(sizes))
    return outputs


def _split(source: str, sizes: str, parts: list[str]) -> Any:
    from onnx import helper

    return helper.make_node("Split", [source, sizes], parts, axis=1)


def _mean(graph: _Graph, network: PolicyNetwork, last: str) -> dict[str, tuple[int, Any]]:
    """The Gaussian of Box actions, and its mean as the environment gets it."""
    from onnx import TensorProto

    low, high = (bound.astype(np.float32) for bound in (network.actions.low, network.actions.high))
    limit = np.array(network.largest_log_deviation, np.float32)
    ends = [graph.constant("least", -limit), graph.constant("most", limit)]
    if network.free_log_deviation is None:
        sizes = graph.constant("sizes", np.array([low.size] * 2, np.int64))
        graph.nodes.append(_split(last, sizes, ["mean", "free"]))
    else:
        graph.add("Identity", [last], "mean")
        zero = graph.constant("zero", np.zeros((), np.float32))
        free = graph.constant("free_deviation", network.free_log_deviation.astype(np.float32))
        graph.add("Add", [graph.add("Mul", ["mean", zero], "nothing"), free], "free")
    graph.add("Clip", ["free", *ends], "log_deviation")
    action = "mean"
    if network.rescales and np.isfinite([low, high]).all():
        half = graph.constant("half_range", (high - low) / 2)
        middle = graph.constant("middle", (high + low) / 2)
        action = graph.add("Add", [graph.add("Mul", [action, half], "scaled"), middle], "moved")
    if network.rescales or network.clips:
        bounds = [graph.constant("low", low), graph.constant("high", high)]
        action = graph.add("Max", [action, bounds[0]], "not_below")
        action = graph.add("Min", [action, bounds[1]], "not_above")
    graph.add("Identity", [action], "action")
    return dict.fromkeys(("mean", "log_deviation", "action"), (TensorProto.FLOAT, low.size))


def _check(model: Any, network: PolicyNetwork, rng: np.random.Generator) -> None:
    """Compare a graph with the policy it was made of, on random rows and masks."""
    from onnx.reference import ReferenceEvaluator

    layout = network.observations
    rows = rng.normal(scale=3.0, size=(_CHECKED_ROWS, layout.feature_size)).astype(np.float32)
    feed: dict[str, np.ndarray] = {"features": rows}
    mask = None
    if layout.mask_size:
        mask = rng.random((_CHECKED_ROWS, layout.mask_size)) < 0.5
        mask[:, np.cumsum(network.actions.sizes) - 1] = True  # something is legal of each component
        feed["mask"] = mask
    names = [output.name for output in model.graph.output]
    found = dict(zip(names, ReferenceEvaluator(model).run(None, feed), strict=True))
    expected = network.choose(rows, mask, None).reshape(_CHECKED_ROWS, -1)
    close = np.isclose(found["action"].reshape(expected.shape), expected, _TOLERANCE, _TOLERANCE)
    if network.actions.sizes:
        names = [name for name in names if name.startswith("probabilities")]
        for index, part in enumerate(network.probabilities(rows, mask)):
            same = np.isclose(found[names[index]], part, _TOLERANCE, _TOLERANCE).all(axis=1)
            # Of two actions that are as likely, rounding may choose either.
            best = np.sort(part, axis=1)[:, -2:]
            close[:, index] |= best[:, 0] > best[:, -1] - _TOLERANCE
            close[:, index] &= same
    if not close.all():
        row = int(np.argmin(close.all(axis=1)))
        raise RuntimeError(
            f"the ONNX graph of {network.name} plays {found['action'][row]} where the policy plays "
            f"{expected[row]}, expected the same; its file was not written"
        )
