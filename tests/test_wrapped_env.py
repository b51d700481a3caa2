"""Who lives and who ended, told by environments of both kinds."""

import pytest
from gymnasium.spaces import Discrete
from pettingzoo import AECEnv
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_amagail.envs.wrapped_env import WrappedEnv
from tests.turn_based_toys import TERMINATED, TRUNCATED, ParallelToy, RandomWalk


class Script(MultiAgentEnv):
    """Steps return `(observed agents, terminateds, truncateds)` as written."""

    def __init__(self, start, *steps, agents=()):
        super().__init__()
        self.possible_agents = ["x", "y", "z"]
        self.agents = list(agents)
        self.observation_spaces = self.action_spaces = dict.fromkeys("xyz", Discrete(9))
        self._start, self._steps = start, list(steps)

    def reset(self, *, seed=None, options=None):
        return dict.fromkeys(self._start, 0), {}

    def step(self, action_dict):
        observed, *flags = self._steps.pop(0)
        return dict.fromkeys(observed, 0), {}, *flags, {}


def endings(env):
    """Per step, the agents that ended with whether they were truncated, and those that live."""
    wrapped = WrappedEnv(env)
    wrapped.reset(None, None)
    steps = []
    while wrapped.live:
        view = wrapped.step(dict.fromkeys(wrapped.live, 0))
        steps.append((dict(view.truncated), "".join(wrapped.live)))
    return steps


ON, OVER = {"__all__": False}, {"__all__": True}


@pytest.mark.parametrize(
    ("terminateds", "truncateds", "expected"),
    [
        (OVER, ON, {"x": False, "y": False, "z": False}),
        (ON, OVER, {"x": True, "y": True, "z": True}),
        # An agent's own flag comes first; terminated is the stronger one.
        (OVER, {"y": True}, {"x": False, "y": True, "z": False}),
        ({"x": True}, OVER, {"x": False, "y": True, "z": True}),
        ({"x": True, "y": False, **OVER}, {"x": True}, {"x": False, "y": False, "z": False}),
        (OVER, OVER, {"x": False, "y": False, "z": False}),
        # All agents have flags of their own, so it is over, whatever "__all__" says.
        ({"x": True, **ON}, {"y": True, "z": True, **ON}, {"x": False, "y": True, "z": True}),
    ],
)
def test_rllibs_flags(terminateds, truncateds, expected):
    assert endings(Script("xyz", ("xyz", terminateds, truncateds))) == [(expected, "")]


def test_an_agent_ends_once():
    # RLlib environments may go on to flag, and to observe, agents that have ended.
    steps = [("xyz", {"x": True}, ON), ("xyz", {"x": True}, ON), ("xyz", OVER, ON)]
    assert endings(Script("xyz", *steps)) == [
        ({"x": False}, "yz"),
        ({}, "yz"),
        ({"y": False, "z": False}, ""),
    ]


def test_agents_may_join_later():
    env = Script("x", ("xz", ON, ON), ("xz", {"x": True}, ON), ("z", OVER, ON), agents="x")
    assert endings(env) == [({}, "xz"), ({"x": False}, "z"), ({"z": False}, "")]


def test_all_possible_agents_live_if_the_environment_lists_none():
    assert endings(Script("x", ("y", {"x": True}, ON), ("z", OVER, ON))) == [
        ({"x": False}, "yz"),
        ({"y": False, "z": False}, ""),
    ]


def test_pettingzoos_flags():
    env = ParallelToy({"a": (0, TERMINATED), "b": (1, TRUNCATED)}, horizon=3)
    assert endings(env) == [({"a": False}, "bc"), ({"b": True}, "c"), ({"c": True}, "")]


class Aec(AECEnv):
    possible_agents = ("a",)

    def observation_space(self, agent):
        return Discrete(2)


def without(env, name):
    setattr(env, name, None)
    return env


@pytest.mark.parametrize(
    ("env", "error", "message"),
    [
        (object(), TypeError, "env is a object, expected an RLlib MultiAgentEnv or"),
        (
            without(ParallelToy(), "possible_agents"),
            ValueError,
            "ParallelToy has no possible_agents",
        ),
        (without(RandomWalk(), "action_spaces"), ValueError, "no .* action space for agent 'x'"),
    ],
)
def test_unusable_environments_are_refused(env, error, message):
    with pytest.raises(error, match=message):
        WrappedEnv(env)
