"""Turns and rewards of many worlds as RLlib's episodes."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from rllib_amagail.learner.turns import credited_rewards
from rllib_amagail.runners.batched_worlds import PlayedRound
from rllib_amagail.runners.turn_recorder import RecordedAgent, TurnRecorder

GAMMA = 0.5


class Worlds:
    """Plays one agent in B worlds by hand; observations are rounds."""

    def __init__(self, batch_size: int, gamma: float = GAMMA) -> None:
        agent = RecordedAgent("a", "a", Box(0, 99, (1,)), Discrete(2), gamma)
        self.recorder = TurnRecorder([agent], batch_size)
        self.rounds = np.zeros(batch_size, np.int64)

    def play(self, acts: list[bool], rewards: list[float], ends: list[bool]) -> None:
        if any(acts):
            worlds = np.flatnonzero(acts)
            self.recorder.add_turns(
                0,
                worlds,
                self.rounds[worlds],
                np.ones(len(worlds), bool),
                self.rounds[worlds, None].astype(np.float32),
                {"actions": np.zeros(len(worlds), np.int64)},
            )
        self.rounds += 1
        ended = np.flatnonzero(ends)
        seen = {"a": self.rounds[ended, None].astype(np.float32)}
        self.recorder.add_round(
            PlayedRound(
                rewards=np.array(rewards, float)[:, None],
                ended=ended,
                terminated=np.ones(len(ended), bool),
                rounds=self.rounds[ended],
                observations=seen,
            )
        )
        self.rounds[ended] = 0

    def cut(self, acts: list[bool]) -> list[SingleAgentEpisode]:
        seen = {"a": self.rounds[:, None].astype(np.float32)}
        return self.recorder.cut(np.array(acts)[:, None], self.rounds, seen, complete=lambda c: c)


def credits(episodes: list[SingleAgentEpisode]) -> list[list[float]]:
    return [credited_rewards(episode, GAMMA).tolist() for episode in episodes]


def test_late_rewards_are_discounted_by_rounds_and_scores_are_not() -> None:
    worlds = Worlds(1)
    worlds.play([True], [1.0], [False])
    worlds.play([False], [2.0], [False])
    worlds.play([False], [4.0], [False])
    worlds.play([True], [8.0], [True])
    episodes = worlds.cut([True])
    assert credits(episodes) == [[1 + 0.5 * 2 + 0.25 * 4, 8]]
    assert episodes[0].get_return() == 15


def test_a_turn_that_stays_open_over_two_cuts_goes_on_where_it_was() -> None:
    worlds = Worlds(1)
    worlds.play([True], [1.0], [False])
    worlds.play([False], [2.0], [False])
    assert worlds.cut([False]) == []
    worlds.play([False], [4.0], [False])
    assert worlds.cut([False]) == []
    worlds.play([False], [8.0], [True])
    episodes = worlds.cut([True])
    assert credits(episodes) == [[1 + 2 / 2 + 4 / 4 + 8 / 8]]
    assert episodes[0].get_return() == 15


def test_a_state_holds_what_open_turns_have_earned() -> None:
    worlds, others = Worlds(1), Worlds(1)
    worlds.play([True], [1.0], [False])
    worlds.play([False], [2.0], [False])
    worlds.cut([False])
    others.recorder.set_state(worlds.recorder.get_state())
    others.rounds = worlds.rounds.copy()
    for each in (worlds, others):
        each.play([False], [4.0], [True])
    assert credits(others.cut([True])) == credits(worlds.cut([True])) == [[1 + 2 / 2 + 4 / 4]]


def test_states_of_the_first_release_are_read() -> None:
    worlds = Worlds(1)
    worlds.play([True], [1.0], [False])
    worlds.cut([False])
    state = worlds.recorder.get_state()
    for name in ("lags", "discounts"):
        del state["rows"][0][0][name]
    worlds.recorder.set_state(state)
    worlds.play([False], [4.0], [True])
    assert credits(worlds.cut([True])) == [[1 + 4 / 2]]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3), st.integers(0, 2**32 - 1), st.sampled_from([1.0, 0.9, 0.5]))
def test_every_turn_earns_its_discounted_sum(batch_size: int, seed: int, gamma: float) -> None:
    rng = np.random.default_rng(seed)
    acts = rng.random((30, batch_size)) < 0.4
    ends = rng.random((30, batch_size)) < 0.1
    rewards = rng.normal(size=(30, batch_size))
    cuts = rng.random(30) < 0.2
    ends[-1], cuts[-1] = True, True

    expected: dict[int, list[float]] = {world: [] for world in range(batch_size)}
    for world in range(batch_size):
        turn: int | None = None
        for t in range(30):
            if acts[t, world]:
                expected[world].append(0.0)
                turn = t
            if turn is not None:
                expected[world][-1] += gamma ** (t - turn) * rewards[t, world]
            if ends[t, world]:
                turn = None

    worlds = Worlds(batch_size, gamma)
    found: dict[int, list[float]] = {world: [] for world in range(batch_size)}
    for t in range(30):
        worlds.play(acts[t].tolist(), rewards[t].tolist(), ends[t].tolist())
        if cuts[t]:
            upcoming = acts[t + 1] if t < 29 else np.ones(batch_size, bool)
            for episode in worlds.cut(upcoming.tolist()):
                found[episode.custom_data["world"]] += credited_rewards(episode, gamma).tolist()
    for world in range(batch_size):
        assert found[world] == pytest.approx(expected[world], abs=1e-5)
