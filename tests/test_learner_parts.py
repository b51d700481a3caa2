"""The learner's stages on their own, without Ray."""

from __future__ import annotations

from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_amagail.demonstrations import DemonstrationsError
from rllib_amagail.learner.advantage_columns import advantage_columns
from rllib_amagail.learner.agent_module import AgentModule
from rllib_amagail.learner.behaviour_cloning import clone_behaviour, frozen_copy, policy_parameters
from rllib_amagail.learner.discriminator import Discriminator
from rllib_amagail.learner.discriminator_update import update_discriminator
from rllib_amagail.learner.expert_rows import ExpertRows
from rllib_amagail.learner.expert_source import expert_sources
from rllib_amagail.learner.ppo_generator import (
    agree_on_minibatches,
    explained_variance,
    update_by_ppo,
)
from rllib_amagail.learner.relabelling import discriminator_rewards
from rllib_amagail.learner.sharding import EpisodeShards, episodes_of
from rllib_amagail.learner.turns import TurnBatch
from rllib_amagail.past_turns import History
from rllib_amagail.row_encoder import RowEncoder
from rllib_amagail.running_moments import RunningMoments
from tests.toys import CHOICES, HORIZON, echo_demonstrations

SEEN = gym.spaces.Box(0.0, 1.0, (CHOICES,), np.float32)
MASKED = gym.spaces.Dict({"action_mask": gym.spaces.MultiBinary(CHOICES), "observation": SEEN})
CHOOSE = gym.spaces.Discrete(CHOICES)


def make_discriminator(
    actions: gym.Space = CHOOSE, hiddens: tuple[int, ...] = (32,)
) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(
        observation_space=SEEN,
        action_space=actions,
        learner_only=True,
        model_config={"hiddens": list(hiddens), "judged": "state_action"},
    )


def make_policy(observations: gym.Space = SEEN, actions: gym.Space = CHOOSE) -> AgentModule:
    torch.manual_seed(0)
    return AgentModule(
        observation_space=observations,
        action_space=actions,
        model_config={"fcnet_hiddens": [32], "vf_share_layers": False},
    )


# --- row encoding --------------------------------------------------------------------------------


def test_discrete_rows_are_features_and_one_hot() -> None:
    encoded = RowEncoder(SEEN, CHOOSE).encode(np.eye(3, dtype=np.float32)[:2], np.array([2, 0]))
    assert encoded.tolist() == [[1, 0, 0, 0, 0, 1], [0, 1, 0, 1, 0, 0]]


def test_every_component_of_a_multidiscrete_action_is_one_hot() -> None:
    encoder = RowEncoder(SEEN, gym.spaces.MultiDiscrete([3, 2]))
    encoded = encoder.encode(np.zeros((1, 3), np.float32), np.array([[1, 1]]))
    assert encoded.tolist() == [[0, 0, 0, 0, 1, 0, 0, 1]]


def test_box_actions_are_judged_as_the_game_plays_them() -> None:
    encoder = RowEncoder(SEEN, gym.spaces.Box(-1.0, 2.0, (2,), np.float32))
    encoded = encoder.encode(np.zeros((1, 3), np.float32), np.array([[5.0, -5.0]]))
    assert encoded.tolist() == [[0, 0, 0, 2, -1]]


def test_the_action_mask_is_no_input() -> None:
    encoder = RowEncoder(MASKED, CHOOSE)
    flat = np.array([[1, 0, 0, 1, 1, 0]], np.float32)  # features, then mask
    assert encoder.encode(flat, np.array([1])).tolist() == [[1, 0, 0, 0, 1, 0]]


# --- discriminator -------------------------------------------------------------------------------


