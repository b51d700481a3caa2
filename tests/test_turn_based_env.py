"""`TurnBasedEnv` stepped directly: who is shown what, who earns what, endings, seeds, errors.

The toys earn 2**t in round t, so a return tells the rounds it was earned in: 5 is rounds 0 and 2.
"""

import json
from collections import Counter
from typing import ClassVar

import numpy as np
import pytest

from rllib_amagail.envs import turn_based_env
from rllib_amagail.envs.turn_based_env import TurnBasedEnv
from rllib_amagail.player_functions import (
    IndependentStochastic,
    MarkovParticipation,
    StatePlayerFunction,
    Synchronous,
    paper_pattern,
)
from tests.turn_based_toys import (
    AGENTS,
    TERMINATED,
    TRUNCATED,
    Alternating,
    ParallelToy,
    RandomWalk,
    pattern,
)

STEPS = ("observations", "rewards", "terminateds", "truncateds", "infos")


def play(env, action=1, seed=None):
    """The reset and every step of an episode in which all agents shown choose `action`."""
    observations, infos = env.reset(seed=seed)
    steps = [{"observations": observations, "infos": infos}]
    while True:
        results = env.step(dict.fromkeys(observations, action))
        steps.append(dict(zip(STEPS, results, strict=True)))
        observations = steps[-1]["observations"]
        if steps[-1]["terminateds"]["__all__"] or steps[-1]["truncateds"]["__all__"]:
            return steps
        gone = {
            a for f in ("terminateds", "truncateds") for a, is_so in steps[-1][f].items() if is_so
        }
        observations = {agent: o for agent, o in observations.items() if agent not in gone}


def shown(steps):
    """Per observation dict, the agents in it: ["abc", "ab", ...]."""
    return ["".join(sorted(step["observations"])) for step in steps]


def returns(steps):
    total = Counter()
    for step in steps[1:]:
        total.update(step["rewards"])
    return dict(total)


def test_only_participants_are_shown_and_the_others_apply_null_actions():
    toy = ParallelToy(horizon=4)
    steps = play(TurnBasedEnv(toy, paper_pattern()))
    # Three rounds of the pattern, its first round again, and the final observations.
    assert shown(steps) == ["abc", "ab", "a", "abc", "abc"]
    executed = [[actions[agent] for agent in AGENTS] for actions in toy.executed]
    assert executed == [[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 1]]


def test_infos_hold_round_participation_and_the_environments_own():
    steps = play(TurnBasedEnv(ParallelToy(horizon=2), pattern("ab", "b")))
    assert steps[0]["infos"] == {
        "a": {"toy": "a", "round": 0, "participates": True},
        "b": {"toy": "b", "round": 0, "participates": True},
    }
    assert steps[1]["infos"] == {"b": {"round": 1, "participates": True}}
    final = {"round": 2, "participates": False}
    assert steps[2]["infos"] == {"a": final, "b": final}


def test_agents_that_never_acted_get_no_final_observation():
    steps = play(TurnBasedEnv(ParallelToy(horizon=3), pattern("a", "b", "a")))
    assert shown(steps) == ["a", "b", "a", "ab"]


def test_absent_agents_earn_nothing():
    steps = play(TurnBasedEnv(ParallelToy(horizon=3), pattern("ab", "b", "a")))
    assert [step["rewards"] for step in steps[1:]] == [{"a": 1, "b": 1}, {"b": 2}, {"a": 4}]


def test_rewards_of_absent_agents_are_reported_on_demand():
    env = TurnBasedEnv(ParallelToy(horizon=3), pattern("ab", "b", "a"), reward_absent=True)
    assert returns(play(env)) == {"a": 7, "b": 7, "c": 7}


