"""What the batched env runner samples: against replays by hand and RLlib's own runner."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from rllib_amagail import TurnBasedEnv
from rllib_amagail.games import make_game
from rllib_amagail.runners.batched_env_runner import BatchedEnvRunner
from rllib_amagail.runners.turn_env_runner import TurnEnvRunner
from tests.batched_toys import (
    AGENTS,
    GAME,
    GameStub,
    Script,
    ScriptedEnv,
    assert_equal,
    ending,
    make_config,
    make_runner,
)

# World, episode in this world, agent's index, rounds with the final one, rewards, and the end.
Piece = tuple[int, int, int, tuple[int, ...], tuple[float, ...], str]


def piece(episode: SingleAgentEpisode) -> Piece:
    """What an episode or chunk of scripted worlds says; each observation names its round."""
    observations = episode.get_observations().astype(int)
    world, number, _, agent = observations[0]
    rounds = episode.custom_data["rounds"]
    assert (observations[:, [0, 1, 3]] == [world, number, agent]).all()
    assert (observations[:, 2] == rounds).all()
    assert episode.agent_id == episode.module_id == AGENTS[agent]
    assert len(episode.custom_data["participates"]) == len(episode) == len(rounds) - 1
    rewards = tuple(episode.get_rewards().tolist())
    return int(world), int(number), int(agent), tuple(rounds.tolist()), rewards, ending(episode)


def closed(turns: list[list[float]], final: int) -> list[tuple[Any, Any]]:
    """Rounds, with that of the final observation, and rewards; nothing without turns."""
    rounds = tuple(int(turn[0]) for turn in turns)
    return [((*rounds, int(final)), tuple(turn[1] for turn in turns))] if turns else []


def by_hand(script: Script, chunks: Sequence[int]) -> list[list[Piece]]:
    """The pieces of each chunk of so many rounds, by stepping one world and agent at a time."""
    pieces: list[list[Piece]] = [[] for _ in chunks]
    for world, agent in itertools.product(range(len(script.lengths)), range(len(AGENTS))):
        turns: list[list[float]] = []  # [round, reward] of the turns that are in no chunk yet
        t, number = 0, 0
        end = "terminated" if script.terminates[world] else "truncated"
        for chunk, num_rounds in zip(pieces, chunks, strict=True):
            for _ in range(num_rounds):
                if script.acts(world, t)[agent]:
                    turns.append([t, 0.0])
                if turns:
                    turns[-1][1] += (t + 1) * (agent + 1)
                t += 1
                if t == script.lengths[world]:
                    chunk += [(world, number, agent, *part, end) for part in closed(turns, t)]
                    turns, t, number = [], 0, number + 1
            if turns and script.acts(world, t)[agent]:
                parts, turns = closed(turns, t), []
            elif turns:
                parts, turns = closed(turns[:-1], int(turns[-1][0])), turns[-1:]
            else:
                parts = []
            chunk += [(world, number, agent, *part, "cut") for part in parts]
    return pieces


def test_turns_rewards_and_ends_by_hand() -> None:
    """World 0 ends after 3 rounds; "left" acts in 0 and 2, and earns 1 + 2 and 3."""
    samples = [piece(episode) for episode in make_runner().sample(num_timesteps=8)]
    assert samples == [
        (0, 0, 0, (0, 2, 3), (3, 3), "terminated"),
        (1, 0, 0, (1, 2, 4), (2, 7), "cut"),  # acts in round 4, too, so that 2 is not open
        (0, 0, 1, (1, 2, 3), (4, 6), "terminated"),
        (1, 0, 1, (0, 1, 3, 4), (2, 10, 8), "cut"),
    ]


def test_open_turns_are_in_the_next_chunk() -> None:
    script = Script(pattern=((True, False), (False, False), (False, True)), lengths=(4, 4))
    runner = make_runner(script=script, batch_size=1)
    # "left" has acted in round 0; what came of it is only known when the episode ends.
    assert [piece(e) for e in runner.sample(num_timesteps=2)] == []
    # In round 3 it acts once more; "right" has an open turn in round 2.
    assert [piece(e) for e in runner.sample(num_timesteps=1)] == [(0, 0, 0, (0, 3), (6,), "cut")]
    last = [piece(e) for e in runner.sample(num_timesteps=1)]
    assert last == [(0, 0, 0, (3, 4), (4,), "terminated"), (0, 0, 1, (2, 4), (14,), "terminated")]


@pytest.fixture(scope="module")
def scripted_runner() -> BatchedEnvRunner:
    return make_runner()


@settings(max_examples=50, deadline=None)
@given(
    pattern=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=4),
    lengths=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    terminates=st.tuples(st.booleans(), st.booleans()),
    chunks=st.lists(st.integers(1, 5), min_size=1, max_size=4),
)
def test_every_script_is_sampled_as_by_hand(
    scripted_runner: BatchedEnvRunner, pattern: Any, lengths: Any, terminates: Any, chunks: Any
) -> None:
    script = Script(pattern, lengths, terminates)
    worlds = scripted_runner.env.worlds
    worlds.script, worlds.episodes[:] = script, -1
    for index, (num_rounds, expected) in enumerate(
        zip(chunks, by_hand(script, chunks), strict=True)
    ):
        samples = scripted_runner.sample(num_timesteps=2 * num_rounds, force_reset=index == 0)
        assert sorted(map(piece, samples)) == sorted(expected)


def test_a_game_replayed_with_the_same_actions() -> None:
    """A game of the same seed, played one agent at a time, shows and gives the same."""
    runner = make_runner(GameStub, batch_size=3)
    samples = runner.sample(num_episodes=6)
    game = make_game(GAME, horizon=9, batch_size=3, seed=runner.env.unwrapped.seeds[0])
    game.reset()
    actions_of = {(w, agent): [] for w in range(3) for agent in game.agents}
    observed, earned = defaultdict(list), defaultdict(list)
    for e in samples:
        actions_of[e.custom_data["world"], e.agent_id] += e.get_actions().tolist()
    for _ in range(2 * 9):
        actions = np.zeros((3, 3), int)
        acting = [(int(w), game.agents[i], i) for w, i in np.argwhere(game.participation)]
        for world, agent, index in acting:
            actions[world, index] = actions_of[world, agent].pop(0)
            observed[world, agent].append(game.observations()[agent][world])
        result = game.step(actions)
        for world, agent, index in acting:
            earned[world, agent].append(result.rewards[world, index])
        for world in np.flatnonzero(result.truncated):
            for agent in game.agents:
                observed[world, agent].append(game.observations()[agent][world])
        if result.truncated.any():
            game.reset(result.truncated)
    for world, agent in actions_of:
        mine = [e for e in samples if (e.custom_data["world"], e.agent_id) == (world, agent)]
        assert [ending(e) for e in mine] == ["truncated"] * 2
        found = np.concatenate([e.get_observations() for e in mine])
        np.testing.assert_array_equal(found, observed[world, agent])
        rewards = np.concatenate([e.get_rewards() for e in mine])
        np.testing.assert_array_equal(rewards, earned[world, agent])


@pytest.mark.parametrize("env_config", [{}, {"box": True}])
def test_chunks_are_one_long_sample(env_config: dict[str, Any]) -> None:
    script = Script(lengths=(3, 25))
    cut, whole = (make_runner(script=script, **env_config) for _ in range(2))
    chunks = [episode for _ in range(4) for episode in cut.sample(num_timesteps=2 * 7)]
    assert_equal(chunks, whole.sample(num_timesteps=2 * 28))


@pytest.mark.parametrize("terminates", [True, False])
def test_the_same_as_rllibs_runner_and_turn_based_env(terminates: bool) -> None:
    """One world, stepped by TurnBasedEnv and by the batched runner, with greedy policies."""
    pattern = ((False, False), (True, False), (True, True), (False, False))
    script = Script(pattern, (7,), (terminates,))

    class OneWorld(MultiAgentEnv):
        def __init__(self) -> None:
            super().__init__()
            self.stub = ScriptedEnv({"script": script})
            self.worlds = self.stub.batched(1, None)
            self.possible_agents = self.agents = list(AGENTS)
            self.observation_spaces = self.stub.observation_spaces
            self.action_spaces = self.stub.action_spaces

        def reset(self, **kwargs: Any) -> Any:
            self.worlds.reset()
            return self._see()

        def step(self, actions: Any) -> Any:
            result = self.worlds.step(np.array([[actions[agent] for agent in AGENTS]]))
            rewards = dict(zip(AGENTS, result.rewards[0].tolist(), strict=True))
            observations, infos = self._see()
            ends = ({"__all__": bool(flags[0])} for flags in (result.terminated, result.truncated))
            return (observations, rewards, *ends, infos)

        def _see(self) -> Any:
            acts = dict(zip(AGENTS, self.worlds.participation[0].tolist(), strict=True))
            seen = {agent: rows[0] for agent, rows in self.worlds.observations().items()}
            return seen, {agent: {"participates": acts[agent]} for agent in AGENTS}

    class OneByOne(TurnBasedEnv):
        def __init__(self, config: Any) -> None:
            super().__init__(OneWorld(), reward_absent=True)

    batched = make_runner(script=script, batch_size=1)
    stock = TurnEnvRunner(make_config(OneByOne, batch_size=1))
    stock.module.set_state(batched.module.get_state())
    for episode in stock.sample(num_episodes=3, explore=False):
        mine = {e.agent_id: e for e in batched.sample(num_episodes=1, explore=False)}
        assert mine.keys() == episode.agent_episodes.keys()
        for agent, theirs in episode.agent_episodes.items():
            rounds = [info["round"] for info in theirs.get_infos()]
            assert mine[agent].custom_data["rounds"].tolist() == rounds
            # The first and the last number tell worlds and episodes; resets differ.
            seen = mine[agent].get_observations()[:, 2:]
            np.testing.assert_array_equal(seen, theirs.get_observations()[:, 2:])
            np.testing.assert_array_equal(mine[agent].get_actions(), theirs.get_actions())
            np.testing.assert_array_equal(mine[agent].get_rewards(), theirs.get_rewards())
            assert ending(mine[agent]) == ending(theirs)


def test_quotas_do_not_prefer_short_episodes() -> None:
    """World 0 plays ten episodes while world 1 plays one; each gives its share."""
    runner = make_runner(script=Script(((True, True),), lengths=(1, 10)))
    samples = runner.sample(num_episodes=3)
    assert [(e.custom_data["world"], len(e)) for e in samples] == [(0, 1), (0, 1), (1, 10)] * 2
    assert all(e.is_done for e in samples)
    assert runner.get_metrics()["num_env_steps_sampled"].peek() == 12
    assert runner.sample(num_episodes=0) == []