def test_a_discriminator_separates_experts_from_random_rows() -> None:
    rng = np.random.default_rng(0)
    encoder, seen = RowEncoder(SEEN, CHOOSE), rng.integers(CHOICES, size=400)
    observations = np.eye(CHOICES, dtype=np.float32)[seen]
    expert = torch.from_numpy(encoder.encode(observations, seen))
    wrong = (seen + rng.integers(1, CHOICES, size=400)) % CHOICES
    policy = torch.from_numpy(encoder.encode(observations, wrong))
    discriminator = make_discriminator()
    discriminator.standardise_with(expert.numpy())
    diagnostics = update_discriminator(
        discriminator,
        torch.optim.AdamW(discriminator.parameters(), lr=1e-2),
        expert,
        policy,
        steps=60,
        batch_size=100,
        penalty_coeff=0.02,
        input_noise=0.0,
        group_lasso_coeff=0.0,
        rng=rng,
    )
    assert diagnostics["accuracy_expert_rows"] > 0.98
    assert diagnostics["accuracy_policy_rows"] > 0.98
    assert diagnostics["logits_expert_rows"] > 0 > diagnostics["logits_policy_rows"]
    rewards = [discriminator_rewards(discriminator, rows, "gail") for rows in (expert, policy)]
    assert rewards[0].min() > rewards[1].max()


def test_equal_rows_leave_the_discriminator_undecided() -> None:
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(rng.normal(size=(500, 6)).astype(np.float32))
    discriminator = make_discriminator()
    diagnostics = update_discriminator(
        discriminator,
        torch.optim.AdamW(discriminator.parameters(), lr=1e-3),
        rows,
        rows,
        steps=50,
        batch_size=500,
        penalty_coeff=1.0,
        input_noise=0.0,
        group_lasso_coeff=0.0,
        rng=rng,
    )
    assert abs(diagnostics["logits_expert_rows"] - diagnostics["logits_policy_rows"]) < 0.05


def test_inputs_are_standardised_by_the_demonstrations() -> None:
    discriminator = make_discriminator()
    rows = np.array([[0, 5, 1, 0, 0, 0], [4, 5, 3, 0, 0, 0]], np.float32)
    discriminator.standardise_with(rows)
    standardised = discriminator.standardise(torch.from_numpy(rows))
    # An input that never varies is only shifted.
    assert standardised.tolist() == [[-1, 0, -1, 0, 0, 0], [1, 0, 1, 0, 0, 0]]


def test_env_runners_get_nothing_of_a_discriminator() -> None:
    discriminator = make_discriminator()
    assert discriminator.get_state(inference_only=True) == {}
    assert set(discriminator.get_state()) >= {"input_mean", "input_scale"}


# --- policy module -------------------------------------------------------------------------------


def test_masked_actions_are_never_drawn() -> None:
    module = make_policy(MASKED)
    mask = np.array([[1, 0, 1], [0, 0, 1]], np.int8)
    batch = {
        "action_mask": torch.from_numpy(mask),
        "observation": torch.zeros(2, 3),
    }
    logits = module.forward_inference({Columns.OBS: batch})[Columns.ACTION_DIST_INPUTS]
    chances = torch.softmax(logits, dim=1).numpy()
    assert (chances[mask == 0] == 0).all()
    flat = torch.tensor([[0, 0, 0, 1, 0, 1], [0, 0, 0, 0, 0, 1]], dtype=torch.float32)
    for forward in (module.forward_inference, module.forward_train):
        again = forward({Columns.OBS: flat})[Columns.ACTION_DIST_INPUTS]
        torch.testing.assert_close(again, logits)


def test_the_entropy_of_masked_policies_is_finite() -> None:
    module = make_policy(MASKED)
    flat = torch.tensor([[0, 0, 0, 0, 0, 1]], dtype=torch.float32)
    logits = module.forward_train({Columns.OBS: flat})[Columns.ACTION_DIST_INPUTS]
    policy = module.get_train_action_dist_cls().from_logits(logits)
    assert policy.entropy().item() == pytest.approx(0, abs=1e-5)
    assert torch.isfinite(policy.kl(policy)).all()


def test_categories_are_observed_as_one_hot() -> None:
    module = make_policy(gym.spaces.Discrete(CHOICES))
    raw = module.forward_inference({Columns.OBS: torch.tensor([2])})
    flat = module.forward_inference({Columns.OBS: torch.tensor([[0.0, 0.0, 1.0]])})
    torch.testing.assert_close(raw[Columns.ACTION_DIST_INPUTS], flat[Columns.ACTION_DIST_INPUTS])