def test_a_dying_agent_is_told_at_once_even_if_it_does_not_participate():
    env = TurnBasedEnv(ParallelToy({"b": (1, TERMINATED)}, horizon=4), pattern("ab", "a"))
    steps = play(env)
    assert shown(steps) == ["ab", "a", "ab", "a", "a"]  # never again, though its turn comes
    assert steps[2]["terminateds"] == {"b": True, "__all__": False}
    assert steps[2]["truncateds"] == {"__all__": False}
    assert steps[2]["infos"]["b"] == {"round": 2, "participates": False}
    assert "b" not in steps[3]["rewards"]


def test_a_truncated_agent_has_its_own_flag_while_others_live_on():
    steps = play(TurnBasedEnv(ParallelToy({"b": (0, TRUNCATED)}), pattern("ab")))
    assert steps[1]["truncateds"] == {"b": True, "__all__": False}
    assert steps[1]["terminateds"] == {"__all__": False}


def test_an_agent_that_dies_before_its_first_turn_leaves_no_trace():
    steps = play(TurnBasedEnv(ParallelToy({"c": (1, TERMINATED)}), pattern("ab", "a", "abc")))
    assert shown(steps) == ["ab", "a", "ab", "ab", "ab"]
    assert not any("c" in step[name] for step in steps[1:] for name in STEPS)


@pytest.mark.parametrize(
    ("endings", "terminateds", "truncateds"),
    [
        (dict.fromkeys("abc", (3, TERMINATED)), {"a", "b", "c", "__all__"}, set()),
        ({}, set(), {"__all__"}),
        # Mixed: "a" alone is terminated; "__all__" truncates the others.
        ({"a": (3, TERMINATED)}, {"a"}, {"__all__"}),
        # Who ended before the last round does not count.
        ({"a": (1, TERMINATED)}, set(), {"__all__"}),
        (
            {"a": (1, TRUNCATED), "b": (3, TERMINATED), "c": (3, TERMINATED)},
            {"b", "c", "__all__"},
            set(),
        ),
    ],
)
def test_the_last_round_says_how_the_episode_ended(endings, terminateds, truncateds):
    last = play(TurnBasedEnv(ParallelToy(endings, horizon=4), Synchronous(3)))[-1]
    assert {agent for agent, flag in last["terminateds"].items() if flag} == terminateds
    assert {agent for agent, flag in last["truncateds"].items() if flag} == truncateds


def test_the_only_agent_met_so_far_is_told_of_its_end_once_another_was_met():
    toy = ParallelToy({"a": (0, TRUNCATED)}, horizon=5)
    steps = play(TurnBasedEnv(toy, pattern("a", "", "b", "c")))
    assert shown(steps) == ["a", "", "b", "ac", "", "bc"]
    assert steps[3]["truncateds"] == {"a": True, "__all__": False}
    assert steps[3]["infos"]["a"]["round"] == 1  # when it ended
    assert steps[3]["observations"]["a"] == [1]


def test_live_agents_are_listed_with_those_that_end_in_this_step():
    env = TurnBasedEnv(ParallelToy({"b": (0, TERMINATED)}), Synchronous(3))
    env.reset()
    listed = []
    for _ in range(2):
        env.step(dict.fromkeys("abc", 0))
        listed.append(env.agents)
    assert listed == [["a", "b", "c"], ["a", "c"]]


def test_rounds_without_participants_are_empty_steps():
    steps = play(TurnBasedEnv(ParallelToy(horizon=4), pattern("a", "", "", "b")))
    assert shown(steps) == ["a", "", "", "b", "ab"]
    assert [step["rewards"] for step in steps[1:]] == [{"a": 1}, {}, {}, {"b": 8}]


def test_reset_plays_the_rounds_before_anybodys_first_turn():
    steps = play(TurnBasedEnv(ParallelToy(horizon=4), pattern("", "", "b"), reward_absent=True))
    assert shown(steps) == ["b", "", "b"]
    assert [step["infos"]["b"]["round"] for step in (steps[0], steps[2])] == [2, 4]
    assert returns(steps)["b"] == 4 + 8  # rewards before any action are due to none


