"""PettingZoo's games of turns under `TurnBasedEnv`: turn order, endings, masks, late rewards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Dict, MultiBinary
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode

from rllib_amagail.envs.aec_rounds import AECRounds
from rllib_amagail.envs.turn_based_env import TurnBasedEnv
from rllib_amagail.learner.turns import credited_rewards
from rllib_amagail.player_functions import Synchronous
from rllib_amagail.testing import TurnBasedEnvContract
from tests.aec_toys import CountDown, cumulative_rewards


def play(env: Any, action: int) -> tuple[list[Any], MultiAgentEpisode]:
    """Play an episode; who was asked to act in each round, and RLlib's record of it."""
    observations, infos = env.reset(seed=0)
    asked = [list(observations)]
    episode = MultiAgentEpisode(
        observation_space=env.observation_spaces, action_space=env.action_spaces
    )
    episode.add_env_reset(observations=observations, infos=infos)
    while not episode.is_done:
        actions = dict.fromkeys((a for a, i in infos.items() if i["participates"]), action)
        observations, rewards, terminateds, truncateds, infos = env.step(actions)
        episode.add_env_step(
            observations,
            actions,
            rewards,
            infos,
            terminateds=terminateds,
            truncateds=truncateds,
        )
        asked.append([agent for agent, info in infos.items() if info["participates"]])
    return asked, episode


class TestContract(TurnBasedEnvContract):
    def make_env(self) -> TurnBasedEnv:
        return TurnBasedEnv(CountDown({"x": 3, "y": 2, "z": 4}))


class TestContractOfShowingEveryone(TurnBasedEnvContract):
    def make_env(self) -> TurnBasedEnv:
        return TurnBasedEnv(CountDown({"x": 3, "y": 2, "z": 4}), phi_is_action=True)


class TestContractOfMasksInInfos(TurnBasedEnvContract):
    def make_env(self) -> TurnBasedEnv:
        return TurnBasedEnv(CountDown({"x": 2, "y": 3}, masks_in_infos=True))


def test_the_game_says_whose_turn_it_is() -> None:
    asked, _ = play(TurnBasedEnv(CountDown({"x": 2, "y": 3, "z": 1})), action=1)
    assert asked == [["x"], ["y"], ["z"], ["x"], ["y"], ["y"], []]


@pytest.mark.parametrize("show_everyone", [False, True])
def test_a_player_function_gives_nobody_another_turn(show_everyone: bool) -> None:
    game = CountDown({"x": 2, "y": 2})
    env = TurnBasedEnv(game, Synchronous(2), show_everyone=show_everyone)
    _, infos = env.reset(seed=0)
    assert [a for a, info in infos.items() if info["participates"]] == ["x"]
    *_, infos = env.step({"x": 1})
    assert [a for a, info in infos.items() if info["participates"]] == ["y"]
    assert env.may_abstain == {"x": True, "y": True}


def test_agents_end_one_by_one_and_in_their_own_ways() -> None:
    _, episode = play(TurnBasedEnv(CountDown({"x": 2, "y": 3, "z": 1})), action=1)
    ended = {a: (e.is_terminated, e.is_truncated) for a, e in episode.agent_episodes.items()}
    assert ended == {"x": (True, False), "y": (False, True), "z": (False, True)}
    # What the dead are shown last: no turns left, and the turns that all had played by then.
    final = {a: list(e.get_observations(-1)) for a, e in episode.agent_episodes.items()}
    assert final == {"x": [0, 4], "y": [0, 6], "z": [0, 3]}


def test_agents_are_paid_what_pettingzoo_pays() -> None:
    turns = {"x": 2, "y": 3, "z": 1}
    _, episode = play(TurnBasedEnv(CountDown(turns)), action=2)
    paid = {agent: float(sum(e.get_rewards())) for agent, e in episode.agent_episodes.items()}
    # PettingZoo's loop also pays y and z while x has the first turn, when they have not acted yet.
    before_first_turns = {"x": 0.0, "y": 0.5, "z": 1.0}
    by_pettingzoo = cumulative_rewards(CountDown(turns), action=2)
    assert paid == {agent: by_pettingzoo[agent] - before_first_turns[agent] for agent in turns}
    # x: two turns of 2, and 0.5 for y's and z's turns in between.
    assert paid["x"] == 2 + 0.5 + 0.5 + 2