def test_inference_modules_have_no_baseline() -> None:
    module = AgentModule(
        observation_space=SEEN,
        action_space=CHOOSE,
        inference_only=True,
        model_config={"fcnet_hiddens": [8], "vf_share_layers": False},
    )
    assert not hasattr(module, "vf")


@pytest.mark.parametrize(
    ("actions", "model_config", "is_chain"),
    [
        (CHOOSE, {"fcnet_hiddens": [8, 8], "vf_share_layers": False}, True),
        (CHOOSE, {"head_fcnet_hiddens": [4], "vf_share_layers": False}, True),
        (CHOOSE, {"fcnet_hiddens": [8], "vf_share_layers": True}, False),
        (gym.spaces.Box(-1.0, 1.0, (2,), np.float32), {"vf_share_layers": False}, False),
    ],
)
def test_layers_called_directly_give_what_rllibs_models_give(
    actions: gym.Space, model_config: dict, is_chain: bool
) -> None:
    """Wherever the policy is no plain chain, RLlib's own forward is used."""
    torch.manual_seed(0)
    module = AgentModule(observation_space=SEEN, action_space=actions, model_config=model_config)
    assert bool(module._policy_layers) == is_chain
    batch = {Columns.OBS: torch.randn(5, 3)}
    ours = module.forward_inference(batch)[Columns.ACTION_DIST_INPUTS]
    theirs = super(AgentModule, module)._forward(batch)[Columns.ACTION_DIST_INPUTS]
    torch.testing.assert_close(ours, theirs, atol=0, rtol=0)


def test_a_copied_policy_has_layers_of_its_own() -> None:
    module = make_policy()
    anchor = frozen_copy(module)
    seen = {Columns.OBS: torch.ones(1, 3)}
    before = anchor.forward_inference(seen)[Columns.ACTION_DIST_INPUTS].clone()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.0)
    torch.testing.assert_close(anchor.forward_inference(seen)[Columns.ACTION_DIST_INPUTS], before)
    assert not torch.equal(module.forward_inference(seen)[Columns.ACTION_DIST_INPUTS], before)


# --- expert rows and cloning ---------------------------------------------------------------------


def test_filtered_rows_are_the_turns() -> None:
    demonstrations = echo_demonstrations(episodes=5)
    rows = ExpertRows.collect(demonstrations, ["agent_1"], SEEN, CHOOSE, "filtered")
    record = demonstrations.records["agent_1"]
    assert len(rows) == record.num_turns < len(record)
    assert (rows.actions == rows.observations.argmax(axis=1)).all()


def test_phi_becomes_the_last_action() -> None:
    demonstrations = echo_demonstrations(episodes=5)
    rows = ExpertRows.collect(
        demonstrations, ["agent_1"], SEEN, gym.spaces.Discrete(CHOICES + 1), "chosen"
    )
    absent = ~demonstrations.records["agent_1"].participates
    assert len(rows) == 5 * HORIZON
    assert (rows.actions[absent] == CHOICES).all()
    assert (rows.actions[~absent] < CHOICES).all()
    assert (rows.inputs[absent, -1] == 1).all()


def test_a_shared_module_learns_from_all_its_agents() -> None:
    demonstrations = echo_demonstrations(episodes=5)
    rows = ExpertRows.collect(demonstrations, ["agent_1", "agent_2"], SEEN, CHOOSE, "filtered")
    turns = [demonstrations.records[agent].num_turns for agent in ("agent_1", "agent_2")]
    assert len(rows) == sum(turns)


def test_phi_as_an_action_needs_a_dense_recording() -> None:
    sparse = echo_demonstrations(participation=1.0)
    with pytest.raises(DemonstrationsError, match="no rows"):
        ExpertRows.collect(sparse, ["agent_1"], SEEN, gym.spaces.Discrete(CHOICES + 1), "chosen")


