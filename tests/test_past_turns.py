"""Agents are shown their own past: one arithmetic for playing and for recordings."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_amagail import AMAGAILConfig, Demonstrations, DemonstrationsError, MultiAgentBCConfig
from rllib_amagail.demonstrations import AgentRecord, with_past_turns
from rllib_amagail.envs.past_turns_env import PastTurnsEnv, PastTurnsWorlds
from rllib_amagail.games import make_game
from rllib_amagail.learner.row_sorter import RowSorter
from rllib_amagail.learner.turns import EpisodesToTurns
from rllib_amagail.past_turns import History
from rllib_amagail.recording import record
from rllib_amagail.runners.batched_env_runner import BatchedEnvRunner
from rllib_amagail.runners.pooled_worlds import PooledEnvRunner
from rllib_amagail.runners.turn_env_runner import TurnEnvRunner
from rllib_amagail.spaces import ActionLayout, ObservationLayout
from rllib_amagail.testing import BatchedWorldsContract
from tests.batched_toys import AGENTS, ScriptedEnv, ScriptedWorlds
from tests.toys import CHOICES, echo_demonstrations, make_echo_env, register_echo
from tests.turn_based_toys import Alternating

SPACES = (Box(-9, 9, (2,), np.float32), Discrete(3))


def one_agent(
    rounds: list[int], participates: list[bool], episode: list[int] | None = None
) -> Demonstrations:
    """Saw (t, -t) and did t % 3 in round t."""
    t = np.array(rounds)
    acted = np.array(participates)
    found = AgentRecord(
        "a",
        episode=np.zeros(len(t), int) if episode is None else np.array(episode),
        round=t,
        participates=acted,
        observation=np.stack([t, -t], axis=1).astype(np.float32),
        action=np.where(acted, t % 3, 0),
    )
    return Demonstrations(("a",), {"a": found}, {"a": SPACES[0]}, {"a": SPACES[1]})


def test_columns_of_a_recording() -> None:
    """Turns in rounds 1 and 4; in rounds 2 and 3 the agent watches."""
    shown = with_past_turns(one_agent([1, 2, 3, 4, 6], [True, False, False, True, True]), 2)
    rows = shown.records["a"].observation
    log = math.log1p
    nothing, turn_1, turn_4 = [0.0] * 5, [1, -1, 0, 1, 0], [4, -4, 0, 1, 0]
    expected = [
        # now, since the beginning, since the latest two turns, whether they were, these turns
        [1, -1, log(1), 0, 0, 0, 0, *nothing, *nothing],
        [2, -2, log(2), log(1), 0, 1, 0, *turn_1, *nothing],
        [3, -3, log(3), log(2), 0, 1, 0, *turn_1, *nothing],
        [4, -4, log(4), log(3), 0, 1, 0, *turn_1, *nothing],
        [6, -6, log(6), log(2), log(5), 1, 1, *turn_4, *turn_1],
    ]
    np.testing.assert_allclose(rows, expected, rtol=1e-6)
    assert shown.observation_spaces["a"].spaces.keys() == {"now", "past"}


def test_the_past_ends_where_an_episode_begins() -> None:
    shown = with_past_turns(one_agent([0, 1, 0], [True] * 3, [0, 0, 1]), 2, elapsed_rounds=False)
    rows = shown.records["a"].observation
    np.testing.assert_array_equal(rows[2], rows[0])
    np.testing.assert_array_equal(rows[1, 2:4], [1, 0])  # one turn was


def test_time_alone() -> None:
    shown = with_past_turns(one_agent([0, 3], [True, True]), 0)
    rows = shown.records["a"].observation[:, 2:]
    np.testing.assert_allclose(rows, [[0, 0, 0], [math.log1p(3), math.log1p(3), 1]])


def test_recordings_that_show_the_past_stay_as_they_are() -> None:
    plain = one_agent([0, 3], [True, True])
    assert with_past_turns(plain, 0, elapsed_rounds=False) is plain
    shown = with_past_turns(plain, 2)
    assert with_past_turns(shown, 2) is shown
    with pytest.raises(DemonstrationsError, match=r"past of shape \(15,\), expected \(8,\)"):
        with_past_turns(shown, 1)


def test_what_cannot_be_known_is_refused() -> None:
    plain = one_agent([0, 3], [True, True])
    with pytest.raises(DemonstrationsError, match="one turn in 2 was kept"):
        with_past_turns(plain.subsample(2, np.random.default_rng(0)), 1)
    with pytest.raises(DemonstrationsError, match="no actions, but past_turns is 1"):
        with_past_turns(plain.without_actions(), 1)
    assert with_past_turns(plain.without_actions(), 0).records["a"].observation.shape == (2, 5)
    with pytest.raises(ValueError, match="past_turns is -1"):
        with_past_turns(plain, -1)


def played_and_recorded(
    env: Any, history: History, seed: int, episodes: int = 2
) -> tuple[Demonstrations, Demonstrations]:
    """What random agents were shown by a `PastTurnsEnv`, with the past and without."""
    rng = np.random.default_rng(seed)
    shows = PastTurnsEnv(env, history)
    columns: dict[str, list[dict[str, Any]]] = {agent: [] for agent in env.possible_agents}
    for episode in range(episodes):
        observations, infos = shows.reset(seed=seed if episode == 0 else None)
        number, over = 0, False
        while not over:
            actions = {}
            for agent, seen in observations.items():
                space, mask = env.action_spaces[agent], seen.get("action_mask")
                space.seed(int(rng.integers(2**31)))
                action = space.sample() if mask is None else rng.choice(np.flatnonzero(mask))
                info = infos.get(agent, {})
                acts = info.get("participates", True)
                row = {"episode": episode, "round": info.get("round", number)}
                row |= {"participates": acts, "past": seen["past"], "observation": seen["now"]}
                row |= {"action": action if acts else np.zeros_like(action), "action_mask": mask}
                columns[agent].append(row)
                actions[agent] = action
            observations, _, terminated, truncated, infos = shows.step(actions)
            over, number = terminated["__all__"] or truncated["__all__"], number + 1
    records, wide = {}, {}
    for agent, rows in columns.items():
        joined = {key: np.array([row[key] for row in rows]) for key in rows[0]}
        past = joined.pop("past")
        joined["action"] = ActionLayout.from_space(env.action_spaces[agent]).encode(
            joined["action"]
        )
        joined["action_mask"] = None if joined["action_mask"][0] is None else joined["action_mask"]
        if joined["action_mask"] is not None:
            joined["action_mask"] = joined["action_mask"].astype(bool)
        records[agent] = AgentRecord(agent, **joined)
        joined["observation"] = np.concatenate([joined["observation"], past], axis=1)
        wide[agent] = AgentRecord(agent, **joined)
    agents, actions = tuple(env.possible_agents), env.action_spaces
    return (
        Demonstrations(agents, records, env.observation_spaces, actions),
        Demonstrations(agents, wide, shows.observation_spaces, actions),
    )


@pytest.mark.parametrize("kind", ["discrete", "masked", "multidiscrete", "box"])
@settings(max_examples=20)
@given(past_turns=st.integers(0, 3), dense=st.booleans(), seed=st.integers(0, 99))
def test_playing_and_recording_give_equal_rows(
    kind: str, past_turns: int, dense: bool, seed: int
) -> None:
    env = make_echo_env({"kind": kind, "show_everyone": dense, "participation": 0.5})
    elapsed_rounds = past_turns != 2
    recorded, played = played_and_recorded(env, History(past_turns, elapsed_rounds), seed)
    widened = with_past_turns(recorded, past_turns, elapsed_rounds=elapsed_rounds)
    for agent, record_ in played.records.items():
        np.testing.assert_array_equal(widened.records[agent].observation, record_.observation)
    assert widened.observation_spaces == played.observation_spaces


def test_an_environment_of_turns_without_infos() -> None:
    """x and y move in turn: their rounds are the steps."""
    recorded, played = played_and_recorded(Alternating(), History(1, True), seed=0)
    np.testing.assert_array_equal(recorded.records["y"].round[:2], [1, 3])
    widened = with_past_turns(recorded, 1)
    for agent in "xy":
        expected = played.records[agent].observation
        np.testing.assert_array_equal(widened.records[agent].observation, expected)


class TestPastTurnsWorlds(BatchedWorldsContract):
    def make_worlds(self, batch_size: int, seed: int) -> PastTurnsWorlds:
        game = make_game("stochastic_predator_prey", batch_size=batch_size, seed=seed, horizon=9)
        layouts = {
            agent: History(2, True).layout(space, game.action_spaces[agent])
            for agent, space in game.observation_spaces.items()
        }
        return PastTurnsWorlds(game, layouts)


def make_config(env: Any, history: tuple[int, bool | None], **env_config: Any) -> AMAGAILConfig:
    config = AMAGAILConfig().environment(env, env_config=env_config)
    config.imitation(reward_source="environment")
    config.history(past_turns=history[0], elapsed_rounds=history[1])
    config.env_runners(num_envs_per_env_runner=2).debugging(seed=0)
    config.rl_module(model_config={"fcnet_hiddens": [8]})
    config.validate()
    return config


def rows_of(runner: Any) -> dict[str, np.ndarray]:
    """Observations `[T, F]` of turns by agent, as the learner gets them."""
    episodes = runner.sample(num_episodes=4)
    batch = EpisodesToTurns()(rl_module=runner.module, batch={}, episodes=episodes)
    return {agent: turns.observations for agent, turns in batch.items()}


def test_batched_worlds_show_what_single_ones_do() -> None:
    """`ScriptedWorlds` tell the round; so the rounds of the past follow from the row itself."""
    config = make_config(ScriptedEnv, (1, True))
    assert config.env_runner_cls is BatchedEnvRunner
    rows = rows_of(BatchedEnvRunner(config))["left"]
    now, past = rows[:, :4], rows[:, 4:]
    acts = ScriptedWorlds(ScriptedEnv({})._script, 2).script.acts
    for (world, episode, t, _), columns in zip(now.astype(int), past, strict=True):
        earlier = [s for s in range(t) if acts(world, s)[0]]
        (since_start, since, known), turn = columns[:3], columns[3:]
        assert since_start == np.float32(math.log1p(t))
        assert known == (len(earlier) > 0)
        if earlier:
            assert since == np.float32(math.log1p(t - earlier[-1]))
            assert turn[:4].tolist() == [world, episode, earlier[-1], AGENTS.index("left")]
            assert sum(turn[4:]) == 1
        else:
            assert not np.any(turn)
            assert since == 0


@pytest.mark.parametrize("runner", [TurnEnvRunner, PooledEnvRunner])
@pytest.mark.parametrize("kind", ["discrete", "masked"])
def test_other_runners_show_the_past(runner: type, kind: str) -> None:
    register_echo()
    rows = rows_of(runner(make_config("echo", (2, None), kind=kind)))["agent_1"]
    size = CHOICES + 1 + 2 + 2 + 2 * 2 * CHOICES + (CHOICES if kind == "masked" else 0)
    assert rows.shape[1] == size
    known = rows[:, CHOICES + 3 : CHOICES + 5].sum(axis=1)
    assert set(known) == {0, 1, 2}


def test_phi_as_an_action_is_refused() -> None:
    config = AMAGAILConfig().environment("echo").imitation(phi="chosen").history(past_turns=1)
    with pytest.raises(ValueError, match="past_turns is 1, elapsed_rounds None and phi 'chosen'"):
        config.validate()
    with pytest.raises(ValueError, match="phi is an action"):
        PastTurnsEnv(make_echo_env({"phi_is_action": True}), History(1))


def train(algorithm: Any) -> dict[str, Any]:
    try:
        return algorithm.train()
    finally:
        algorithm.stop()


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("kind", ["discrete", "masked"])
def test_an_iteration_of_amagail(kind: str, tmp_path: Any) -> None:
    register_echo()
    config = AMAGAILConfig().environment("echo", env_config={"kind": kind})
    config.imitation(demonstrations=echo_demonstrations(kind=kind), bc_steps=5)
    config.history(past_turns=1)
    config.imitation(discriminator_inputs="state_pair", critic="joint")
    config.training(train_batch_size_per_learner=64, minibatch_size=32, num_epochs=1)
    config.env_runners(num_envs_per_env_runner=2).debugging(seed=0)
    algorithm = config.build_algo()
    recorded = record(algorithm, 2, seed=1)
    results = train(algorithm)
    assert math.isfinite(results["learners"]["agent_1"]["total_loss"])
    # A recording of these policies shows what they saw, and can teach others like them.
    space = recorded.observation_spaces["agent_1"]
    assert {"now", "past"} <= space.spaces.keys()
    assert not recorded.records["agent_1"].participates.all()
    again = AMAGAILConfig().environment("echo", env_config={"kind": kind})
    again.imitation(demonstrations=recorded).history(past_turns=1)
    again.validate()
    width = ObservationLayout.from_space(space).feature_size
    assert width == recorded.records["agent_1"].observation.shape[1]


@pytest.mark.usefixtures("ray_session")
def test_behaviour_cloning_without_a_game() -> None:
    config = MultiAgentBCConfig().imitation(demonstrations=echo_demonstrations(), bc_steps=5)
    config.history(past_turns=2)
    results = train(config.build_algo())
    assert results["log_likelihood"] < 0


def test_streamed_parts_show_the_past() -> None:
    demonstrations = echo_demonstrations(episodes=3)
    shown = with_past_turns(demonstrations, 1)
    register_echo()
    config = AMAGAILConfig().environment("echo").imitation(demonstrations=demonstrations)
    config.history(past_turns=1).validate()
    modules = {
        agent: SimpleNamespace(
            observation_space=shown.observation_spaces[agent],
            action_space=shown.action_spaces[agent],
        )
        for agent in shown.agents
    }
    rows = RowSorter.from_config(config, modules, shown.agents).sort_part(demonstrations)
    for agent, record_ in shown.records.items():
        np.testing.assert_array_equal(rows[agent].observations, record_.turns().observation)
