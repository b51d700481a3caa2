"""Episodes under way in RLlib's runner are played again from their beginnings."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import numpy as np
import pytest
from ray import tune
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode

from rllib_amagail import TurnBasedEnv
from rllib_amagail.runners import open_episodes
from rllib_amagail.runners.turn_env_runner import TurnEnvRunner
from tests.batched_toys import make_config
from tests.turn_based_toys import Alternating, RandomWalk

pytestmark = pytest.mark.usefixtures("ray_session")
ROUNDS = 8  # of an episode of RandomWalk


class ForgetfulWalk(RandomWalk):
    """Its state leaves out where the walk is going."""

    def get_state(self) -> dict[str, Any]:
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        self._rng = np.random.default_rng(99)


class FragileWalk(ForgetfulWalk):
    """It also breaks, once, after it was set back to a state."""

    left: ClassVar[int] = 1
    set_back = False

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self.set_back = True

    def step(self, action_dict: dict[str, Any]) -> Any:
        if self.set_back and FragileWalk.left:
            FragileWalk.left -= 1
            raise ArithmeticError("no such place")
        return super().step(action_dict)


def make_runner(walk: type[RandomWalk] = RandomWalk) -> TurnEnvRunner:
    tune.register_env("walk", lambda config: TurnBasedEnv(walk()))
    return TurnEnvRunner(config=make_config("walk", batch_size=2))


def places(episodes: list[MultiAgentEpisode]) -> list[list[float]]:
    """What agent x saw in every episode; of a continued one, what is new."""
    return [e.agent_episodes["x"].get_observations()[:, 0].tolist() for e in episodes]


def actions(episodes: list[MultiAgentEpisode]) -> list[list[int]]:
    return [e.agent_episodes["x"].get_actions().tolist() for e in episodes]


@pytest.mark.parametrize("played", [ROUNDS // 2, ROUNDS, ROUNDS + 3], ids=["middle", "end", "next"])
def test_another_runner_goes_on_in_the_middle(played: int) -> None:
    first, second = make_runner(), make_runner()
    first.sample(num_timesteps=2 * played)
    first.get_metrics()  # as after every sample in training
    state = first.get_state()
    expected = first.sample(num_timesteps=2 * ROUNDS)
    second.sample(num_timesteps=2)  # it has a past of its own
    second.set_state(state)
    found = second.sample(num_timesteps=2 * ROUNDS)
    assert places(found) == places(expected)
    assert actions(found) == actions(expected)
    assert [len(e) for e in found] == [len(e) for e in expected]
    whole, again = (runner.get_metrics() for runner in (first, second))
    for name in ("episode_return_mean", "episode_len_mean"):
        assert again[name].peek() == whole[name].peek()


def test_a_state_does_not_change_while_the_runner_goes_on() -> None:
    first, second = make_runner(), make_runner()
    first.sample(num_timesteps=6)
    state = first.get_state()
    expected = places(first.sample(num_timesteps=6))
    first.sample(num_timesteps=20)
    second.set_state(state)
    assert places(second.sample(num_timesteps=6)) == expected


@pytest.mark.parametrize("walk", [ForgetfulWalk, FragileWalk])
def test_where_that_leads_elsewhere_episodes_begin_anew(
    walk: type[RandomWalk], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = make_runner(walk), make_runner(walk)
    first.sample(num_timesteps=2 * (ROUNDS + 3))  # the first episode starts from the seed
    with caplog.at_level(logging.WARNING):
        second.set_state(first.get_state())
    assert "TurnBasedEnv, played again" in caplog.text
    assert ("no such place" in caplog.text) == (walk is FragileWalk)
    assert all(episode.env_t_started == 0 for episode in second.sample(num_timesteps=6))


def test_without_a_state_episodes_begin_anew() -> None:
    tune.register_env("alternating", lambda config: Alternating())
    runner = TurnEnvRunner(config=make_config("alternating", batch_size=2))
    runner.sample(num_timesteps=6)
    state = runner.get_state()
    assert state["random_streams"]["open_episodes"] is None
    runner.set_state(state)
    assert all(episode.env_t_started == 0 for episode in runner.sample(num_timesteps=6))


def test_very_long_episodes_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_episodes, "MAX_ROUNDS", 3)
    runner = make_runner()
    runner.sample(num_timesteps=6)
    assert open_episodes.get_open_episodes(runner) is not None
    runner.sample(num_timesteps=2)
    assert open_episodes.get_open_episodes(runner) is None


def test_runners_do_not_take_the_streams_of_others() -> None:
    """RLlib gives a restarted runner the state of the local one."""
    first, second = make_runner(), make_runner()
    first.sample(num_timesteps=6)
    state = first.get_state()
    state["random_streams"]["of"] = [3, 0, 2]
    before = second.get_state()["random_streams"]["actions"]
    second.set_state(state)
    np.testing.assert_array_equal(second.get_state()["random_streams"]["actions"], before)
