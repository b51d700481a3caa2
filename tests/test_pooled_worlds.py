"""Ordinary environments played in step: the same turns as one by one, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_amagail import IndependentStochastic, TurnBasedEnv
from rllib_amagail.envs.vector_env import BatchedGame
from rllib_amagail.games.game import RoundResult
from rllib_amagail.learner.turns import EpisodesToTurns, TurnBatch
from rllib_amagail.runners.batched_env_runner import BatchedEnvRunner
from rllib_amagail.runners.batched_worlds import BatchedWorlds
from rllib_amagail.runners.pooled_worlds import PooledEnvRunner, PooledWorlds
from rllib_amagail.runners.turn_env_runner import TurnEnvRunner
from rllib_amagail.testing import BatchedWorldsContract
from tests.batched_toys import make_config
from tests.test_algorithm import learner_numbers, small_config, train
from tests.toys import EchoGame
from tests.turn_based_toys import (
    TERMINATED,
    TRUNCATED,
    Alternating,
    ParallelToy,
    RandomWalk,
    pattern,
)

B = 4
LENGTHS = (5, 7, 4, 6)


class WalkWorlds:
    """World w has episodes of LENGTHS[w] rounds, truncated if w is odd; no chance is in them.

    Two agents push a number up or down, in a pattern that begins elsewhere in each world; sometimes
    nobody acts.
    """

    agents = ("left", "right")
    resumes_episodes = False

    def __init__(self, numbers: Sequence[int]) -> None:
        self.numbers = np.array(numbers)
        self.batch_size = len(numbers)
        space = Box(-np.inf, np.inf, (4,), np.float32)
        self.observation_spaces = dict.fromkeys(self.agents, space)
        self.action_spaces = dict.fromkeys(self.agents, Discrete(3))
        self.rounds = np.zeros(self.batch_size, np.int64)
        self.places = np.zeros(self.batch_size)

    @property
    def participation(self) -> np.ndarray:
        acts = np.array([(True, False), (False, True), (False, False), (True, True)])
        return acts[(self.rounds + self.numbers) % 4]

    def reset(self, worlds: Any = None) -> None:
        chosen = slice(None) if worlds is None else worlds
        self.rounds[chosen] = 0
        self.places[chosen] = self.numbers[chosen]

    def observations(self) -> dict[str, np.ndarray]:
        columns = (self.numbers, self.rounds, self.places)
        return {
            agent: np.stack([*columns, np.full(self.batch_size, i)], 1).astype(np.float32)
            for i, agent in enumerate(self.agents)
        }

    def step(self, actions: np.ndarray) -> RoundResult:
        pushes = np.where(self.participation, actions - 1, 0).sum(axis=1)
        self.rounds = self.rounds + 1
        self.places = self.places + pushes
        rewards = np.outer(self.places + self.rounds, [1, 2])
        over, odd = self.rounds == np.array(LENGTHS)[self.numbers], self.numbers % 2 == 1
        return RoundResult(rewards, over & ~odd, over & odd)

    def get_state(self) -> dict[str, Any]:
        return {}

    def set_state(self, state: Any) -> None:
        """Nothing to do."""


class Numbered:
    """Classes whose instances are numbered, so that each can be another world."""

    made = 0

    @classmethod
    def next_number(cls) -> int:
        number, cls.made = cls.made, cls.made + 1
        return number


class Walk(BatchedGame, Numbered):
    def __init__(self, config: Any) -> None:
        first = self.next_number() % B
        super().__init__(lambda size, seed: WalkWorlds((first + np.arange(size)) % B))


class Echo(TurnBasedEnv, Numbered):
    """The echo game with action masks, seeded by its number alone."""

    def __init__(self, config: Any) -> None:
        self.number = self.next_number() % B
        options = {"null_action": "previous"} | dict(config)
        super().__init__(EchoGame(2, "masked"), IndependentStochastic([0.6, 0.6]), **options)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        number, self.number = self.number, None
        return super().reset(seed=number, options=options)


def turns_of(episodes: Any, runner: Any) -> dict[str, TurnBatch]:
    gammas = dict.fromkeys(runner.module.keys(), runner.config.gamma)
    return EpisodesToTurns(gammas=gammas)(rl_module=runner.module, batch={}, episodes=episodes)


def one_by_one(env: Any, weights: Any, options: dict[str, Any]) -> list[dict[str, TurnBatch]]:
    """The turns of an episode of each world, by RLlib's runner."""
    config = make_config(env, batch_size=1, **options)
    batches = []
    for world in range(B):
        env.made = world
        runner = TurnEnvRunner(config)
        runner.module.set_state(weights)
        batches.append(turns_of(runner.sample(num_episodes=1, explore=False), runner))
    return batches


