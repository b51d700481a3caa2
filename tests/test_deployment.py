"""Policies as ONNX play like the policies, in a runtime that knows nothing of this package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space

from rllib_amagail import LearnedPolicy
from rllib_amagail.deployment import export_onnx
from rllib_amagail.learned_files import linear_shapes, save_index, save_learned
from rllib_amagail.learned_policy import PolicyNetwork

onnx = pytest.importorskip("onnx")
FEATURES = Box(-np.inf, np.inf, (3,), np.float32)


def save_random(folder: Path, actions: Space, masked: bool, **model: Any) -> LearnedPolicy:
    """A policy of two hidden layers with random weights."""
    rng = np.random.default_rng(0)
    size = int(actions.n) if isinstance(actions, Discrete) else 0
    if isinstance(actions, MultiDiscrete):
        size = int(actions.nvec.sum())
    outputs = size or (2 if model.get("free_log_std") else 4)
    names = [f"encoder.actor_encoder.net.mlp.{i}" for i in (0, 2)] + ["pi.net.mlp.0"]
    shapes = linear_shapes(names, [3, 8, 8, outputs])
    if model.get("free_log_std"):
        shapes["pi.log_std"] = (2,)
    observations: Space = FEATURES
    if masked:
        observations = Dict({"action_mask": MultiBinary(size), "seen": FEATURES})
    networks = {"fcnet_hiddens": [8, 8], "fcnet_activation": "tanh", "vf_share_layers": False}
    save_learned(
        folder / "policies",
        "both",
        {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()},
        kind="policy",
        observation_space=observations,
        action_space=actions,
        model=networks | model,
        provenance={},
    )
    save_index(folder, {"a": "both", "b": "both"})
    return LearnedPolicy.load(folder)


def play(path: Path, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """With onnxruntime where it is installed, else with the format's reference."""
    try:
        from onnxruntime import InferenceSession
    except ImportError:
        from onnx.reference import ReferenceEvaluator as InferenceSession
    session = InferenceSession(str(path))
    names = [output.name for output in onnx.load(path).graph.output]
    return dict(zip(names, session.run(None, inputs), strict=True))


@pytest.mark.parametrize("activation", ["tanh", "relu", "linear"])
@pytest.mark.parametrize("masked", [False, True])
def test_discrete_policies_play_alike(tmp_path: Path, masked: bool, activation: str) -> None:
    policy = save_random(tmp_path, Discrete(4), masked, fcnet_activation=activation)
    written = export_onnx(tmp_path, tmp_path / "onnx")
    assert written == dict.fromkeys("ab", tmp_path / "onnx" / "both.onnx")
    rows = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    mask = np.random.default_rng(2).random((50, 4)) < 0.5
    mask[:, 0] = True
    played = play(written["a"], features=rows, **({"mask": mask} if masked else {}))
    expected = policy.action_probabilities("a", rows, mask if masked else None)
    np.testing.assert_allclose(played["probabilities"], expected, atol=1e-5)
    np.testing.assert_array_equal(played["action"], expected.argmax(axis=1))
    assert len(set(played["action"])) > 1


def test_multidiscrete_policies_play_alike(tmp_path: Path) -> None:
    policy = save_random(tmp_path, MultiDiscrete([3, 2]), masked=True)
    rows = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    mask = np.tile([False, True, True, True, True], (50, 1))
    played = play(export_onnx(tmp_path, tmp_path)["b"], features=rows, mask=mask)
    expected = policy.act("b", rows, mask, deterministic=True)
    np.testing.assert_array_equal(played["action"], expected)
    assert (played["probabilities_0"][:, 0] == 0).all()
    for index, part in enumerate(policy.action_probabilities("b", rows, mask)):
        np.testing.assert_allclose(played[f"probabilities_{index}"], part, atol=1e-5)


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("rules", [{}, {"normalize_actions": True}, {"clip_actions": True}])
def test_continuous_policies_play_alike(tmp_path: Path, rules: dict[str, bool], free: bool) -> None:
    space = Box(np.float32([-1, 2]), np.float32([1, 6]))
    policy = save_random(tmp_path, space, masked=False, **rules, free_log_std=free)
    rows = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    played = play(export_onnx(tmp_path, tmp_path)["a"], features=rows)
    expected = policy.act("a", rows, deterministic=True)
    np.testing.assert_allclose(played["action"], expected, rtol=1e-4, atol=1e-4)
    assert played["log_deviation"].shape == (50, 2)


def test_a_graph_that_plays_something_else_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_random(tmp_path, Discrete(4), masked=False)
    choose = PolicyNetwork.choose
    monkeypatch.setattr(PolicyNetwork, "choose", lambda *args: 3 - choose(*args))
    with pytest.raises(RuntimeError, match="the ONNX graph of both plays"):
        export_onnx(tmp_path, tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()
