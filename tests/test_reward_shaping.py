"""AIRL's logit split into a reward and a term that only shapes it (arXiv:1907.13220)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib_amagail import AMAGAILConfig, DemonstrationsError
from rllib_amagail.advantages import turn_advantages
from rllib_amagail.judge import Judge
from rllib_amagail.learner.discriminator import INPUTS, LOGITS_EXPERT_IS_HIGH, Discriminator
from rllib_amagail.learner.discriminator_update import update_discriminator
from rllib_amagail.learner.expert_rows import ExpertRows
from rllib_amagail.learner.judged_rows import (
    comparable_rows,
    encode_turns,
    with_log_probabilities,
)
from rllib_amagail.learner.turns import EpisodesToTurns, TurnBatch
from rllib_amagail.row_encoder import RowEncoder
from tests.test_observation_alone import CHOOSE, demonstrations_of
from tests.test_turns import MODULES, SPACE, play
from tests.toys import echo_demonstrations, register_echo

GAMMA = 0.5
SEEN = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)


def linear_judge() -> Judge:
    """g is 10 if the action is 1, and h is the observation itself."""
    judge = Judge()
    judge.build(RowEncoder(SEEN, gym.spaces.Discrete(2), shaping_discount=GAMMA), ())
    for parameter in judge.parameters():
        parameter.data.zero_()
    judge.network[0].weight.data[0, 2] = 10.0
    judge.potential[0].weight.data[0, 0] = 1.0
    return judge


def test_a_shaped_logit_by_hand() -> None:
    encoder = RowEncoder(SEEN, gym.spaces.Discrete(2), shaping_discount=GAMMA)
    now, later = np.array([[2.0], [2.0], [2.0]]), np.array([[8.0], [8.0], [8.0]])
    rows = encoder.append_shaping(
        encoder.encode(now, np.array([1, 0, 1])),
        later,
        elapsed_rounds=np.array([1, 2, 1]),
        terminated=np.array([False, False, True]),
        action_logp=np.array([-1.0, -3.0, 0.0]),
    )
    assert rows.tolist() == [
        [2, 0, 1, 8, 0.5, -1],
        [2, 1, 0, 8, 0.25, -3],
        [2, 0, 1, 8, 0, 0],
    ]
    judge, tensor = linear_judge(), torch.from_numpy(rows)
    assert judge.rewards_of_standardised(tensor).tolist() == [10, 0, 10]
    # f = g + gamma**d h(s') - h(s): 10 + .5 * 8 - 2, 0 + .25 * 8 - 2, 10 - 2.
    assert judge.shaped_rewards_of_standardised(tensor).tolist() == [12, 0, 8]
    assert judge.logits_of_standardised(tensor).tolist() == [13, 3, 8]


def turns_of(participation: np.ndarray, terminated: bool) -> TurnBatch:
    """Agent a's turns in two equal episodes."""
    episodes = [play(participation, dense=False, terminated=terminated) for _ in range(2)]
    batch = EpisodesToTurns()(rl_module=MODULES, batch={}, episodes=episodes)
    return batch["a"]


@pytest.mark.parametrize("terminated", [False, True])
@pytest.mark.parametrize("lambda_", [0.0, 0.7, 1.0])
def test_shaping_moves_values_and_leaves_advantages(terminated: bool, lambda_: float) -> None:
    """With V - h in the place of V, f has the very advantages of g, so pi improves alike."""
    participation = np.array([[1, 1], [0, 1], [1, 0], [1, 1], [0, 1], [0, 0], [1, 1], [0, 1]], bool)
    turns = turns_of(participation, terminated)
    encoder = RowEncoder(SPACE, CHOOSE, shaping_discount=0.9)
    torch.manual_seed(0)
    judge = Judge()
    judge.build(encoder, (8,))
    rows = torch.from_numpy(encode_turns(encoder, turns, "filtered"))
    rng = np.random.default_rng(0)
    values, final_values = rng.normal(size=len(turns)), rng.normal(size=2)
    with torch.no_grad():
        plain = judge.rewards_of_standardised(rows).numpy()
        shaped = judge.shaped_rewards_of_standardised(rows).numpy()
        potential, final_potential = (
            judge.potential(torch.from_numpy(seen)).squeeze(-1).numpy()
            for seen in (turns.observations, turns.final_observations)
        )

    def advantages(rewards: np.ndarray, values: np.ndarray, final: np.ndarray) -> np.ndarray:
        bootstrap = np.where(turns.terminated, 0.0, final)
        times = turns.elapsed_rounds, turns.segment_starts
        return turn_advantages(rewards, values, bootstrap, *times, gamma=0.9, lambda_=lambda_)

    assert np.abs(shaped - plain).max() > 0.1
    expected = advantages(plain, values, final_values)
    found = advantages(shaped, values - potential, final_values - final_potential)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_expert_rows_join_turns_and_leave_out_the_last() -> None:
    participation = np.array([[1, 1], [0, 1], [1, 0], [0, 0], [0, 0], [1, 1]], bool)
    rows = ExpertRows.collect(
        demonstrations_of(participation), ["a"], SPACE, CHOOSE, "filtered", "state", GAMMA
    )
    # a observes [t, 0] in rounds 0, 2 and 5: s, s', gamma to the rounds between, log pi to come.
    assert rows.inputs.tolist() == [[0, 0, 2, 0, 0.25, 0], [2, 0, 5, 0, 0.125, 0]]
    assert rows.is_judged.tolist() == [True, True, False]