def in_step(runner: BatchedEnvRunner) -> list[dict[str, TurnBatch]]:
    """The same by a runner of arrays."""
    episodes = runner.sample(num_episodes=B, explore=False)
    worlds = [[e for e in episodes if e.custom_data["world"] == world] for world in range(B)]
    return [turns_of(of_world, runner) for of_world in worlds]


def assert_same_turns(
    found: list[dict[str, TurnBatch]], expected: list[dict[str, TurnBatch]]
) -> None:
    for mine, theirs in zip(found, expected, strict=True):
        assert list(mine) == list(theirs)
        for module_id, batch in theirs.items():
            assert mine[module_id].agents.tolist() == batch.agents.tolist()
            for field in fields(TurnBatch):
                ours, its = getattr(mine[module_id], field.name), getattr(batch, field.name)
                if its is None or its.dtype == object:  # names, and what a joint critic adds
                    continue
                assert ours.dtype.kind == its.dtype.kind
                what = f"{module_id} {field.name}"
                # Forwards of other batch sizes may round in another way.
                np.testing.assert_allclose(ours, its, atol=1e-6, err_msg=what)


def test_all_runners_give_the_same_turns() -> None:
    config = make_config(Walk, batch_size=B)
    Walk.made = 0
    batched = BatchedEnvRunner(config)
    Walk.made = 0
    pooled = PooledEnvRunner(config)
    pooled.module.set_state(batched.module.get_state())
    expected = one_by_one(Walk, batched.module.get_state(), {})
    assert [int(b["left"].final_rounds[0]) for b in expected] == list(LENGTHS)
    assert [bool(b["left"].terminated[0]) for b in expected] == [True, False, True, False]
    assert_same_turns(in_step(batched), expected)
    assert_same_turns(in_step(pooled), expected)


@pytest.mark.parametrize("view", [{}, {"show_everyone": True}, {"phi_is_action": True}])
def test_masks_player_functions_and_phi_give_the_same_turns(view: dict[str, bool]) -> None:
    config = make_config(Echo, batch_size=B, **view)
    Echo.made = 0
    pooled = PooledEnvRunner(config)
    expected = one_by_one(Echo, pooled.module.get_state(), view)
    assert_same_turns(in_step(pooled), expected)
    acted = np.concatenate([b["agent_1"].participates for b in expected])
    assert acted.all() == (not view)
    assert expected[0]["agent_1"].observations.shape[1] == 6 + ("phi_is_action" in view)


def test_worlds_beyond_their_quota_play_legal_actions() -> None:
    """`EchoGame` asserts it; world 3 plays on without policies while the others play again."""
    pooled = PooledEnvRunner(make_config(Echo, batch_size=B))
    assert len({e.multi_agent_episode_id for e in pooled.sample(num_episodes=2 * B - 1)}) == 7


@pytest.mark.usefixtures("ray_session")
def test_trains_with_masks() -> None:
    config = small_config(kind="masked").env_runners(env_runner_cls=PooledEnvRunner)
    config.training(lr=1e-2).imitation(bc_steps=200, bc_lr=1e-2)
    results = train(config, 2)
    assert np.isfinite(list(learner_numbers(results[-1]).values())).all()
    assert results[-1]["score"] > 1.3 * 0.5 * 0.6 * 8  # chance: two of three answers are left


def played(env: Any, rounds: int) -> list[RoundResult]:
    worlds = PooledWorlds([env], seed=0)
    worlds.reset()
    shape = (1, len(worlds.agents))
    return [worlds.step(np.zeros(shape, np.int64)) for _ in range(rounds)]


@pytest.mark.parametrize(("kind", "terminates"), [(TERMINATED, True), (TRUNCATED, False)])
def test_board_games_end_for_all(kind: str, terminates: bool) -> None:
    """x and y move in turn, and are both paid 2**t for each move."""
    results = played(Alternating(end=3, kind=kind), 3)
    assert [r.rewards.tolist() for r in results] == [[[1, 1]], [[2, 2]], [[4, 4]]]
    ends = [(bool(r.terminated[0]), bool(r.truncated[0])) for r in results]
    assert ends == [(False, False)] * 2 + [(terminates, not terminates)]


