"""Episodes to turns and the phi filter: dense and sparse recordings give the same batch."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.rllib.core.columns import Columns
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode

from rllib_amagail.learner.joint_critic import add_others
from rllib_amagail.learner.joint_view import JointView
from rllib_amagail.learner.phi_filter import FilterPhi, filter_phi
from rllib_amagail.learner.turns import EpisodesToTurns, TurnBatch

SPACE = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
AGENTS = ("a", "b")


class _Module:
    observation_space = SPACE

    def is_stateful(self) -> bool:
        return False


VIEW = JointView.from_spaces(
    {agent: agent for agent in AGENTS},
    dict.fromkeys(AGENTS, (SPACE, gym.spaces.Discrete(100))),
)
MODULES = {agent: _Module() for agent in AGENTS}


def play(participation: np.ndarray, *, dense: bool, terminated: bool) -> MultiAgentEpisode:
    """An episode of T rounds with `participation` [T, 2]; agent a's observation in t is [t, 0]."""
    rounds = len(participation)

    def seen(t: int) -> list[str]:
        if t == rounds:
            acted = participation.any(axis=0)
            return [agent for i, agent in enumerate(AGENTS) if acted[i] or dense]
        return [agent for i, agent in enumerate(AGENTS) if participation[t, i] or dense]

    def observe(t: int) -> tuple[dict, dict]:
        observations = {agent: np.array([t, AGENTS.index(agent)], np.float32) for agent in seen(t)}
        infos = {
            agent: {
                "round": t,
                "participates": bool(t < rounds and participation[t, AGENTS.index(agent)]),
            }
            for agent in seen(t)
        }
        return observations, infos

    episode = MultiAgentEpisode(
        observation_space=gym.spaces.Dict(dict.fromkeys(AGENTS, SPACE)),
        action_space=gym.spaces.Dict(dict.fromkeys(AGENTS, gym.spaces.Discrete(100))),
        agent_to_module_mapping_fn=lambda agent, episode: agent,
    )
    observations, infos = observe(0)
    episode.add_env_reset(observations=observations, infos=infos)
    for t in range(rounds):
        actors = seen(t)
        observations, infos = observe(t + 1)
        last = t + 1 == rounds
        episode.add_env_step(
            observations,
            dict.fromkeys(actors, t),
            {
                agent: float(10 * t + i)
                for i, agent in enumerate(AGENTS)
                if dense or participation[t, i]
            }
            if not dense
            else {agent: float(10 * t + i) * participation[t, i] for i, agent in enumerate(AGENTS)},
            infos,
            terminateds={"__all__": last and terminated},
            truncateds={"__all__": last and not terminated},
            extra_model_outputs={
                agent: {
                    Columns.ACTION_LOGP: -float(t),
                    Columns.ACTION_DIST_INPUTS: np.full(3, t, np.float32),
                }
                for agent in actors
            },
        )
    return episode.to_numpy()


def batch_of(episode: MultiAgentEpisode) -> dict[str, TurnBatch]:
    turns = EpisodesToTurns()(rl_module=MODULES, batch={}, episodes=[episode])
    return FilterPhi()(rl_module=MODULES, batch=turns, episodes=[episode])


def test_turns_carry_rounds_and_the_rounds_between_them() -> None:
    # Agent a acts in rounds 0, 1 and 4 of 5, agent b in rounds 0 and 3.
    participation = np.array([[1, 1], [1, 0], [0, 0], [0, 1], [1, 0]], bool)
    batch = batch_of(play(participation, dense=False, terminated=False))
    assert batch["a"].rounds.tolist() == [0, 1, 4]
    assert batch["a"].elapsed_rounds.tolist() == [1, 3, 1]
    assert batch["a"].actions.tolist() == [0, 1, 4]
    assert batch["a"].rewards.tolist() == [0.0, 10.0, 40.0]
    assert batch["a"].observations.tolist() == [[0, 0], [1, 0], [4, 0]]
    assert batch["a"].final_observations.tolist() == [[5, 0]]
    assert batch["a"].action_logp.tolist() == [0.0, -1.0, -4.0]
    assert batch["a"].phi_share == pytest.approx(1 - 3 / 5)
    assert batch["b"].rounds.tolist() == [0, 3]
    assert batch["b"].elapsed_rounds.tolist() == [3, 2]
    assert not batch["b"].terminated.any()


