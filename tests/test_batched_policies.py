"""How the batched env runner's policies act: draws, phi, shared policies, bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from ray.rllib.core.columns import Columns

from rllib_amagail.runners.batched_env_runner import BatchedEnvRunner
from tests.batched_toys import PHI, GameStub, Script, make_config, make_runner


def test_actions_are_drawn_from_the_policies() -> None:
    """Recorded logits are those of the recorded observations; the likelihood is of the action."""
    runner = make_runner(GameStub, batch_size=4)
    for episode in runner.sample(num_episodes=4):
        observations = torch.from_numpy(episode.get_observations(slice(0, len(episode))))
        with torch.no_grad():
            outputs = runner.module[episode.module_id].forward_inference({"obs": observations})
        logits = episode.get_extra_model_outputs(Columns.ACTION_DIST_INPUTS)
        np.testing.assert_allclose(logits, outputs[Columns.ACTION_DIST_INPUTS], atol=1e-6)
        log_probabilities = torch.log_softmax(torch.from_numpy(logits), -1).numpy()
        chosen = log_probabilities[np.arange(len(episode)), episode.get_actions()]
        logp = episode.get_extra_model_outputs(Columns.ACTION_LOGP)
        np.testing.assert_allclose(logp, chosen, atol=1e-6)


def test_actions_have_the_frequencies_of_the_policy() -> None:
    """Logits (log 1, log 2, log 5) choose actions in 1, 2 and 5 of 8 cases."""
    runner = make_runner(script=Script(pattern=((True, False),)), batch_size=256)
    with torch.no_grad():
        layer = list(runner.module["left"].pi.modules())[-1]
        layer.weight.zero_()
        layer.bias.copy_(torch.tensor([1.0, 2.0, 5.0]).log())
    samples = runner.sample(num_timesteps=256 * 40)
    actions = np.concatenate([e.get_actions() for e in samples])
    assert len(actions) > 9000
    # Standard errors are below 0.0053.
    np.testing.assert_allclose(
        np.bincount(actions) / len(actions), [1 / 8, 2 / 8, 5 / 8], atol=0.02
    )
    greedy = runner.sample(num_timesteps=256, explore=False)
    assert {a for e in greedy for a in e.get_actions()[1:]} <= {2}
    assert all(e.get_actions()[-1] == 2 for e in greedy)


def test_phi_as_an_action() -> None:
    """Everybody acts in every round; "right" chooses phi, which worlds execute as 0."""
    script = Script(lengths=(50, 50))
    runner = make_runner(script=script, phi_is_action=True)
    samples = {
        e.agent_id: e for e in runner.sample(num_timesteps=80) if e.custom_data["world"] == 1
    }
    executed = np.array(runner.env.worlds.seen_actions)[:, 1]
    for index, (agent, episode) in enumerate(samples.items()):
        assert len(episode) == 40
        assert episode.custom_data["rounds"].tolist() == list(range(41))
        acts = [script.acts(1, t)[index] for t in range(40)]
        assert episode.custom_data["participates"].tolist() == acts
        # The reward of every round, whether it participates or not.
        assert episode.get_rewards().tolist() == [(t + 1) * (index + 1) for t in range(40)]
        actions = episode.get_actions()
        assert episode.action_space == Discrete(PHI + (agent == "right"))
        assert (PHI in actions) == (agent == "right")
        np.testing.assert_array_equal(executed[:, index], np.where(actions == PHI, 0, actions))


def test_shown_to_everyone() -> None:
    runner = make_runner(show_everyone=True)
    (left, *_) = runner.sample(num_timesteps=6)
    assert left.custom_data["rounds"].tolist() == [0, 1, 2, 3]
    assert left.custom_data["participates"].tolist() == [True, False, True]


def test_agents_that_share_a_policy_share_its_forward() -> None:
    config = make_config()
    config.multi_agent(policies={"both"}, policy_mapping_fn=lambda agent, episode: "both")
    runner = BatchedEnvRunner(config)
    policy, calls = runner.module["both"], []
    forward = policy._forward
    policy._forward = lambda batch, **kwargs: calls.append(len(batch["obs"])) or forward(batch)
    samples = runner.sample(num_timesteps=2 * 3)
    # World 0 has 1, 1, 2 turns in rounds 0, 1, 2; world 1 starts one pattern row later.
    assert calls == [1 + 1, 1 + 2, 2 + 1]
    assert {(e.agent_id, e.module_id) for e in samples} == {("left", "both"), ("right", "both")}
    for episode in samples:
        shown = torch.from_numpy(episode.get_observations(slice(0, len(episode))))
        logits = forward({"obs": shown})[Columns.ACTION_DIST_INPUTS].detach()
        recorded = episode.get_extra_model_outputs(Columns.ACTION_DIST_INPUTS)
        np.testing.assert_allclose(recorded, logits, atol=1e-6)


@pytest.mark.parametrize("normalise", [True, False, None])
def test_box_actions_are_brought_into_bounds(normalise: bool | None) -> None:
    """Of Box(-0.01, 0.01): the episode keeps what the policy chose, worlds get what is allowed."""
    config = make_config(box=True, script=Script(((True, True),), (50, 50)))
    if normalise is not None:  # by default actions are clipped
        config.environment(normalize_actions=normalise, clip_actions=True)
    runner = BatchedEnvRunner(config)
    left = runner.sample(num_timesteps=2 * 20)[0]
    chosen, executed = left.get_actions(), np.array(runner.env.worlds.seen_actions)[:, 0, 0]
    assert np.abs(chosen).max() > 0.01
    bounded = np.clip(0.01 * chosen if normalise else chosen, -0.01, 0.01)
    np.testing.assert_allclose(executed, bounded, atol=1e-7)
    assert left.get_extra_model_outputs(Columns.ACTION_LOGP).shape == (20,)