def test_reset_begins_again_if_the_episode_ends_without_a_turn():
    # Seldom does anybody act within an episode of one round.
    env = TurnBasedEnv(ParallelToy(horizon=1), IndependentStochastic([0.02] * 3), seed=0)
    for _ in range(20):
        steps = play(env)
        assert len(steps) == 2
        assert shown(steps)[0]
        assert steps[0]["infos"].popitem()[1]["round"] == 0


def test_nobody_ever_participating_is_an_error(monkeypatch):
    monkeypatch.setattr(turn_based_env, "MAX_IDLE_ROUNDS", 50)
    env = TurnBasedEnv(ParallelToy(), IndependentStochastic([0.0, 0.0, 0.0]))
    with pytest.raises(RuntimeError, match="nobody participated in 50 rounds"):
        env.reset()


def test_everyone_is_shown_on_demand_but_absent_agents_act_in_vain():
    toy = ParallelToy(horizon=3)
    steps = play(TurnBasedEnv(toy, pattern("ab", "b", "a"), show_everyone=True))
    assert shown(steps) == ["abc"] * 4
    participates = [[step["infos"][a]["participates"] for a in AGENTS] for step in steps]
    assert participates == [[1, 1, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert returns(steps) == {"a": 1 + 4, "b": 1 + 2, "c": 0}
    assert [actions["c"] for actions in toy.executed] == [0, 0, 0]


class NamesParticipants(ParallelToy):
    """Names b as the only participant of odd rounds, c never."""

    may_abstain: ClassVar = {"a": False}

    def step(self, actions):
        *results, infos = super().step(actions)
        odd = len(self.executed) % 2 == 1
        for agent in infos:
            infos[agent] = {"participates": agent == "b" if odd else agent != "c"}
        return *results, infos


def test_the_environments_infos_name_the_participants():
    env = TurnBasedEnv(NamesParticipants(horizon=3))
    steps = play(env)
    assert shown(steps) == ["abc", "b", "ab", "abc"]  # at reset nobody is denied a turn
    assert env.may_abstain == {"a": False, "b": True, "c": True}


@pytest.mark.parametrize("kind", [TERMINATED, TRUNCATED])
def test_a_board_game_is_stepped_with_the_movers_action_only(kind):
    game = Alternating(end=3, kind=kind)
    steps = play(TurnBasedEnv(game, reward_absent=True))
    assert shown(steps) == ["x", "y", "x", "xy"]
    assert game.executed == [{"x": 1}, {"y": 1}, {"x": 1}]
    assert returns(steps) == {"x": 7, "y": 7}
    assert steps[-1][kind + "s"]["__all__"]


def test_an_environment_that_hides_agents_is_refused_where_it_matters():
    env = TurnBasedEnv(Alternating(), show_everyone=True)
    env.reset()
    with pytest.raises(ValueError, match=r"\['x'\] are alive but not observed in round 1"):
        env.step({"x": 0})
    with pytest.raises(ValueError, match="'x' was truncated after round 1 without a final"):
        play(TurnBasedEnv(Alternating(end=2, kind=TRUNCATED, last_look=False)))
    # RLlib repeats the last observation of a terminated agent, so there it does not matter.
    last = play(TurnBasedEnv(Alternating(end=2, kind=TERMINATED, last_look=False)))[-1]
    assert (last["observations"], last["terminateds"]["x"]) == ({}, True)


def test_higher_order_player_functions_see_the_joint_observations():
    seen = []

    def function(history):
        seen.append(history.states.tolist())
        return np.ones((1, 3))

    toy = ParallelToy({"b": (1, TERMINATED)}, horizon=4)
    play(TurnBasedEnv(toy, StatePlayerFunction(function, 3, [1.0, 1.0, 1.0])))
    assert seen == [[[1, 1, 1]], [[2, 0, 2]], [[3, 0, 3]]]  # b is not there any more


def test_higher_order_player_functions_see_past_actions():
    seen = []

    def whoever_chose_two_pauses(history):
        seen.append(history.states[0, 3:].tolist())  # after three observations
        return (history.states[:, 3:] != 2).astype(float)

    turns = StatePlayerFunction(whoever_chose_two_pauses, 3, [1.0, 1.0, 0.0], needs_actions=True)
    env = TurnBasedEnv(ParallelToy(horizon=4), turns)
    env.reset(seed=0)
    asked = [sorted(env.step(actions)[0]) for actions in ({"a": 2, "b": 1}, {"b": 2, "c": 2})]
    # c was absent in round 0 and a in round 1: zeros, whatever the environment executed.
    assert seen == [[2, 1, 0], [0, 2, 2]]
    assert asked == [["b", "c"], ["a"]]


def coins():
    return IndependentStochastic([0.5, 0.5])


def walk(env, seed=None):
    """What identifies an episode of `RandomWalk`: who is shown which place."""
    steps = play(env, seed=seed)
    return [{agent: float(o[0]) for agent, o in step["observations"].items()} for step in steps]


def test_one_seed_gives_both_streams():
    first, second = (TurnBasedEnv(RandomWalk(), coins()) for _ in range(2))
    assert walk(first, seed=3) == walk(second, seed=3)
    assert walk(first) == walk(second)  # the streams continue
    alone = TurnBasedEnv(RandomWalk(), seed=0)
    assert walk(alone) != walk(alone)
    assert walk(first, seed=3) != walk(second, seed=4)
    assert walk(first, seed=5) == walk(TurnBasedEnv(RandomWalk(), coins(), seed=5))


def test_the_environments_stream_does_not_depend_on_the_player_function():
    everyone, some = (walk(TurnBasedEnv(RandomWalk(), f), seed=3) for f in (None, coins()))
    places = {place for step in everyone for place in step.values()}
    assert {place for step in some for place in step.values()} <= places


def test_a_restored_environment_continues_the_streams():
    player_function = MarkovParticipation([0.5, 0.5], [0.2, 0.8], [0.6, 0.3])
    env = TurnBasedEnv(RandomWalk(), player_function, seed=1)
    restored = TurnBasedEnv(RandomWalk(), player_function)
    restored.set_state(env.get_state())  # before the first reset, with the seed still to be used
    assert walk(restored) == walk(env)
    state = json.loads(json.dumps(env.get_state()))
    expected = [walk(env) for _ in range(3)]
    restored.reset()
    restored.set_state(state)
    with pytest.raises(RuntimeError, match="no episode is running"):
        restored.step({"x": 0, "y": 0})
    assert [walk(restored) for _ in range(3)] == expected


def test_render_and_close_are_the_environments():
    toy = ParallelToy()
    closed = []
    toy.close = lambda: closed.append(True)
    env = TurnBasedEnv(toy, Synchronous(3))
    assert env.render() == "picture"
    env.close()
    assert closed == [True]


def test_player_functions_for_other_numbers_of_agents_are_refused():
    with pytest.raises(ValueError, match="player function is for 2 agents, expected 3"):
        TurnBasedEnv(ParallelToy(), Synchronous(2))


def test_unusable_actions_and_states_are_refused():
    env = TurnBasedEnv(ParallelToy(), pattern("ab"))
    with pytest.raises(RuntimeError, match="no episode is running"):
        env.step({"a": 0, "b": 0})
    env.reset()
    for actions in ({"a": 0}, {"a": 0, "b": 0, "d": 0}):
        with pytest.raises(ValueError, match=r"expected at least the participants \['a', 'b'\]"):
            env.step(actions)
    env.step({"a": 0, "b": 0, "c": 1})  # c is not asked, and not heard
    with pytest.raises(
        ValueError, match=r"state has entries \['generator'\], expected \['env_seed'"
    ):
        env.set_state({"generator": {}})
