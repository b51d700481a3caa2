"""`TurnBasedEnv` in RLlib's own episodes and env runner, and under its contract."""

from itertools import count

import numpy as np
import pytest
from gymnasium.spaces import Box, MultiDiscrete
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.tune.registry import register_env

from rllib_amagail.envs.turn_based_env import TurnBasedEnv
from rllib_amagail.player_functions import (
    DeterministicPattern,
    IndependentStochastic,
    StatePlayerFunction,
    Synchronous,
    paper_pattern,
)
from rllib_amagail.testing.turn_based_env_contract import TurnBasedEnvContract, recorded_by_rllib
from tests.turn_based_toys import (
    AGENTS,
    TERMINATED,
    TRUNCATED,
    Alternating,
    ParallelToy,
    RandomWalk,
    pattern,
)

names = (f"turns_{number}" for number in count())


def record(env):
    """One episode as RLlib records it."""
    return recorded_by_rllib(env, TurnBasedEnvContract().play(env, seed=0, action_seed=0))


def sample(make_env, num_envs=1, batch_mode="complete_episodes", samples=1):
    """What RLlib's stock env runner samples, each agent with a policy of its own."""
    name = next(names)
    register_env(name, lambda config: make_env())
    config = (
        PPOConfig()
        .environment(name)
        .env_runners(
            num_env_runners=0,
            num_envs_per_env_runner=num_envs,
            batch_mode=batch_mode,
            rollout_fragment_length=3,
        )
        .training(train_batch_size=3 * num_envs)
        .multi_agent(policies=set(AGENTS), policy_mapping_fn=lambda agent, *_, **__: agent)
        .rl_module(model_config={"fcnet_hiddens": [2]})
        .debugging(seed=0)
    )
    runner = MultiAgentEnvRunner(config=config)
    episodes = [episode for _ in range(samples) for episode in runner.sample()]
    runner.stop()
    return episodes


def rounds(agent_episode):
    return [info["round"] for info in agent_episode.get_infos()]


@pytest.mark.parametrize("num_envs", [1, 4])
def test_the_stock_runner_records_rounds_rewards_and_final_observations(num_envs):
    # Two rounds without anybody; c enters late.
    turns = pattern("ab", "", "a", "", "c", "b")
    episodes = sample(lambda: TurnBasedEnv(ParallelToy(horizon=7), turns), num_envs)
    assert len(episodes) == num_envs
    for episode in episodes:
        assert (episode.env_t, episode.is_terminated, episode.is_truncated) == (7, False, True)
        # Round 6 is the pattern's first again, and 7 the final observation.
        expected = {"a": [0, 2, 6, 7], "b": [0, 5, 6, 7], "c": [4, 7]}
        for agent, its_rounds in expected.items():
            agent_episode = episode.agent_episodes[agent]
            assert rounds(agent_episode) == its_rounds
            assert agent_episode.get_observations().ravel().tolist() == its_rounds
            assert agent_episode.get_rewards().tolist() == [2.0**t for t in its_rounds[:-1]]
            assert (agent_episode.is_terminated, agent_episode.is_truncated) == (False, True)


@pytest.mark.parametrize("num_envs", [1, 4])
def test_chunks_of_the_stock_runner_lose_no_turn_and_no_reward(num_envs):
    turns = pattern("ab", "", "a", "", "c", "b")
    chunks = sample(
        lambda: TurnBasedEnv(ParallelToy(horizon=7), turns, reward_absent=True),
        num_envs,
        "truncate_episodes",
        samples=3,  # of 3 rounds each, so cut after rounds 3 and 6
    )
    first = [chunk for chunk in chunks if chunk.id_ == chunks[0].id_]
    assert len(first) > 1
    played = {agent: [] for agent in AGENTS}
    returns = dict.fromkeys(AGENTS, 0.0)
    for chunk in first:
        for agent, agent_episode in chunk.agent_episodes.items():
            played[agent] += rounds(agent_episode)[:-1]
            returns[agent] += agent_episode.get_return()
    assert played == {"a": [0, 2, 6], "b": [0, 5, 6], "c": [4]}
    # All 7 rounds give 2**7 - 1. RLlib does not credit c with rounds 0 to 3, before its first turn.
    assert returns == {"a": 127, "b": 127, "c": 127 - 15}