def test_absent_agents_can_be_left_without_pay() -> None:
    _, episode = play(TurnBasedEnv(CountDown({"x": 2, "y": 2}), reward_absent=False), action=2)
    assert list(episode.agent_episodes["x"].get_rewards()) == [2, 2]


def test_late_rewards_are_discounted_by_rounds() -> None:
    _, episode = play(TurnBasedEnv(CountDown({"x": 2, "y": 2, "z": 2})), action=2)
    x, y = episode.agent_episodes["x"], episode.agent_episodes["y"]
    # Turn 0 of x earns 2, then 0.5 a round later (y's turn) and 0.5 two rounds later (z's). After
    # its last turn x is dead.
    np.testing.assert_allclose(credited_rewards(x, 0.9), [2 + 0.9 * 0.5 + 0.81 * 0.5, 2])
    # Between y's turns z and x act, the same.
    np.testing.assert_allclose(credited_rewards(y, 0.9), [2 + 0.9 * 0.5 + 0.81 * 0.5, 2])
    np.testing.assert_allclose(credited_rewards(x, 1.0), [3, 2])


def test_dense_and_sparse_turns_are_discounted_alike() -> None:
    from rllib_amagail.learner.phi_filter import filter_phi
    from rllib_amagail.learner.turns import _stack, observation_rounds
    from rllib_amagail.spaces import ObservationLayout

    def credited(show_everyone: bool) -> dict[str, np.ndarray]:
        env = TurnBasedEnv(CountDown({"x": 3, "y": 1, "z": 2}), show_everyone=show_everyone)
        observations, infos = env.reset(seed=0)
        episode = MultiAgentEpisode(
            observation_space=env.observation_spaces, action_space=env.action_spaces
        )
        episode.add_env_reset(observations=observations, infos=infos)
        while not episode.is_done:
            actions = dict.fromkeys(
                (a for a in observations if a in episode.get_agents_to_act()), 2
            )
            observations, *rest, infos = env.step(actions)
            outputs = {a: {"action_logp": 0.0, "action_dist_inputs": np.zeros(3)} for a in actions}
            rewards, terminateds, truncateds = rest
            episode.add_env_step(
                observations,
                actions,
                rewards,
                infos,
                terminateds=terminateds,
                truncateds=truncateds,
                extra_model_outputs=outputs,
            )
        found = {}
        for agent, each in episode.agent_episodes.items():
            layout = ObservationLayout.from_space(env.observation_spaces[agent])
            rounds = {id(each): observation_rounds(each, episode)}
            turns = _stack([each], rounds, layout, gamma=0.5)
            found[agent] = filter_phi(turns, gamma=0.5).rewards
        return found

    sparse, dense = credited(show_everyone=False), credited(show_everyone=True)
    assert {a: list(r) for a, r in sparse.items()} == {a: list(r) for a, r in dense.items()}
    # x acts in rounds 0, 3 and 5, y in 1, z in 2 and 4.
    assert list(sparse["x"]) == [2 + 0.25 + 0.125, 2 + 0.25, 2]


def test_masks_in_infos_become_part_of_the_observation() -> None:
    rounds = AECRounds(CountDown({"x": 1, "y": 1}, masks_in_infos=True))
    assert isinstance(rounds.observation_spaces["x"], Dict)
    assert rounds.observation_spaces["x"]["action_mask"] == MultiBinary(3)
    observations, infos = rounds.reset(seed=0)
    assert observations["x"]["action_mask"].tolist() == [0, 1, 0]
    assert "action_mask" not in infos["x"]
    final, *_ = rounds.step({"x": 1})
    assert final["x"]["action_mask"].tolist() == [1, 1, 1]  # x is dead; nothing is told about it
    assert final["y"]["action_mask"].tolist() == [0, 1, 0]


def test_a_missing_action_names_whose_turn_it_is() -> None:
    rounds = AECRounds(CountDown({"x": 1, "y": 1}))
    rounds.reset(seed=0)
    with pytest.raises(ValueError, match=r"actions are for \['y'\], expected one for 'x'"):
        rounds.step({"y": 0})


def test_a_game_without_agents_is_refused() -> None:
    with pytest.raises(ValueError, match="has no possible_agents"):
        AECRounds(CountDown({}))
