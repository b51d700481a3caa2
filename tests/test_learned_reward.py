"""Rewards from files are those the learner relabelled with, and files that lie are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from ray.rllib.core.columns import Columns

from rllib_amagail import LearnedFileError, LearnedPolicy, LearnedReward
from rllib_amagail.algorithm.export import export_learned
from rllib_amagail.judge import Judge
from rllib_amagail.learned_files import save_index, save_learned
from rllib_amagail.learner.learner import AMAGAILTorchLearner
from rllib_amagail.learner.turns import TurnBatch
from rllib_amagail.row_encoder import RowEncoder
from tests.test_algorithm import small_config

ROOT = Path(__file__).parent.parent


# --- what the learner did -------------------------------------------------------------------------


class Trained(NamedTuple):
    folder: Path
    turns: TurnBatch  # of agent_1, in the last iteration
    rewards: np.ndarray  # [T], those it learned from
    results: dict[str, Any]
    policy_outputs: np.ndarray  # [T, K] of the policy that was exported


# Kind of the echo game, and settings.
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "masked": ("masked", {}),
    "multidiscrete": ("multidiscrete", {"reward_form": "magail", "normalise_rewards": False}),
    "box": ("box", {}),
    "state": ("discrete", {"reward_form": "airl", "discriminator_inputs": "state"}),
    "state_pair": ("discrete", {"discriminator_inputs": "state_pair"}),
    "executed": ("discrete", {"phi": "executed"}),
    "shaped": ("masked", {"reward_form": "airl", "reward_shaping": True}),
}


@pytest.fixture(scope="module")
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, ray_session: None
) -> Trained:
    kind, settings = SETTINGS[request.param]
    caught: dict[str, Any] = {}
    relabel = AMAGAILTorchLearner._relabel

    def spy(self: Any, module_id: str, turns: TurnBatch, inputs: torch.Tensor) -> np.ndarray:
        rewards = relabel(self, module_id, turns, inputs)
        if module_id == "agent_1":
            caught.update(turns=turns, rewards=rewards)
        return rewards

    config = small_config(kind=kind).imitation(**settings).training(gamma=0.9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AMAGAILTorchLearner, "_relabel", spy)
        algorithm = config.build_algo()
        for _ in range(2):
            results = algorithm.train()
        folder = tmp_path_factory.mktemp(kind)
        export_learned(algorithm, folder)
        module = algorithm.learner_group._learner.module["agent_1"].unwrapped()
        with torch.no_grad():
            rows = {Columns.OBS: torch.from_numpy(caught["turns"].observations)}
            outputs = module.forward_inference(rows)[Columns.ACTION_DIST_INPUTS].numpy()
        algorithm.stop()
    return Trained(folder, **caught, results=results, policy_outputs=outputs)


def each(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("trained", names or list(SETTINGS), indirect=True)


def ends_of(turns: TurnBatch) -> np.ndarray:
    ends = np.zeros(len(turns), bool)
    ends[turns.segment_starts[1:] - 1] = turns.terminated
    return ends


@each()
def test_rewards_are_those_of_the_learners_relabelling(trained: Trained) -> None:
    reward, turns = LearnedReward.load(trained.folder), trained.turns
    rows: dict[str, Any] = {
        "observation": turns.observations,
        "action": turns.actions,
        "next_observation": turns.next_observations,
        "participates": turns.participates,
    }
    expected = trained.rewards
    found = reward.reward("agent_1", **rows)
    if reward.is_shaped:
        rows |= {"elapsed_rounds": turns.elapsed_rounds, "terminated": ends_of(turns)}
        found = reward.reward("agent_1", **rows, shaped=True, normalised=False)
        deviation = reward.network("agent_1").deviation
        found = (found - turns.action_logp) / deviation
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    assert expected.std() > 0


@each("box", "masked", "multidiscrete", "executed")
def test_policies_are_those_of_the_learner(trained: Trained) -> None:
    policy, seen = LearnedPolicy.load(trained.folder), trained.turns.observations
    chosen = policy.act("agent_1", seen, deterministic=True)
    space = policy.action_spaces["agent_1"]
    assert all(space.contains(action) for action in chosen)
    if isinstance(space, Box):
        means = np.clip(trained.policy_outputs[:, :2], -1, 1)
        np.testing.assert_allclose(chosen, means, atol=1e-5)
        return
    found = policy.action_probabilities("agent_1", seen)
    sizes = [space.n] if isinstance(space, Discrete) else space.nvec.tolist()
    parts = np.split(trained.policy_outputs, np.cumsum(sizes)[:-1], axis=1)
    for index, logits in enumerate(parts):
        expected = torch.softmax(torch.from_numpy(logits), dim=1).numpy()
        part = found if len(sizes) == 1 else found[index]
        np.testing.assert_allclose(part, expected, atol=1e-5)
        own = chosen if len(sizes) == 1 else chosen[:, index]
        np.testing.assert_array_equal(own, part.argmax(axis=1))


@each("masked")
def test_the_folder_says_where_it_comes_from(trained: Trained) -> None:
    reward, policy = LearnedReward.load(trained.folder), LearnedPolicy.load(trained.folder)
    assert (reward.agents, reward.form, reward.judged) == (
        ("agent_1", "agent_2"),
        "gail",
        "state_action",
    )
    assert reward.observation_spaces == policy.observation_spaces
    for told in (reward.provenance["agent_1"], policy.provenance["agent_2"]):
        assert (told["algorithm"], told["iterations"], told["seed"]) == ("AMAGAIL", 2, 3)
        assert len(told["demonstrations"]) == 64  # SHA-256
        assert told["versions"]["torch"] == torch.__version__


@each("masked")
def test_observations_as_the_environment_gives_them_are_the_same(trained: Trained) -> None:
    reward, policy = LearnedReward.load(trained.folder), LearnedPolicy.load(trained.folder)
    flat, actions = trained.turns.observations[:4], trained.turns.actions[:4]
    dicts = [{"action_mask": row[3:].astype(np.int8), "observation": row[:3]} for row in flat]
    batch = {name: np.stack([each[name] for each in dicts]) for name in dicts[0]}
    expected = reward.reward("agent_1", flat, actions)
    for same in (dicts, batch, flat[:, :3], torch.from_numpy(flat)):
        np.testing.assert_array_equal(reward.reward("agent_1", same, actions), expected)
    single = reward.reward("agent_1", dicts[0], actions[0])
    assert (np.shape(single), single) == ((), pytest.approx(expected[0], abs=1e-6))
    probable = policy.action_probabilities("agent_1", dicts)
    np.testing.assert_allclose(policy.action_probabilities("agent_1", dicts[1]), probable[1])
    np.testing.assert_array_equal(
        policy.action_probabilities("agent_1", flat[:, :3], flat[:, 3:]), probable
    )


@each("masked")
def test_tensors_can_be_differentiated(trained: Trained) -> None:
    reward = LearnedReward.load(trained.folder)
    rows = torch.from_numpy(trained.turns.observations[:5, :3]).double().requires_grad_(True)
    actions = torch.from_numpy(trained.turns.actions[:5])
    found = reward.reward("agent_1", rows, actions)
    (gradient,) = torch.autograd.grad(found.sum(), rows)
    step = torch.zeros(5, 3).double()
    step[:, 1] = 1e-2
    with torch.no_grad():
        ahead, behind = (reward.reward("agent_1", rows + s, actions) for s in (step, -step))
    expected = (ahead - behind) / 2e-2
    np.testing.assert_allclose(gradient[:, 1], expected, rtol=2e-2, atol=2e-3)
    assert expected.abs().max() > 1e-2


@each("masked", "executed")
def test_who_does_not_participate_earns_nothing_where_phi_was_filtered(trained: Trained) -> None:
    reward, turns = LearnedReward.load(trained.folder), trained.turns
    seen, actions = turns.observations[:3], turns.actions[:3].copy()
    acts = np.array([True, False, True])
    found = reward.reward("agent_1", seen, actions, participates=acts)
    if reward.network("agent_1").phi == "filtered":
        assert (found == 0).tolist() == [False, True, False]
        actions[1] = -7  # whatever a recording has for phi
        again = reward.reward("agent_1", seen, actions, participates=acts)
        np.testing.assert_array_equal(again, found)
    else:
        phi = actions.copy()
        phi[1] = reward.action_spaces["agent_1"].n - 1
        np.testing.assert_array_equal(found, reward.reward("agent_1", seen, phi))


@each("shaped")
def test_the_shaping_term_can_be_left_out(trained: Trained) -> None:
    reward, turns = LearnedReward.load(trained.folder), trained.turns
    rows = ("agent_1", turns.observations, turns.actions)
    plain = reward.reward(*rows)
    options = {"next_observation": turns.next_observations, "shaped": True}
    shaped = reward.reward(*rows, **options, elapsed_rounds=turns.elapsed_rounds)
    assert np.abs(shaped - plain).max() > 1e-3
    # Far away, or after an ending, the next potential counts for nothing.
    distant = reward.reward(*rows, **options, elapsed_rounds=10_000)
    ended = reward.reward(*rows, **options, terminated=True)
    np.testing.assert_array_equal(distant, ended)
    with pytest.raises(ValueError, match="found no next_observation"):
        reward.reward(*rows, shaped=True)


@each("masked")
def test_correlations_with_the_true_reward_are_in_the_results(trained: Trained) -> None:
    turns = trained.turns
    found = trained.results["correlation_with_true_reward"]["agent_1"]
    expected = np.corrcoef(trained.rewards, turns.rewards)[0, 1]
    assert found["pearson"] == pytest.approx(expected, abs=1e-5)
    assert -1 <= found["spearman"] <= 1
    assert set(trained.results["correlation_with_true_reward"]) == {"agent_1", "agent_2"}


# --- by hand --------------------------------------------------------------------------------------

SEEN = Box(-np.inf, np.inf, (1,), np.float32)
MODEL: dict[str, Any] = {
    "hiddens": [1],
    "judged": "state_action",
    "reward_form": "airl",
    "phi": "filtered",
    "shaping_discount": None,
    "reward_deviation": 2.0,
}


def save_tiny(folder: Path, spoilt: dict[str, np.ndarray] | None = None, **changed: Any) -> Path:
    """The reward is tanh(s) whatever the action; in training it deviated by 2."""
    judge = Judge()
    judge.build(RowEncoder(SEEN, Discrete(2)), [1])
    weights = {name: array.numpy() * 0 for name, array in judge.state_dict().items()}
    weights["network.0.weight"] = np.array([[1.0, 0.0, 0.0]], np.float32)
    weights["network.2.weight"] = np.array([[1.0]], np.float32)
    weights["input_scale"] = np.ones(3, np.float32)
    settings: dict[str, Any] = {
        "kind": "reward",
        "observation_space": SEEN,
        "action_space": Discrete(2),
        "model": MODEL,
        "provenance": {},
    }
    weights |= spoilt or {}
    path = save_learned(folder / "rewards", "tiny", weights, **(settings | changed))
    save_index(folder, {"a": "tiny"})
    return path


def test_a_reward_is_its_network_divided_by_its_deviation(tmp_path: Path) -> None:
    save_tiny(tmp_path)
    reward = LearnedReward.load(tmp_path)
    seen = np.arctanh(np.array([[0.5], [-0.5]], np.float32))
    np.testing.assert_allclose(reward.reward("a", seen, [0, 1]), [0.25, -0.25], atol=1e-6)
    raw = reward.reward("a", seen, [0, 1], normalised=False)
    np.testing.assert_allclose(raw, [0.5, -0.5], atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"agent": "b"}, "found agent 'b', expected one of a"),
        ({"action": None}, "found no action"),
        ({"action": [0]}, "found 1 actions for 2 observations"),
        ({"action": [0, 2]}, "row 1: found 2 in action component 0, expected 0 to 1"),
        ({"action": [0, 0.5]}, "expected integers"),
        ({"observation": np.zeros((2, 3))}, r"found shape \(2, 3\)"),
        ({"observation": torch.zeros(2, 3)}, r"expected \[B, 1\] features"),
        ({"participates": [True]}, r"participates has shape \(1,\), expected \(2,\)"),
        ({"shaped": True}, "have no shaping term"),
    ],
)
def test_wrong_rows_are_refused(tmp_path: Path, call: dict[str, Any], message: str) -> None:
    save_tiny(tmp_path)
    arguments: dict[str, Any] = {"agent": "a", "observation": np.zeros((2, 1)), "action": [0, 1]}
    with pytest.raises(ValueError, match=message):
        LearnedReward.load(tmp_path).reward(**(arguments | call))


def changed_json(path: Path, **changed: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kind": "policy"}, "kind 'policy', expected 'reward'"),
        ({"format_version": True}, "format_version 'True', expected 1 or 2"),
        ({"weights": "../tiny.safetensors"}, "name of a .safetensors file"),
        ({"weights": "..\\tiny.safetensors"}, "name of a .safetensors file"),
        ({"weights": "a\0.safetensors"}, "name of a .safetensors file"),
        ({"provenance": []}, "provenance"),
        ({"model": []}, "model"),
        ({"model": {}}, "judged"),
        ({"model": MODEL | {"judged": ["state"]}}, "found judged"),
        ({"model": MODEL | {"reward_form": "os.system"}}, "found reward_form"),
        ({"model": MODEL | {"phi": None}}, "found phi"),
        ({"model": MODEL | {"hiddens": [2**14 + 1]}}, "widths from 1"),
        ({"model": MODEL | {"hiddens": [2**14] * 32}}, "tiny.safetensors"),
        ({"model": MODEL | {"hiddens": []}}, "widths from 1"),
        ({"model": MODEL | {"reward_deviation": 0}}, "reward_deviation"),
        ({"model": MODEL | {"reward_deviation": "2"}}, "reward_deviation"),
        ({"model": MODEL | {"reward_deviation": 10**400}}, "reward_deviation"),
        ({"model": MODEL | {"shaping_discount": 2.0}}, "shaping_discount"),
        ({"model": MODEL | {"shaping_discount": True}}, "shaping_discount"),
        ({"model": MODEL | {"shaping_discount": 0.9}}, "tiny.safetensors"),
        ({"observation_space": {"type": "Box"}}, "tiny.json"),
        ({"action_space": {"type": "MultiBinary", "n": 3}}, "tiny.json"),
    ],
)
def test_a_json_that_is_no_reward_is_refused(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    path = save_tiny(tmp_path)
    changed_json(path, **changed)
    with pytest.raises(LearnedFileError, match=message) as caught:
        LearnedReward.load(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"NaN", "found NaN"),
        (b'{"a": Infinity}', "found Infinity"),
        (b"[" * 100_000, "learned.json"),
        (b'{"a":' * 50_000, "learned.json"),
        (b"1" * 10_000, "learned.json"),
        (b" " * (2**20 + 1), "1048577 bytes"),
        (b"\xff\xfe", "learned.json"),
        (b"{}", "found the fields"),
        (b'{"format_version": 1, "kind": "index", "agents": {}}', "a module per agent"),
        (b'{"format_version": 1, "kind": "index", "agents": {"a": 1}}', "found module '1'"),
        (b'{"format_version": 1, "kind": "index", "agents": {"a": "../x"}}', "found module"),
        (b'{"format_version": 1, "kind": "index", "agents": {"a": "/etc/x"}}', "found module"),
        (b'{"format_version": 1, "kind": "index", "agents": {"a": ".."}}', "found module"),
        (b'{"format_version": 1, "kind": "index", "agents": {"a": "x"}}', r"x\.json"),
    ],
)
def test_an_index_that_lies_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    save_tiny(tmp_path)
    (tmp_path / "learned.json").write_bytes(content)
    for loader in (LearnedReward, LearnedPolicy):
        with pytest.raises(LearnedFileError, match=message):
            loader.load(tmp_path)


def header(text: bytes, size: int | None = None) -> bytes:
    return (len(text) if size is None else size).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        header(b"", 2**63),
        header(b"{}", 2**40),
        header(b'{"input_mean":{"dtype":"F32","shape":[1073741824,4],"data_offsets":[0,4]}}'),
        header(b'{"input_mean":{"dtype":"F32","shape":[3],"data_offsets":[0,99999999999]}}'),
        header(b'{"input_mean":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}') + b"\0\0",
        header(b'{"input_mean":{"dtype":"O","shape":[1],"data_offsets":[0,8]}}') + b"\0" * 8,
        header(b'{"a":' * 10_000),
        header(b"{}") + b"surplus",
    ],
    ids=range(9),
)
def test_weights_that_lie_are_refused(tmp_path: Path, content: bytes) -> None:
    save_tiny(tmp_path)
    (tmp_path / "rewards" / "tiny.safetensors").write_bytes(content)
    with pytest.raises(LearnedFileError, match=r"tiny\.safetensors: "):
        LearnedReward.load(tmp_path)


@pytest.mark.parametrize(("name", "value"), [("input_mean", np.nan), ("input_scale", 0.0)])
def test_numbers_that_spoil_rewards_are_refused(tmp_path: Path, name: str, value: float) -> None:
    save_tiny(tmp_path, spoilt={name: np.full(3, value, np.float32)})
    with pytest.raises(LearnedFileError, match="finite" if np.isnan(value) else "input_scale"):
        LearnedReward.load(tmp_path)


def test_modules_whose_names_are_paths_are_not_written(tmp_path: Path) -> None:
    for name in ("../up", "a/b", "", ".."):
        with pytest.raises(ValueError, match="expected a name that can be a file's"):
            save_learned(
                tmp_path,
                name,
                {},
                kind="reward",
                observation_space=SEEN,
                action_space=SEEN,
                model={},
                provenance={},
            )
    assert not list(tmp_path.parent.glob("up*"))


def test_everything_but_the_algorithm_works_without_ray(tmp_path: Path) -> None:
    save_tiny(tmp_path)
    code = (
        "import sys\n"
        "class NoRay:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'ray':\n"
        "            raise ModuleNotFoundError('No module named ray', name=name)\n"
        "sys.meta_path.insert(0, NoRay())\n"
        "from rllib_amagail import Demonstrations, LearnedPolicy, LearnedReward, Synchronous\n"
        "reward = LearnedReward.load(sys.argv[1])\n"
        "assert reward.reward('a', [[0.0]], [1]).tolist() == [0.0]\n"
        "import rllib_amagail\n"
        "try:\n"
        "    from rllib_amagail import AMAGAIL\n"
        "except ImportError as error:\n"
        "    assert 'pip install \"ray[rllib]\"' in str(error), error\n"
        "else:\n"
        "    raise AssertionError('AMAGAIL without Ray')\n"
        "try:\n"
        "    rllib_amagail.no_such_name\n"
        "except AttributeError:\n"
        "    print('fine')\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "fine\n", done.stderr
