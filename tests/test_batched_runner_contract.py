"""The batched env runner as RLlib knows it: streams, state, weights, failures, metrics, hooks."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import ray
import torch
from ray.rllib.callbacks.callbacks import RLlibCallback

from rllib_amagail.runners.batched_env_runner import BatchedEnvRunner
from tests.batched_toys import (
    AGENTS,
    GameStub,
    Script,
    ScriptedEnv,
    assert_equal,
    ending,
    make_config,
    make_runner,
)

# --- streams and state -----------------------------------------------------------------------


@pytest.mark.parametrize("box", [False, True])
def test_a_seed_decides_everything(box: bool) -> None:
    runners = [make_runner(box=box) for _ in range(2)]
    config = make_config(box=box).debugging(seed=1)
    other = BatchedEnvRunner(config)
    other.module.set_state(runners[0].module.get_state())
    first = runners[0].sample(num_timesteps=20)
    torch.manual_seed(99)  # other draws from the global streams change nothing
    np.random.seed(99)  # noqa: NPY002
    assert_equal(first, runners[1].sample(num_timesteps=20))
    with pytest.raises(AssertionError, match="actions"):
        assert_equal(first, other.sample(num_timesteps=20))


def test_sampling_leaves_the_global_streams_and_threads_alone() -> None:
    runner = make_runner(box=True)
    before = torch.get_rng_state()
    torch.set_num_threads(2)
    runner.sample(num_timesteps=20)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


def test_worlds_go_on_with_their_own_stream() -> None:
    """The initial states of two samples of whole episodes differ; so do those of remade worlds."""
    runner = make_runner(GameStub)
    starts = [e.get_observations(0) for _ in range(2) for e in runner.sample(num_episodes=2)]
    runner.make_env()
    starts += [e.get_observations(0) for e in runner.sample(num_episodes=2)]
    landmarks = np.array([start[2:8] for start in starts])
    assert len(np.unique(landmarks, axis=0)) == len(starts)


@pytest.mark.parametrize(("env", "env_config"), [(GameStub, {}), (ScriptedEnv, {"box": True})])
def test_a_restored_runner_goes_on_in_the_middle_of_episodes(env: Any, env_config: Any) -> None:
    original = make_runner(env, **env_config)
    original.sample(num_timesteps=14)
    original.get_metrics()
    state = pickle.loads(pickle.dumps(original.get_state()))
    restored = BatchedEnvRunner(make_config(env, **env_config).debugging(seed=5))
    restored.sample(num_timesteps=3)
    restored.set_state(state)
    expected, found = (runner.sample(num_timesteps=12) for runner in (original, restored))
    assert any(e.t_started > 0 for e in expected)
    assert [e.id_ for e in found] == [e.id_ for e in expected]
    assert_equal(found, expected)
    key = "episode_return_mean"
    assert restored.get_metrics()[key].peek() == original.get_metrics()[key].peek()


def test_a_state_of_another_number_of_worlds_brings_weights_only() -> None:
    small, large = make_runner(batch_size=2), make_runner(batch_size=4)
    small.sample(num_timesteps=4)
    large.set_state(small.get_state())
    assert_same_weights(large, small)
    assert len({e.custom_data["world"] for e in large.sample(num_episodes=4)}) == 4


def test_components_of_the_state() -> None:
    runner = make_runner()
    connectors = ["env_to_module_connector", "module_to_env_connector"]
    counter = "num_env_steps_sampled_lifetime"
    assert set(runner.get_state(components=connectors)) == {counter, *connectors}
    without = runner.get_state(not_components="rl_module")
    assert set(without) == {counter, "rollout", *connectors}


def assert_same_weights(left: BatchedEnvRunner, right: BatchedEnvRunner) -> None:
    for agent in AGENTS:
        mine, theirs = (r.module[agent].state_dict() for r in (left, right))
        assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(("number", "taken"), [(0, True), (2, False), (3, False), (4, True)])
def test_weights_are_taken_if_newer_or_without_number(number: int, taken: bool) -> None:
    runner, source = make_runner(), make_runner()
    for parameter in source.module["left"].parameters():
        torch.nn.init.ones_(parameter)
    runner.set_state({**runner.get_state(), "weights_seq_no": 3})
    weights = source.get_state(components="rl_module")["rl_module"]
    runner.set_state({"rl_module": weights, "weights_seq_no": number})
    changed = all((p == 1).all() for p in runner.module["left"].parameters())
    assert changed == taken
    assert runner.get_state()["weights_seq_no"] == (number or 3)


def test_weights_may_be_a_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    runner, source = make_runner(), make_runner()
    reference = ray.ObjectRef.from_random()
    stored = {reference: source.get_state(components="rl_module")["rl_module"]}
    monkeypatch.setattr(ray, "get", stored.__getitem__)
    runner.set_state({"rl_module": reference, "weights_seq_no": 1})
    assert_same_weights(runner, source)


# --- what sample can be asked for ------------------------------------------------------------


def test_random_actions_are_uniform_and_have_no_likelihood() -> None:
    runner = make_runner(script=Script(((True, True),), (50,) * 64), batch_size=64)
    runner.sample(num_timesteps=64)
    samples = runner.sample(num_timesteps=64 * 30, random_actions=True)
    assert {e.t_started for e in samples} == {0}  # not the policies' episodes
    assert not any(e.extra_model_outputs for e in samples)
    actions = np.concatenate([e.get_actions() for e in samples])
    assert len(actions) == 64 * 30 * 2
    # Standard error 0.0076.
    np.testing.assert_allclose(np.bincount(actions) / len(actions), 1 / 3, atol=0.03)


def test_random_box_actions_are_in_their_space() -> None:
    runner = make_runner(box=True)
    episode = runner.sample(num_timesteps=20, random_actions=True)[0]
    assert all(episode.action_space.contains(action) for action in episode.get_actions())
    executed = np.array(runner.env.worlds.seen_actions)
    assert episode.get_actions()[0] in executed  # as they are, without scaling


def test_force_reset_begins_new_episodes() -> None:
    runner = make_runner(script=Script(lengths=(50, 50)))
    runner.sample(num_timesteps=8)
    continued = runner.sample(num_timesteps=8)
    assert {int(e.custom_data["rounds"][0]) for e in continued} == {3, 4}
    forced = runner.sample(num_timesteps=8, force_reset=True)
    assert {int(e.custom_data["rounds"][0]) for e in forced} == {0, 1}


def test_default_number_of_steps_or_episodes() -> None:
    config = make_config().env_runners(rollout_fragment_length=5)
    runner = BatchedEnvRunner(config)
    runner.sample()
    assert runner.get_metrics()["num_env_steps_sampled"].peek() == 2 * 5
    whole = BatchedEnvRunner(
        config.copy(copy_frozen=False).env_runners(batch_mode="complete_episodes")
    )
    assert {ending(e) for e in whole.sample()} == {"terminated", "truncated"}
    assert whole.get_metrics()["num_episodes"].peek() == 2


def test_steps_may_be_the_agents_turns() -> None:
    """Two worlds have 2, 3, 3, 2, ... turns a round: six are reached in the third."""
    config = make_config(script=Script(lengths=(50, 50))).multi_agent(count_steps_by="agent_steps")
    runner = BatchedEnvRunner(config)
    runner.sample(num_timesteps=6)
    metrics = runner.get_metrics()
    assert metrics["num_env_steps_sampled"].peek() == 2 * 3
    assert sum(steps.peek() for steps in metrics["num_agent_steps_sampled"].values()) == 8


# --- failures --------------------------------------------------------------------------------


def test_a_broken_world_is_remade_and_only_its_episodes_are_lost() -> None:
    config = make_config().fault_tolerance(restart_failed_sub_environments=True)
    runner = BatchedEnvRunner(config)
    runner.sample(num_timesteps=2)
    broken = runner.env.worlds
    broken.fails_in = 2  # world 0 has ended by then, world 1 has not
    samples = runner.sample(num_timesteps=2 * 3)
    assert runner.env.worlds is not broken
    ended, anew = samples[:2], samples[2:]
    assert {(e.custom_data["world"], ending(e)) for e in ended} == {(0, "terminated")}
    assert {int(e.get_observations()[0, 1]) for e in anew} == {0}  # first episodes of new worlds
    assert runner.get_metrics()["num_env_step_failures"].peek() == 1


def test_a_broken_world_raises_and_can_be_sampled_anew() -> None:
    runner = make_runner()
    runner.env.worlds.fails_in = 2
    with pytest.raises(RuntimeError) as error:
        runner.sample(num_timesteps=20)
    assert "the world is broken" in str(error.value.__cause__)
    runner.env.worlds.fails_in = None
    samples = runner.sample(num_timesteps=4)
    assert {int(e.get_observations()[0, 1]) for e in samples} == {1}  # not the first episodes


# --- metrics and hooks -----------------------------------------------------------------------


def test_metrics_by_hand() -> None:
    """Episodes of 3 rounds in world 0: "left" earns 1 + 2 + 3, "right", who misses a round, 4 + 6.

    In 12 rounds world 0 ends four episodes, world 1 two of 5 rounds: there "left" misses the first
    round and earns 14 of 15, "right" 30.
    """
    runner = make_runner()
    for num_rounds in (5, 7):  # over several samples
        runner.sample(num_timesteps=2 * num_rounds)
    metrics = runner.get_metrics()

    def found(name: str) -> Any:
        value = metrics[name]
        return {k: v.peek() for k, v in value.items()} if isinstance(value, dict) else value.peek()

    assert found("num_env_steps_sampled") == found("num_env_steps_sampled_lifetime") == 24
    assert found("num_episodes") == 6
    assert found("episode_len_mean") == (4 * 3 + 2 * 5) / 6
    assert (found("episode_len_min"), found("episode_len_max")) == (3, 5)
    assert found("episode_return_mean") == (4 * 16 + 2 * 44) / 6
    assert (found("episode_return_min"), found("episode_return_max")) == (16, 44)
    returns = {"left": (4 * 6 + 2 * 14) / 6, "right": (4 * 10 + 2 * 30) / 6}
    assert found("agent_episode_returns_mean") == found("module_episode_returns_mean") == returns
    assert found("agent_steps")["left"] == (4 * 2 + 2 * 3) / 6
    assert found("num_agent_steps_sampled") == {
        "left": 4 * 2 + 2 * 3 + 1,
        "right": 4 * 2 + 2 * 4 + 2,
    }
    assert found("episode_duration_sec_mean") > 0
    assert np.isnan(runner.get_metrics()["episode_len_mean"].peek())  # each is reported once


def test_metrics_look_at_the_latest_episodes() -> None:
    """World 1 ends an episode of four rounds in round 4; three of one round end after it."""
    script = Script(((True, True),), lengths=(1, 4))
    config = make_config(script=script).reporting(metrics_num_episodes_for_smoothing=3)
    runner = BatchedEnvRunner(config)
    runner.sample(num_timesteps=2 * 7)
    metrics = runner.get_metrics()
    for name in ("episode_len_mean", "episode_len_max"):
        assert metrics[name].peek() == 1
    # (1 + 2 for agent "right") each, not (1 + 2 + 3 + 4) 3.
    assert metrics["episode_return_mean"].peek() == metrics["episode_return_max"].peek() == 3


class Listener(RLlibCallback):
    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    def on_environment_created(self, *, env: Any, **kwargs: Any) -> None:
        self.heard.append(("created", env))

    def on_episode_end(self, *, episode: Any, env_index: int, **kwargs: Any) -> None:
        self.heard.append(("ended", (env_index, [e.agent_id for e in episode])))

    def on_sample_end(self, *, samples: Any, metrics_logger: Any, **kwargs: Any) -> None:
        self.heard.append(("sampled", samples))
        metrics_logger.log_value("heard", len(self.heard), reduce="sum")


def test_hooks() -> None:
    ends: list[Any] = []
    config = make_config().callbacks(
        Listener, on_episode_end=lambda **kwargs: ends.append(kwargs["env_index"])
    )
    runner = BatchedEnvRunner(config)
    samples = runner.sample(num_timesteps=10)
    (listener,) = runner._callbacks._objects
    assert listener.heard == [
        ("created", runner.env.unwrapped),
        ("ended", (0, list(AGENTS))),
        ("ended", (1, list(AGENTS))),
        ("sampled", samples),
    ]
    assert ends == [0, 1]
    assert runner.get_metrics()["heard"].peek() == 4