def test_phi_as_an_action_needs_an_action_for_it() -> None:
    with pytest.raises(DemonstrationsError, match="phi_is_action=True"):
        ExpertRows.collect(echo_demonstrations(), ["agent_1"], SEEN, CHOOSE, "chosen")


def test_learners_share_the_episodes_without_overlap() -> None:
    demonstrations = echo_demonstrations(episodes=7)
    config = SimpleNamespace(
        load_demonstrations=lambda: demonstrations,
        streamed_demonstrations=lambda: None,
        shaping_discount=lambda module_id: None,
        policies={"agent_1": None, "agent_2": None},
        imitates=lambda agent: True,
        policy_mapping_fn=lambda agent, episode: agent,
        phi="filtered",
        discriminator_inputs="state_action",
        discriminator_structure="decentralised",
        shown_past=History(),
    )
    module = SimpleNamespace(observation_space=SEEN, action_space=CHOOSE)
    modules = {"agent_1": module, "agent_2": module}
    shares = [expert_sources(config, modules, rank, 3) for rank in range(3)]
    for agent in modules:
        whole = len(shares[0][0].rows[agent])
        assert sum(len(share.rows[agent]) for _, share in shares) == whole
        assert all(len(share.rows[agent]) < whole for _, share in shares)


def test_cloning_finds_the_experts_action() -> None:
    rows = ExpertRows.collect(echo_demonstrations(), ["agent_1"], SEEN, CHOOSE, "filtered")
    module = make_policy()
    rng = np.random.default_rng(0)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    loss = clone_behaviour(module, rows, optimizer, steps=200, batch_size=64, rng=rng)
    assert loss < 0.05
    logits = module.forward_inference({Columns.OBS: torch.eye(3)})[Columns.ACTION_DIST_INPUTS]
    assert logits.argmax(dim=1).tolist() == [0, 1, 2]


def test_an_anchor_does_not_follow_its_policy() -> None:
    module = make_policy()
    anchor = frozen_copy(module)
    before = policy_parameters(anchor, {Columns.OBS: torch.eye(3)})
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.0)
    torch.testing.assert_close(policy_parameters(anchor, {Columns.OBS: torch.eye(3)}), before)
    assert not any(parameter.requires_grad for parameter in anchor.parameters())


# --- generator -----------------------------------------------------------------------------------


def test_explained_variance_of_many_rows_and_of_one() -> None:
    targets = torch.tensor([1.0, 3.0])
    assert float(explained_variance(targets, targets + 5)) == 1.0  # an offset explains nothing less
    assert float(explained_variance(targets, torch.tensor([1.0, 2.0]))) == pytest.approx(0.75)
    assert float(explained_variance(targets, torch.tensor([9.0, -9.0]))) == -1.0
    assert float(explained_variance(targets[:1], torch.tensor([7.0]))) == 1.0


def test_minibatches_follow_a_modules_own_rows() -> None:
    assert agree_on_minibatches([1000, 260, 40, 0], 100, distributed=False) == [10, 3, 1, 0]
    assert agree_on_minibatches([1000, 50], None, distributed=False) == [1, 1]


def test_every_row_is_used_once_an_epoch() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    used: list[int] = []

    def loss_of(minibatch: dict[str, torch.Tensor]) -> torch.Tensor:
        used.extend(minibatch["row"].tolist())
        return parameter.sum()

    update_by_ppo(
        loss_of,
        torch.optim.SGD([parameter], lr=0.0),
        {"row": torch.arange(11)},
        epochs=3,
        minibatches=4,
        grad_clip=None,
        rng=np.random.default_rng(0),
    )
    assert len(used) == 33
    for epoch in range(3):
        assert sorted(used[11 * epoch : 11 * (epoch + 1)]) == list(range(11))


def test_gradients_are_clipped_to_their_norm() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    update_by_ppo(
        lambda minibatch: 30 * parameter[0] + 40 * parameter[1],
        torch.optim.SGD([parameter], lr=1.0),
        {"row": torch.arange(2)},
        epochs=1,
        minibatches=1,
        grad_clip=1.0,
        rng=np.random.default_rng(0),
    )
    assert parameter.tolist() == pytest.approx([-0.6, -0.8], abs=1e-4)