@settings(deadline=None, max_examples=40)
@given(
    participation=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=8).filter(
        lambda rows: any(rows[0])
    ),
    terminated=st.booleans(),
)
def test_dense_and_sparse_forms_of_an_episode_give_the_same_batch(
    participation: list[tuple[bool, bool]], terminated: bool
) -> None:
    played = np.array(participation)
    sparse = batch_of(play(played, dense=False, terminated=terminated))
    dense = batch_of(play(played, dense=True, terminated=terminated))
    assert sparse.keys() == dense.keys()
    sparse, dense = add_others(sparse, VIEW), add_others(dense, VIEW)
    for agent, expected in sparse.items():
        for field in TurnBatch.__dataclass_fields__:
            if field == "games" or (terminated and field == "final_others"):
                continue  # ids of two recordings, and again what RLlib repeats
            if terminated and field == "final_observations":
                continue  # RLlib repeats the last one, nobody reads it
            np.testing.assert_array_equal(
                getattr(dense[agent], field), getattr(expected, field), err_msg=field
            )
        np.testing.assert_array_equal(dense[agent].elapsed_rounds, expected.elapsed_rounds)


def test_rewards_while_absent_go_to_the_turn_before() -> None:
    turns = TurnBatch(
        observations=np.zeros((6, 1), np.float32),
        actions=np.arange(6),
        action_logp=np.zeros(6),
        action_dist_inputs=np.zeros((6, 2)),
        rewards=np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]),
        rounds=np.array([0, 1, 2, 0, 1, 2]),
        participates=np.array([True, False, True, False, True, False]),
        segment_starts=np.array([0, 3, 6]),
        final_observations=np.zeros((2, 1), np.float32),
        final_rounds=np.array([3, 3]),
        terminated=np.zeros(2, bool),
        agents=np.array(["a", "a"], object),
        games=np.array([0, 1]),
    )
    filtered = filter_phi(turns)
    assert filtered.actions.tolist() == [0, 2, 4]
    # 8 came before the second episode's first turn and belongs to nobody.
    assert filtered.rewards.tolist() == [3.0, 4.0, 48.0]
    assert filtered.segment_starts.tolist() == [0, 2, 3]
    assert filtered.elapsed_rounds.tolist() == [2, 1, 2]


def test_an_episode_without_a_turn_disappears() -> None:
    turns = TurnBatch(
        observations=np.zeros((3, 1), np.float32),
        actions=np.arange(3),
        action_logp=np.zeros(3),
        action_dist_inputs=np.zeros((3, 2)),
        rewards=np.zeros(3),
        rounds=np.array([0, 1, 0]),
        participates=np.array([False, False, True]),
        segment_starts=np.array([0, 2, 3]),
        final_observations=np.array([[7.0], [8.0]], np.float32),
        final_rounds=np.array([2, 1]),
        terminated=np.array([True, False]),
        agents=np.array(["a", "a"], object),
        games=np.array([0, 1]),
    )
    filtered = filter_phi(turns)
    assert filtered.segment_starts.tolist() == [0, 1]
    assert filtered.final_observations.tolist() == [[8.0]]
    assert filtered.terminated.tolist() == [False]


def test_columns_of_different_lengths_are_refused() -> None:
    turns = batch_of(play(np.ones((2, 2), bool), dense=False, terminated=False))["a"]
    from dataclasses import replace

    with pytest.raises(ValueError, match=r"TurnBatch\.actions has 1 rows, expected 2"):
        replace(turns, actions=turns.actions[:1])


def test_rounds_come_from_rllibs_step_count_where_the_environment_says_nothing() -> None:
    episode = play(np.array([[1, 1], [0, 1], [1, 1]], bool), dense=False, terminated=False)
    for agent_episode in episode.agent_episodes.values():
        for info in agent_episode.infos.data:
            del info["round"]
    assert batch_of(episode)["a"].rounds.tolist() == [0, 2]
    episode.env_t_started = 5  # a later chunk: the step count no longer tells
    with pytest.raises(ValueError, match="TurnBasedEnv"):
        batch_of(episode)
