"""Policies are read from files without Ray, and files that are not what they say are refused."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from rllib_amagail.learned_files import LearnedFileError, save_index, save_learned
from rllib_amagail.learned_policy import LearnedPolicy, load_policy

ENCODER, HEAD = "encoder.actor_encoder.net.mlp.0", "pi.net.mlp.0"
MODEL = {"fcnet_hiddens": [1], "fcnet_activation": "tanh", "vf_share_layers": False}


def tiny_weights() -> dict[str, np.ndarray]:
    """Logits of two actions are (0, 4 tanh(first feature))."""
    return {
        f"{ENCODER}.weight": np.array([[1.0, 0.0]], np.float32),
        f"{ENCODER}.bias": np.zeros(1, np.float32),
        f"{HEAD}.weight": np.array([[0.0], [4.0]], np.float32),
        f"{HEAD}.bias": np.zeros(2, np.float32),
    }


def save_tiny(folder: Path, weights: dict[str, np.ndarray] | None = None, **changed: Any) -> Path:
    fields: dict[str, Any] = {
        "kind": "policy",
        "observation_space": Box(-np.inf, np.inf, (2,), np.float32),
        "action_space": Discrete(2),
        "model": MODEL,
        "provenance": {},
    }
    return save_learned(folder, "tiny", weights or tiny_weights(), **(fields | changed))


def test_actions_are_drawn_from_the_softmax_of_the_network(tmp_path: Path) -> None:
    policy = load_policy(save_tiny(tmp_path))
    feature = np.arctanh(0.25 * np.log(3.0))  # logits 0 and log 3: probabilities 1/4 and 3/4
    rows = np.tile(np.array([feature, 9.0], np.float32), (20_000, 1))
    actions = policy(rows, np.random.default_rng(0))
    assert abs(actions.mean() - 0.75) < 4 * np.sqrt(0.75 * 0.25 / len(rows))


def test_masked_actions_are_never_drawn(tmp_path: Path) -> None:
    space = Dict({"action_mask": Box(0, 1, (2,), np.int8), "observations": Box(-9, 9, (2,))})
    policy = load_policy(save_tiny(tmp_path, observation_space=space))
    rows = np.tile(np.array([5.0, 0.0, 1.0, 0.0], np.float32), (500, 1))
    assert not policy(rows, np.random.default_rng(0)).any()


def test_rows_of_another_width_are_refused(tmp_path: Path) -> None:
    policy = load_policy(save_tiny(tmp_path))
    with pytest.raises(ValueError, match=r"\(4, 3\), expected \(B, 2\)"):
        policy(np.zeros((4, 3), np.float32), np.random.default_rng(0))


def changed_json(path: Path, **changed: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kind": "reward"}, "kind 'reward', expected 'policy'"),
        ({"format_version": 3}, "format_version '3', expected 1 or 2"),
        ({"surplus": 1}, "found the fields"),
        ({"weights": "../tiny.safetensors"}, "name of a .safetensors file beside it"),
        ({"weights": "tiny.pt"}, "name of a .safetensors file beside it"),
        ({"weights": ["tiny.safetensors"]}, "name of a .safetensors file beside it"),
        ({"model": MODEL | {"fcnet_hiddens": [10**9]}}, "widths from 1"),
        ({"model": MODEL | {"fcnet_hiddens": [True]}}, "widths from 1"),
        ({"model": MODEL | {"fcnet_activation": "__import__('os')"}}, "expected one of tanh"),
        ({"model": [MODEL]}, "tiny.json"),
        ({"model": {}}, "fcnet_hiddens"),
        ({"observation_space": {"type": "Box"}}, "tiny.json"),
        ({"action_space": {"type": "os.system"}}, "tiny.json"),
    ],
)
def test_a_json_that_is_no_policy_is_refused(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    path = save_tiny(tmp_path)
    changed_json(path, **changed)
    with pytest.raises(LearnedFileError, match=message) as caught:
        load_policy(path)
    assert str(path) in str(caught.value)


def test_a_plain_function_has_discrete_actions(tmp_path: Path) -> None:
    path = save_tiny(tmp_path, action_space=Box(-1, 1, (1,)))
    with pytest.raises(LearnedFileError, match="expected a Discrete space"):
        load_policy(path)


# --- policies of a folder -------------------------------------------------------------------------


def load_tiny(folder: Path, weights: dict[str, np.ndarray] | None = None, **changed: Any) -> Any:
    save_tiny(folder / "policies", weights, **changed)
    save_index(folder, {"a": "tiny", "b": "tiny"})
    return LearnedPolicy.load(folder)


SEEN = np.array([np.arctanh(0.25 * np.log(3.0)), 9.0], np.float32)  # logits 0 and log 3


def test_probabilities_are_the_softmax(tmp_path: Path) -> None:
    policy = load_tiny(tmp_path)
    assert policy.agents == ("a", "b")
    np.testing.assert_allclose(policy.action_probabilities("a", SEEN), [0.25, 0.75])
    np.testing.assert_allclose(policy.action_probabilities("b", SEEN[None], [[1, 0]]), [[1, 0]])
    assert policy.act("a", SEEN, deterministic=True) == 1
    assert policy.act("a", SEEN, [1, 0], deterministic=True) == 0
    rng = np.random.default_rng(0)
    assert policy.act("a", np.tile(SEEN, (4, 1)), rng=rng).shape == (4,)


def test_components_of_multidiscrete_actions_are_drawn_apart(tmp_path: Path) -> None:
    weights = tiny_weights()
    weights[f"{HEAD}.weight"] = np.array([[0.0], [4.0], [0.0]], np.float32)
    weights[f"{HEAD}.bias"] = np.zeros(3, np.float32)
    # One component of one choice, one of two; the second's logits are 4 tanh and 0.
    policy = load_tiny(tmp_path, weights, action_space=MultiDiscrete([1, 2]))
    first, second = policy.action_probabilities("a", SEEN[None])
    np.testing.assert_allclose(first, [[1.0]])
    np.testing.assert_allclose(second, [[0.75, 0.25]])
    drawn = policy.act("a", np.tile(SEEN, (20_000, 1)), rng=np.random.default_rng(0))
    assert drawn[:, 0].max() == 0
    assert abs(drawn[:, 1].mean() - 0.25) < 4 * np.sqrt(0.75 * 0.25 / len(drawn))


def gaussian(deviation: float, *, free: bool = False) -> dict[str, np.ndarray]:
    """The mean is 4 tanh(first feature)."""
    weights = tiny_weights()
    weights[f"{HEAD}.weight"] = np.array([[4.0], [0.0]], np.float32)
    weights[f"{HEAD}.bias"] = np.array([0.0, np.log(deviation)], np.float32)
    if free:
        weights = {
            name: array[:1] if name.startswith(HEAD) else array for name, array in weights.items()
        }
        weights["pi.log_std"] = np.array([np.log(deviation)], np.float32)
    return weights


@pytest.mark.parametrize("free", [False, True])
def test_continuous_actions_are_drawn_from_a_gaussian(tmp_path: Path, free: bool) -> None:
    space = Box(-np.inf, np.inf, (1,), np.float32)
    model = MODEL | {"free_log_std": free}
    policy = load_tiny(tmp_path, gaussian(0.5, free=free), action_space=space, model=model)
    mean = np.log(3.0)
    np.testing.assert_allclose(policy.act("a", SEEN, deterministic=True), [mean], rtol=1e-6)
    drawn = policy.act("a", np.tile(SEEN, (20_000, 1)), rng=np.random.default_rng(0))
    assert drawn.dtype == np.float32
    assert abs(drawn.mean() - mean) < 4 * 0.5 / np.sqrt(len(drawn))
    assert abs(drawn.std() - 0.5) < 0.02
    with pytest.raises(ValueError, match="has no probabilities"):
        policy.action_probabilities("a", SEEN)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, 0.4),
        ({"clip_actions": True}, 1.0),
        ({"normalize_actions": True}, 3.8),  # from [-1, 1] to [1, 5]: 3 + 2 * 0.4
    ],
)
def test_bounds_are_kept_as_rllib_keeps_them(
    tmp_path: Path, rules: dict[str, bool], expected: float
) -> None:
    space = Box(1.0, 5.0, (1,), np.float32)
    policy = load_tiny(tmp_path, gaussian(1.0), action_space=space, model=MODEL | rules)
    seen = np.array([np.arctanh(0.1), 0.0], np.float32)  # the mean is 0.4
    np.testing.assert_allclose(policy.act("a", seen, deterministic=True), [expected], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({}, "either rng="),
        ({"deterministic": True, "rng": np.random.default_rng(0)}, "either rng="),
        ({"deterministic": True, "agent": "c"}, "found agent 'c', expected one of a, b"),
        ({"deterministic": True, "mask": [1, 0, 1]}, r"mask of shape \(3,\), expected \(1, 2\)"),
        ({"deterministic": True, "mask": [0, 0]}, "mask of row 0 allows no action"),
        ({"deterministic": True, "observation": np.zeros(3)}, r"found shape \(1, 3\)"),
    ],
)
def test_wrong_calls_say_what_is_expected(
    tmp_path: Path, call: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load_tiny(tmp_path).act(**({"agent": "a", "observation": SEEN} | call))


def test_a_folder_without_an_index_says_so(tmp_path: Path) -> None:
    save_tiny(tmp_path / "policies")
    with pytest.raises(LearnedFileError, match=r"learned\.json"):
        LearnedPolicy.load(tmp_path)


def narrow(weights: dict[str, np.ndarray]) -> None:
    weights[f"{ENCODER}.weight"] = weights[f"{ENCODER}.weight"][:, :1]


def infinite(weights: dict[str, np.ndarray]) -> None:
    weights[f"{HEAD}.bias"][0] = np.inf


def integers(weights: dict[str, np.ndarray]) -> None:
    weights[f"{HEAD}.bias"] = np.zeros(2, np.int64)


def missing(weights: dict[str, np.ndarray]) -> None:
    del weights[f"{HEAD}.bias"]


def surplus(weights: dict[str, np.ndarray]) -> None:
    weights["vf.weight"] = np.zeros(1, np.float32)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (narrow, r"\(1, 1\).*expected.*\(1, 2\)"),
        (infinite, "finite float32"),
        (integers, "int64, expected finite float32"),
        (missing, r"pi.net.mlp.0.bias': None.*expected.*\(2,\)"),
        (surplus, r"vf.weight': \(1,\).*expected.*None"),
    ],
)
def test_weights_that_do_not_fit_the_json_are_refused(
    tmp_path: Path, spoil: Any, message: str
) -> None:
    weights = tiny_weights()
    spoil(weights)
    with pytest.raises(LearnedFileError, match=message) as caught:
        load_policy(save_tiny(tmp_path, weights))
    assert str(tmp_path / "tiny.safetensors") in str(caught.value)


class Harmful:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_damaged_and_malicious_files_are_refused_and_never_run(tmp_path: Path) -> None:
    path = save_tiny(tmp_path)
    weights = tmp_path / "tiny.safetensors"
    harm = tmp_path / "harm"
    pickled = pickle.dumps(Harmful(harm))
    pickle.loads(pickled)
    assert harm.exists()  # the test would notice
    harm.unlink()
    whole = weights.read_bytes()
    for content in (pickled, b"", whole[:-5], (2**63).to_bytes(8, "little") + whole):
        weights.write_bytes(content)
        with pytest.raises(LearnedFileError, match=r"tiny\.safetensors: "):
            load_policy(path)
    for content in (pickled, b"[" * 10**5, b"[]", b" " * (2**20 + 1)):
        path.write_bytes(content)
        with pytest.raises(LearnedFileError, match=r"tiny\.json: "):
            load_policy(path)
    assert not harm.exists()


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(LearnedFileError, match=r"nowhere\.json"):
        load_policy(tmp_path / "nowhere.json")
    path = save_tiny(tmp_path)
    (tmp_path / "tiny.safetensors").unlink()
    with pytest.raises(LearnedFileError, match=r"tiny\.safetensors"):
        load_policy(path)


def test_neither_ray_nor_torch_is_loaded() -> None:
    code = (
        "import sys, types\n"
        "package = types.ModuleType('rllib_amagail'); package.__path__ = [sys.argv[1]]\n"
        "sys.modules['rllib_amagail'] = package  # without its __init__, which needs Ray\n"
        "from rllib_amagail.experts import expert_demonstrations\n"
        "assert expert_demonstrations('stochastic_cooperative_navigation', 1).num_episodes == 1\n"
        "assert not {'ray', 'torch'} & set(sys.modules), 'loaded'\n"
    )
    package = Path(__file__).parent.parent / "rllib_amagail"
    subprocess.run([sys.executable, "-c", code, str(package)], check=True)


def test_other_weights_of_the_same_shape_do_not_match_the_checksum(tmp_path: Path) -> None:
    path = save_tiny(tmp_path)
    weights = tiny_weights()
    weights[f"{HEAD}.bias"] = np.array([0.0, 50.0], np.float32)
    save_file(weights, tmp_path / "tiny.safetensors")
    with pytest.raises(LearnedFileError, match="do not match the checksum"):
        load_policy(path)
    # Version 1 had no checksum.
    stored = json.loads(path.read_text())
    del stored["sha256"]
    path.write_text(json.dumps(stored))
    with pytest.raises(LearnedFileError, match="found sha256 None in version 2"):
        load_policy(path)
    changed_json(path, format_version=1)
    assert load_policy(path)(np.zeros((50, 2), np.float32), np.random.default_rng(0)).all()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_corruption_is_an_error_or_without_effect(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("corrupt")
    load_tiny(folder)
    paths = [folder / "learned.json", *sorted((folder / "policies").iterdir())]
    path = data.draw(st.sampled_from(paths))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["change", "cut", "insert"]))
        end = place if kind == "insert" else place + data.draw(st.integers(1, 9))
        new = b"" if kind == "cut" else data.draw(st.binary(min_size=1, max_size=9))
        content[place:end] = new
        content = content or bytearray(b" ")
    path.write_bytes(content)
    try:
        policy = LearnedPolicy.load(folder)
    except LearnedFileError:
        return
    assert policy.agents == ("a", "b")
    np.testing.assert_allclose(policy.action_probabilities("a", SEEN), [0.25, 0.75])