def test_value_targets_are_standardised_and_terminal_states_are_worth_nothing() -> None:
    turns = TurnBatch(
        observations=np.eye(3, dtype=np.float32)[:2],
        actions=np.array([0, 1]),
        action_logp=np.zeros(2, np.float32),
        action_dist_inputs=np.zeros((2, 3), np.float32),
        rewards=np.zeros(2, np.float32),
        rounds=np.array([0, 0]),
        participates=np.ones(2, bool),
        segment_starts=np.array([0, 1, 2]),
        final_observations=np.eye(3, dtype=np.float32)[[2, 2]],
        final_rounds=np.array([2, 2]),
        terminated=np.array([True, False]),
        agents=np.array(["a", "a"], object),
        games=np.array([0, 1]),
    )

    class Values(torch.nn.Module):
        """V of the one-hot state k is k + 1."""

        def __init__(self) -> None:
            super().__init__()
            self.on_the_cpu = torch.nn.Parameter(torch.zeros(1))

        def compute_values(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return batch[Columns.OBS] @ torch.tensor([1.0, 2.0, 3.0])

    moments = RunningMoments()
    columns = advantage_columns(
        turns, np.array([10.0, 10.0]), Values(), moments, gamma=0.5, lambda_=1.0
    )
    # Targets: 10, and 10 + 0.5**2 * 3 = 10.75; their mean is 10.375, their deviation 0.375.
    assert moments.mean == pytest.approx(10.375)
    assert columns[Postprocessing.VALUE_TARGETS].tolist() == pytest.approx([-1, 1])
    # Advantages 10 - 1 and 10.75 - 2, standardised.
    assert columns[Postprocessing.ADVANTAGES].tolist() == pytest.approx([1, -1])


def test_running_moments_are_those_of_all_numbers() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.normal(5, 3, size=100)
    moments = RunningMoments()
    for part in np.split(numbers, [1, 10, 50]):
        moments.update(part)
    assert moments.mean == pytest.approx(numbers.mean())
    assert moments.deviation == pytest.approx(numbers.std())
    again = RunningMoments()
    again.set_state(moments.get_state())
    assert again.standardise(numbers).mean() == pytest.approx(0, abs=1e-6)


def test_equal_numbers_have_deviation_one() -> None:
    moments = RunningMoments()
    moments.update(np.full(5, 2.0))
    assert moments.deviation == 1.0


# --- several learners ----------------------------------------------------------------------------


class _Episode:
    def __init__(self, game: str, steps: int) -> None:
        self.id_, self.multi_agent_episode_id, self.steps = f"{game}-{steps}", game, steps

    def __len__(self) -> int:
        return self.steps


def test_shards_keep_episodes_whole_and_balanced() -> None:
    episodes = [
        _Episode(game, n) for game, n in zip("aabbccdd", [5, 4, 3, 3, 2, 2, 2, 1], strict=True)
    ]
    shards = [data.episodes for data, _ in EpisodeShards(episodes=episodes).shard(2)]
    games = [{episode.multi_agent_episode_id for episode in shard} for shard in shards]
    assert games[0].isdisjoint(games[1])
    assert games[0] | games[1] == set("abcd")
    assert [sum(map(len, shard)) for shard in shards] == [12, 10]


def test_too_few_episodes_for_the_learners_is_an_error() -> None:
    with pytest.raises(ValueError, match="1 episodes cannot be shared by 2 learners"):
        EpisodeShards(episodes=[_Episode("a", 3), _Episode("a", 2)]).shard(2)


def test_batches_of_another_kind_are_refused() -> None:
    from ray.rllib.core.learner.training_data import TrainingData
    from ray.rllib.policy.sample_batch import MultiAgentBatch

    with pytest.raises(ValueError, match="learns from episodes"):
        episodes_of(TrainingData(batch=MultiAgentBatch({}, 0)), None)