def test_expert_rows_get_the_policys_log_probabilities() -> None:
    participation = np.ones((3, 2), bool)
    rows = ExpertRows.collect(
        demonstrations_of(participation), ["a", "b"], SPACE, CHOOSE, "filtered", "state", GAMMA
    )

    class Policy:
        """Chooses action 0 with chance 1/4 if the second feature is 0, else 3/4."""

        def forward_inference(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {"action_dist_inputs": torch.where(batch["obs"][:, 1:] == 0, 0.25, 0.75)}

        def get_train_action_dist_cls(self) -> Any:
            return SimpleNamespace(
                from_logits=lambda chances: SimpleNamespace(
                    logp=lambda actions: torch.log(chances[:, 0]) + actions
                )
            )

    found = with_log_probabilities(torch.from_numpy(rows.inputs), Policy(), rows)  # type: ignore[arg-type]
    np.testing.assert_allclose(found[:, -1], np.log([0.25, 0.25, 0.75, 0.75]), rtol=1e-6)
    np.testing.assert_array_equal(found[:, :-1], rows.inputs[:, :-1])


def test_the_policys_last_turns_are_judged_but_not_learned_from() -> None:
    turns = turns_of(np.array([[1, 1], [0, 1], [1, 1]], bool), terminated=True)
    encoder = RowEncoder(SPACE, CHOOSE, "state", GAMMA)
    assert comparable_rows(encoder, turns).tolist() == [True, False, True, False]
    rows = encode_turns(encoder, turns, "filtered")
    assert rows[:, 4].tolist() == [0.25, 0, 0.25, 0]  # nothing follows an ending


def test_s_and_next_s_are_standardised_alike_and_the_rest_stays() -> None:
    config = {"hiddens": [4], "judged": "state", "shaping_discount": GAMMA}
    judge = Discriminator(
        observation_space=SEEN, action_space=gym.spaces.Discrete(2), model_config=config
    )
    rows = np.array([[1.0, 7.0, 0.25, -3.0], [3.0, 9.0, 0.5, -1.0]], np.float32)
    judge.standardise_with(rows)  # s has mean 2 and deviation 1
    found = judge.standardise(torch.from_numpy(rows))
    assert found.tolist() == [[-1, 5, 0.25, -3], [1, 7, 0.5, -1]]
    assert judge.noise_scale.tolist() == [1, 1, 0, 0]
    state = judge.get_state()
    assert {"potential.0.weight", "network.0.weight"} <= set(state)


def test_rewards_are_told_from_shaping_and_from_the_policys_own_probabilities() -> None:
    """Experts and policy differ in s' alone, which g(s, a) cannot see: h learns it, not g."""
    rng = np.random.default_rng(0)
    config = {"hiddens": [16], "judged": "state", "shaping_discount": 1.0}
    torch.manual_seed(0)
    judge = Discriminator(
        observation_space=SEEN, action_space=gym.spaces.Discrete(2), model_config=config
    )
    now = rng.normal(size=(500, 1))
    ones, logp = np.ones((500, 1)), np.full((500, 1), np.log(0.5))
    expert, policy = (
        torch.from_numpy(np.concatenate([now, now + step, ones, logp], axis=1, dtype=np.float32))
        for step in (1.0, -1.0)
    )
    judge.standardise_with(expert.numpy())
    update_discriminator(
        judge,
        torch.optim.AdamW(judge.parameters(), lr=1e-2),
        expert,
        policy,
        steps=150,
        batch_size=200,
        penalty_coeff=0.02,
        input_noise=0.0,
        group_lasso_coeff=0.0,
        rng=rng,
    )
    with torch.no_grad():
        logits = [
            judge.forward_inference({INPUTS: r})[LOGITS_EXPERT_IS_HIGH] for r in (expert, policy)
        ]
        rewards = [
            judge.rewards_of_standardised(judge.standardise(rows)) for rows in (expert, policy)
        ]
    assert logits[0].mean() > 1 > -1 > logits[1].mean()
    assert torch.equal(rewards[0], rewards[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reward_form": "gail"}, "reward_form is 'gail'; expected reward_form 'airl'"),
        ({"generator": "mack"}, "generator is 'mack'"),
        ({"phi": "executed"}, "phi is 'executed'; expected phi 'filtered' or 'chosen'"),
        ({"discriminator_inputs": "state_pair"}, "discriminator_inputs is 'state_pair'"),
        ({"reward_source": "zero"}, "reward_source is 'zero'"),
    ],
)
def test_shaping_is_refused_where_it_makes_no_sense(settings: dict[str, Any], message: str) -> None:
    register_echo()
    config = AMAGAILConfig().environment("echo")
    config.imitation(**({"reward_form": "airl", "reward_shaping": True} | settings))
    with pytest.raises(ValueError, match=f"reward_shaping is True and {message}"):
        config.validate()


def test_demonstrations_must_hold_what_shaping_needs() -> None:
    whole = echo_demonstrations()
    for poor, message in (
        (whole.without_actions(), "no actions"),
        (whole.subsample(2, np.random.default_rng(0)), "one turn in 2"),
    ):
        with pytest.raises(DemonstrationsError, match=f"{message}.*reward_shaping"):
            ExpertRows.collect(
                poor, ["agent_1"], SEEN, gym.spaces.Discrete(3), "filtered", "state", GAMMA
            )