def test_rounds_before_the_first_turn_count() -> None:
    env = TurnBasedEnv(ParallelToy(horizon=4), pattern("", "", "ab", "c"))
    worlds = PooledWorlds([env], seed=0)
    worlds.reset()
    assert worlds.rounds.tolist() == [2]
    assert worlds.participation.tolist() == [[True, True, False]]
    worlds.step(np.zeros((1, 3), np.int64))
    assert worlds.rounds.tolist() == [3]
    assert worlds.observations()["c"].tolist() == [[3]]
    assert worlds.observations()["a"].tolist() == [[2]]  # the last that it saw


@pytest.mark.parametrize(
    ("endings", "rounds"),
    [({"a": (1, TERMINATED)}, 2), ({"a": (1, TRUNCATED)}, 2), ({"a": (3, TERMINATED)}, 4)],
)
def test_agents_that_end_by_themselves_are_refused(endings: Any, rounds: int) -> None:
    """Before the others, or in the same round but in another way."""
    env = TurnBasedEnv(ParallelToy(endings, horizon=4), pattern("abc"))
    message = rf"after {rounds} rounds of world 0 .* set env_runner_cls=TurnEnvRunner"
    with pytest.raises(ValueError, match=message):
        played(env, rounds)


def test_other_environments_that_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\['x', 'y'\] were truncated in world 0"):
        played(Alternating(end=2, kind=TRUNCATED, last_look=False), 2)
    assert played(Alternating(end=2, last_look=False), 2)[-1].terminated[0]
    misshapen = Alternating()
    misshapen.observation_spaces = {agent: Box(0, 1, (2,), np.float32) for agent in "xy"}
    with pytest.raises(ValueError, match=r"'x' have shapes \{\(1,\)\}, expected \(2,\)"):
        played(misshapen, 1)


def test_a_restored_runner_begins_new_episodes() -> None:
    class Walkers(TurnBasedEnv):
        def __init__(self, config: Any) -> None:
            super().__init__(RandomWalk(), IndependentStochastic([0.7, 0.7]))

    original, restored = (PooledEnvRunner(make_config(Walkers, batch_size=2)) for _ in range(2))
    first = original.sample(num_timesteps=10)
    assert not all(e.is_done for e in first)
    state = original.get_state()
    samples = []
    for runner in (original, restored):
        runner.set_state(state)
        samples.append(runner.sample(num_timesteps=30))
    assert {e.t_started for e in samples[0]} == {0}
    assert len(samples[0]) == len(samples[1]) > 0
    for mine, theirs in zip(*samples, strict=True):
        np.testing.assert_array_equal(mine.get_observations(), theirs.get_observations())
    starts = [e.get_observations(0) for e in (first[0], samples[0][0])]
    assert starts[0] != starts[1]  # the streams go on


def test_the_pool_closes_its_environments() -> None:
    closed = []

    class Closing(Walk):
        def close(self) -> None:
            closed.append(self)

    runner = PooledEnvRunner(make_config(Closing, batch_size=B))
    closed.clear()
    runner.stop()
    assert len(set(closed)) == B


class TestStatefulEnvironments(BatchedWorldsContract):
    def make_worlds(self, batch_size: int, seed: int) -> BatchedWorlds:
        turns = IndependentStochastic([0.5, 0.8])
        envs = [TurnBasedEnv(RandomWalk(), turns) for _ in range(batch_size)]
        return PooledWorlds(envs, seed)


class TestMaskedEnvironments(BatchedWorldsContract):
    def make_worlds(self, batch_size: int, seed: int) -> BatchedWorlds:
        turns = IndependentStochastic([0.5, 0.8])
        envs = [TurnBasedEnv(EchoGame(2, "masked"), turns) for _ in range(batch_size)]
        return PooledWorlds(envs, seed)


class TestBoardGames(BatchedWorldsContract):
    def make_worlds(self, batch_size: int, seed: int) -> BatchedWorlds:
        return PooledWorlds([Alternating() for _ in range(batch_size)], seed)


class Forgetful(MultiAgentEnv):
    """A random walk that cannot save its stream."""

    def __init__(self) -> None:
        super().__init__()
        self.walk = RandomWalk()
        self.possible_agents = self.agents = self.walk.agents
        self.observation_spaces = self.walk.observation_spaces
        self.action_spaces = self.walk.action_spaces

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.walk.reset(seed=seed)

    def step(self, action_dict: Any) -> Any:
        return self.walk.step(action_dict)


class TestEnvironmentsWithoutState(BatchedWorldsContract):
    def make_worlds(self, batch_size: int, seed: int) -> BatchedWorlds:
        return PooledWorlds([Forgetful() for _ in range(batch_size)], seed)