@pytest.mark.parametrize("batch_mode", ["truncate_episodes", "complete_episodes"])
@pytest.mark.parametrize(
    ("endings", "turns"),
    [
        ({"a": (0, TERMINATED)}, ("a", "", "b", "c")),  # all that RLlib has met die
        ({"a": (0, TRUNCATED), "b": (3, TERMINATED)}, ("a", "b", "", "c", "c")),
        ({"c": (1, TERMINATED)}, ("ab", "a", "abc")),  # dies before its first turn
        ({"a": (6, TERMINATED)}, ("abc",)),  # mixed endings in the last round
        (dict.fromkeys(AGENTS, (0, TERMINATED)), ("ab",)),  # episodes of one round
    ],
)
def test_the_stock_runner_survives_endings(endings, turns, batch_mode):
    def make_env():
        return TurnBasedEnv(ParallelToy(endings, horizon=7), pattern(*turns))

    episodes = sample(make_env, 2, batch_mode, samples=4)
    assert len({episode.id_ for episode in episodes if episode.is_done}) > 1
    for episode in episodes:
        for agent, agent_episode in episode.agent_episodes.items():
            played = rounds(agent_episode)[:-1]
            last, kind = endings.get(agent, (6, TRUNCATED))
            assert all(agent in turns[t % len(turns)] and t <= last for t in played)
            if agent_episode.is_done:
                assert rounds(agent_episode)[-1] == last + 1
                assert agent_episode.is_terminated == (kind == TERMINATED)


@pytest.mark.parametrize(
    "kinds", [(TRUNCATED,) * 3, (TERMINATED,) * 3, (TERMINATED, TRUNCATED) * 2]
)
@pytest.mark.parametrize("lasts", [(3, 3, 3), (0, 3, 3), (2, 1, 3), (1, 1, 1)])
def test_rllib_knows_which_agents_terminated(kinds, lasts):
    endings = {agent: (last, kind) for agent, last, kind in zip(AGENTS, lasts, kinds, strict=False)}
    episode = record(TurnBasedEnv(ParallelToy(endings, horizon=4), Synchronous(3)))
    for agent, (last, kind) in endings.items():
        agent_episode = episode.agent_episodes[agent]
        assert agent_episode.is_terminated == (kind == TERMINATED)
        assert agent_episode.is_truncated or kind == TERMINATED
        assert len(agent_episode) == last + 1


patterns = st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=6)
lives = st.dictionaries(
    st.sampled_from(AGENTS),
    st.tuples(st.integers(0, 5), st.sampled_from([TERMINATED, TRUNCATED])),
)


