"""What the joint critic sees of the others, checked by hand; policies never see it."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from ray.rllib.core.columns import Columns

from rllib_amagail.learner.agent_module import OTHERS, AgentModule
from rllib_amagail.learner.joint_critic import add_others
from rllib_amagail.learner.joint_view import JointView
from rllib_amagail.learner.turns import TurnBatch
from tests.test_algorithm import small_config

ONE = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)
TWO = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
CHOOSE = gym.spaces.Discrete(2)
PUSH = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)


def turns_of(
    segments: list[tuple[str, str, list[int], int]],
    *,
    width: int = 1,
    actions: list | None = None,
    participates: list[bool] | None = None,
) -> TurnBatch:
    """Turns of segments (agent, game, rounds, final round); who sees round t sees t + 1."""
    rounds = np.concatenate([np.array(r) for _, _, r, _ in segments])
    final_rounds = np.array([final for _, _, _, final in segments])
    count = len(rounds)

    def seen(at: np.ndarray) -> np.ndarray:
        return np.repeat(at[:, None] + 1.0, width, axis=1).astype(np.float32)

    return TurnBatch(
        observations=seen(rounds),
        actions=np.array(actions if actions is not None else [1] * count),
        action_logp=np.zeros(count, np.float32),
        action_dist_inputs=np.zeros((count, 2), np.float32),
        rewards=np.zeros(count, np.float32),
        rounds=rounds,
        participates=np.array(participates if participates else [True] * count),
        segment_starts=np.cumsum([0] + [len(r) for _, _, r, _ in segments]),
        final_observations=seen(final_rounds),
        final_rounds=final_rounds,
        terminated=np.zeros(len(segments), bool),
        agents=np.array([agent for agent, *_ in segments], object),
        games=np.array([game for _, game, *_ in segments], object),
    )


VIEW = JointView.from_spaces({"a": "a", "b": "b"}, {"a": (ONE, CHOOSE), "b": (ONE, CHOOSE)})


def test_the_other_agents_turn_is_seen_in_its_round_and_remembered_after_it() -> None:
    batches = {
        "a": turns_of([("a", "g", [0, 1, 2, 3], 5)]),
        "b": turns_of([("b", "g", [1, 3], 5)], actions=[0, 1]),
    }
    seen = add_others(batches, VIEW)["a"]
    # Columns: b participates, what b last saw (its round + 1), b's action 0, b's action 1.
    assert seen.others.tolist() == [
        [0, 0, 0, 0],  # before b's first turn
        [1, 2, 1, 0],  # b acts, too: action 0
        [0, 2, 0, 0],  # phi; b last saw round 1
        [1, 4, 0, 1],
    ]
    # At the end nobody has acted yet; b saw round 5, too.
    assert seen.final_others.tolist() == [[0, 6, 0, 0]]


def test_games_do_not_mix_whatever_their_order() -> None:
    batches = {
        "a": turns_of([("a", "second", [0, 1], 2), ("a", "first", [0, 1], 2)]),
        "b": turns_of([("b", "first", [1], 2), ("b", "third", [0, 1], 2)]),
    }
    seen = add_others(batches, VIEW)["a"]
    assert seen.others.tolist() == [[0] * 4, [0] * 4, [0] * 4, [1, 2, 0, 1]]
    assert seen.final_others.tolist() == [[0] * 4, [0, 3, 0, 0]]
    # The third game has no turn of a.
    assert add_others(batches, VIEW)["b"].others.tolist() == [[1, 2, 0, 1], [0] * 4, [0] * 4]


def test_agents_of_a_shared_module_see_each_other_and_the_same_columns() -> None:
    view = JointView.from_spaces(
        {"a1": "shared", "b": "alone", "a2": "shared"},
        {"shared": (ONE, CHOOSE), "alone": (TWO, PUSH)},
    )
    batches = {
        "shared": turns_of([("a1", "g", [0], 1), ("a2", "g", [0], 1)], actions=[0, 1]),
        "alone": turns_of([("b", "g", [0], 1)], width=2, actions=[[-3.0]]),
    }
    seen = add_others(batches, view)
    # b first ("alone" < "shared"): participates, two features, push clipped to -1; then the other.
    assert seen["shared"].others.tolist() == [
        [1, 1, 1, -1, 1, 1, 0, 1],
        [1, 1, 1, -1, 1, 1, 1, 0],
    ]
    assert view.size("shared") == 8
    assert seen["alone"].others.tolist() == [[1, 1, 1, 0, 1, 1, 0, 1]]
    assert view.size("alone") == 8


def test_a_cut_turn_counts_as_seen_and_the_next_chunk_goes_on() -> None:
    chunks = [("b", "g", [0], 2), ("b", "g", [2], 4)]  # cut at b's turn in round 2
    rows_of_a = [("a", "g", [2, 3], 4)]
    only_first = {"a": turns_of(rows_of_a), "b": turns_of(chunks[:1])}
    # b's turn in round 2 is not in the batch: what it saw is known, that it acts is not.
    assert add_others(only_first, VIEW)["a"].others.tolist() == [[0, 3, 0, 0], [0, 3, 0, 0]]
    both = {"a": turns_of(rows_of_a), "b": turns_of(chunks)}
    assert add_others(both, VIEW)["a"].others.tolist() == [[1, 3, 0, 1], [0, 3, 0, 0]]


def test_phi_as_an_action_is_seen_as_one() -> None:
    batches = {
        "a": turns_of([("a", "g", [0, 1], 2)]),
        "b": turns_of([("b", "g", [0, 1], 2)], actions=[0, 1], participates=[True, False]),
    }
    assert add_others(batches, VIEW)["a"].others.tolist() == [[1, 1, 1, 0], [0, 2, 0, 1]]


def test_an_absent_module_is_seen_as_zeros() -> None:
    seen = add_others({"a": turns_of([("a", "g", [0], 1)])}, VIEW)["a"]
    assert seen.others.tolist() == [[0, 0, 0, 0]]


def test_only_values_depend_on_the_others() -> None:
    import torch

    torch.manual_seed(0)
    config = {"fcnet_hiddens": [8], "fcnet_activation": "tanh", "vf_share_layers": False}
    module = AgentModule(
        observation_space=TWO, action_space=CHOOSE, model_config={**config, "others_size": 3}
    )
    batch = {Columns.OBS: torch.ones(2, 2), OTHERS: torch.tensor([[0.0, 0, 0], [1, 2, 3]])}
    values = module.compute_values(batch)
    assert values.shape == (2,)
    assert values[0] != values[1]
    logits = module.forward_train({Columns.OBS: torch.ones(2, 2)})[Columns.ACTION_DIST_INPUTS]
    torch.testing.assert_close(logits[0], logits[1])
    for name in module.get_state(inference_only=True):
        assert name.startswith(("encoder.actor_encoder", "pi")), name


@pytest.mark.parametrize("generator", ["ppo", "mack"])
@pytest.mark.usefixtures("ray_session")
def test_training_with_shared_policies(generator: str) -> None:
    config = small_config(num_agents=3).imitation(
        reward_source="environment", critic="joint", generator=generator, value_only_iterations=0
    )
    config.multi_agent(
        policies={"shared", "alone"},
        policy_mapping_fn=lambda agent, *_, **__: "alone" if agent == "agent_2" else "shared",
    )
    algorithm = config.build_algo()
    result = algorithm.train()
    for module_id in ("shared", "alone"):
        assert np.isfinite(result["learners"][module_id]["vf_loss"])
        critic = algorithm.learner_group._learner.module[module_id].joint_encoder
        # Three features of the own observation; of two others one flag, three features, three
        # actions each.
        assert critic.net.mlp[0].in_features == 3 + 2 * 7
        # Runners act without the others.
        assert not hasattr(algorithm.env_runner.module[module_id], "joint_encoder")
    algorithm.stop()
