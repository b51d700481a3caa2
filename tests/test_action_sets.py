"""Y over action sets: the paper's closing remark."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box

from rllib_amagail import AMAGAILConfig, TurnBasedEnv
from rllib_amagail.action_modes import ModeFunction, ModeSampler
from rllib_amagail.envs.action_sets import ActionSetEnv
from rllib_amagail.equilibrium import GAMES
from rllib_amagail.equilibrium.parallel_env import TabularParallelEnv
from rllib_amagail.testing import TurnBasedEnvContract
from tests.turn_based_toys import ParallelToy

ALTERNATE = np.array([[0.0, 1, 0], [0, 0, 1], [0, 1, 0]])  # 1, 2, 1, 2; from phi to 1
PAUSE = np.array([[0.0, 1, 0], [1, 0, 0], [1, 0, 0]])  # every second round
# Three actions: the first set has the first two, the second the last one.
SETS = dict.fromkeys("abc", np.array([[1, 1, 0], [0, 0, 1]]))


def modes() -> ModeFunction:
    """a uses set 1 and 2 by turns, b set 1 in every second round, c draws phi, 1 or 2."""
    chance = np.array([0.25, 0.25, 0.5])
    transition = np.stack([ALTERNATE, PAUSE, np.tile(chance, (3, 1))])
    return ModeFunction(np.array([[0, 1, 0], [0, 1, 0], chance]), transition)


def make_env(horizon: int = 6, **options: Any) -> TurnBasedEnv:
    return TurnBasedEnv(ActionSetEnv(ParallelToy(horizon=horizon), SETS, modes()), **options)


class TestContract(TurnBasedEnvContract):
    def make_env(self) -> TurnBasedEnv:
        return make_env()


class TestContractWithPhiAsAction(TurnBasedEnvContract):
    def make_env(self) -> TurnBasedEnv:
        return make_env(phi_is_action=True)


def test_modes_follow_their_chances() -> None:
    sampler = ModeSampler(modes(), np.random.default_rng(0))
    drawn = np.stack([sampler.reset(), *(sampler.step() for _ in range(3999))])
    assert drawn[:4, 0].tolist() == [1, 2, 1, 2]
    assert drawn[:4, 1].tolist() == [1, 0, 1, 0]
    shares = np.bincount(drawn[:, 2], minlength=3) / 4000
    np.testing.assert_allclose(shares, [0.25, 0.25, 0.5], atol=0.03)  # about four deviations


def test_without_transitions_every_round_is_like_the_first() -> None:
    function = ModeFunction(np.array([[0.5, 0.25, 0.25]]))
    assert function.probabilities(np.array([2])).tolist() == [[0.5, 0.25, 0.25]]


def test_masks_show_the_sets_and_phi_is_absence() -> None:
    env = make_env()
    observations, infos = env.reset(seed=3)
    seen: dict[str, list[Any]] = {"a": [], "b": []}
    for round_ in range(4):
        for agent in seen:
            if agent not in observations:
                seen[agent].append("absent")
                continue
            mask = observations[agent]["action_mask"].tolist()
            mode = observations[agent]["mode"].tolist()
            assert infos[agent]["round"] == round_
            seen[agent].append((mode, mask))
        legal = {a: int(np.flatnonzero(o["action_mask"])[0]) for a, o in observations.items()}
        observations, _, _, _, infos = env.step(legal)
    first, second = ([1, 0], [1, 1, 0]), ([0, 1], [0, 0, 1])
    assert seen == {"a": [first, second, first, second], "b": [first, "absent", first, "absent"]}
    assert env.may_abstain == {"a": False, "b": True, "c": True}


def test_phi_is_a_choice_where_the_game_lets_agents_wait() -> None:
    """Y draws sets only, but the pursuer and the evader act by turns."""
    sets = {agent: np.ones((1, 5), bool) for agent in ("agent_0", "agent_1")}
    game = TabularParallelEnv(GAMES["pursuit"](), num_rounds=4)
    inner = ActionSetEnv(game, sets, ModeFunction(np.array([[0.0, 1.0], [0.0, 1.0]])))
    assert inner.may_abstain == {"agent_0": True, "agent_1": True}
    assert TurnBasedEnv(inner, phi_is_action=True).action_spaces["agent_1"].n == 5 + 1


def test_the_same_seed_draws_the_same_modes_and_states_go_on() -> None:
    def shown(env: TurnBasedEnv, seed: int | None) -> list[Any]:
        observations, _ = env.reset(seed=seed)
        found = []
        for _ in range(5):
            found.append({a: o["mode"].tolist() for a, o in observations.items()})
            legal = {a: int(np.flatnonzero(o["action_mask"])[0]) for a, o in observations.items()}
            observations, *_ = env.step(legal)
        return found

    env, other = make_env(), make_env()
    assert shown(env, 1) == shown(other, 1)
    third = make_env()
    third.set_state(env.get_state())
    assert shown(env, None) == shown(third, None)


@pytest.mark.parametrize(
    ("initial", "transition", "message"),
    [
        ([[0.5, 0.6]], None, r"initial\[0\] is \[0.5, 0.6\], expected chances that sum to one"),
        ([[0.5, 0.5]], [[[1.0, 0.0]]], r"transition has shape \(1, 1, 2\), expected \(1, 2, 2\)"),
        ([[1.5, -0.5]], None, "expected chances"),
    ],
)
def test_other_chances_are_refused(initial: Any, transition: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModeFunction(initial, transition)


@pytest.mark.parametrize(
    ("env", "sets", "message"),
    [
        (ParallelToy(), {"a": SETS["a"]}, r"found action sets of \['a'\] and modes of 3 agents"),
        (ParallelToy(), {**SETS, "c": np.ones((3, 3))}, r"'c' have shape \(3, 3\), expected \(2"),
        (ParallelToy(), {**SETS, "c": np.eye(3)[:2] * 0}, "some action in each row"),
        (ParallelToy(action_space=Box(-1, 1, (1,))), SETS, "expected Discrete from 0 on"),
        (ParallelToy(mask=lambda t: [1, 1, 1]), SETS, "observes an action mask already"),
    ],
)
def test_sets_that_do_not_fit_are_refused(env: Any, sets: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ActionSetEnv(env, sets, modes())


def test_amagail_learns_within_the_sets(ray_session: None) -> None:
    from ray import tune

    tune.register_env("action_sets", lambda cfg: make_env(horizon=20, **cfg))
    config = (
        AMAGAILConfig()
        .environment("action_sets")
        .imitation(reward_source="environment", bc_steps=0)
        .training(train_batch_size_per_learner=100, minibatch_size=50)
        .rl_module(model_config={"fcnet_hiddens": [8]})
        .env_runners(num_envs_per_env_runner=2)
        .debugging(seed=0)
    )
    algo = config.build_algo()
    episodes = algo.env_runner.sample(num_episodes=4)
    for episode in episodes:
        for agent, own in episode.agent_episodes.items():
            actions, seen = own.get_actions(), own.get_observations()
            allowed = seen["action_mask"][:-1][np.arange(len(actions)), actions]
            assert allowed.all(), agent
    result = algo.train()
    algo.stop()
    assert np.isfinite(result["learners"]["c"]["total_loss"])