@given(patterns.filter(lambda rows: any(map(any, rows))), lives, st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_every_turn_and_every_reward_arrives(rows, endings, reward_absent, show_everyone):
    horizon = 6

    def last_round(agent):
        return min(endings.get(agent, (horizon, TRUNCATED))[0], horizon - 1)

    def turns(agent):
        return [t for t in range(last_round(agent) + 1) if rows[t % len(rows)][AGENTS.index(agent)]]

    if not any(map(turns, AGENTS)):
        return  # nobody would ever act
    toy = ParallelToy(endings, horizon)
    env = TurnBasedEnv(
        toy,
        DeterministicPattern(rows),
        reward_absent=reward_absent,
        show_everyone=show_everyone,
    )
    episode = record(env)
    for agent in AGENTS:
        shown = list(range(last_round(agent) + 1)) if show_everyone else turns(agent)
        agent_episode = episode.agent_episodes.get(agent)
        if not shown:
            assert agent_episode is None
            continue
        assert rounds(agent_episode) == [*shown, last_round(agent) + 1]
        acted = [info["round"] for info in agent_episode.get_infos() if info["participates"]]
        assert acted == turns(agent)
        # Each earned 2**t: in its turns, or from the first row that RLlib can credit onwards.
        earned = range(shown[0], last_round(agent) + 1) if reward_absent else turns(agent)
        assert agent_episode.get_return() == sum(2.0**t for t in earned)
        null = [t for t, played in enumerate(toy.executed) if played.get(agent) is None]
        assert null == list(range(last_round(agent) + 1, len(toy.executed)))


class TestStochasticTurns(TurnBasedEnvContract):
    def make_env(self):
        return TurnBasedEnv(RandomWalk(), IndependentStochastic([0.5, 0.2]))


class TestEndingsAndMasks(TurnBasedEnvContract):
    def make_env(self):
        toy = ParallelToy(
            {"a": (0, TERMINATED), "b": (2, TRUNCATED)}, mask=lambda t: [t % 2, 0, (t + 1) % 2]
        )
        return TurnBasedEnv(toy, pattern("a", "b"), null_action="previous", reward_absent=True)


class TestMultiDiscrete(TurnBasedEnvContract):
    def make_env(self):
        toy = ParallelToy(action_space=MultiDiscrete([2, 3]), mask=lambda t: [1, 0, 1, 1, 0])
        return TurnBasedEnv(toy, paper_pattern())


class TestContinuousActions(TurnBasedEnvContract):
    def make_env(self):
        toy = ParallelToy(action_space=Box(-1, 1, (2,), np.float32))
        return TurnBasedEnv(toy, paper_pattern(), show_everyone=True)


class TestPhiAsAction(TurnBasedEnvContract):
    def make_env(self):
        return TurnBasedEnv(ParallelToy(mask=lambda t: [0, 1, 0]), pattern("a"), phi_is_action=True)


class TestBoardGame(TurnBasedEnvContract):
    def make_env(self):
        return TurnBasedEnv(Alternating(), reward_absent=True)


class TestHigherOrder(TurnBasedEnvContract):
    def make_env(self):
        def nearer_zero(history):
            return np.exp(-np.abs(history.states))

        return TurnBasedEnv(RandomWalk(), StatePlayerFunction(nearer_zero, 2, [1.0, 0.5]))


def broken_environments():
    class WrongDtype(ParallelToy):
        def _observe(self):
            return {agent: np.array([0.0]) for agent in self.agents}

    class OwnSeed(RandomWalk):
        def reset(self, *, seed=None, options=None):
            return super().reset(seed=np.random.SeedSequence().entropy)

    class NoEnd(ParallelToy):
        def step(self, actions):
            self._horizon += 1
            return super().step(actions)

    class NotANumber(ParallelToy):
        def step(self, actions):
            observations, rewards, *rest = super().step(actions)
            return observations, {**rewards, "b": np.nan}, *rest

    class HalfAState(RandomWalk):
        def set_state(self, state):
            self._rng = np.random.default_rng(0)

    class NothingAllowed(ParallelToy):
        def __init__(self):
            super().__init__(mask=lambda t: [0, 0, 0])

    return [
        (WrongDtype, "test_observations_are_in_their_spaces", "mind the dtype"),
        (OwnSeed, "test_same_seed_gives_the_same_episode", "with the same seed, observations"),
        (NoEnd, "test_rllib_records_the_turns", "not over after 20 steps"),
        (NotANumber, "test_rewards_are_finite_numbers_for_all_that_acted", "'b' has reward nan"),
        (HalfAState, "test_state_continues_the_streams", "its restored copy"),
        (NothingAllowed, "test_rllib_records_the_turns", "no legal action"),
    ]


@pytest.mark.parametrize(("broken", "test", "message"), broken_environments())
def test_the_contract_finds_broken_environments(broken, test, message):
    contract = TurnBasedEnvContract()
    contract.max_rounds = 20
    contract.make_env = lambda: TurnBasedEnv(broken())
    with pytest.raises(AssertionError, match=message):
        getattr(contract, test)()
