"""Recording from trained algorithms, and playing and exporting what they learned."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ray import tune
from ray.rllib.algorithms.ppo import PPOConfig
from safetensors.numpy import load_file

from rllib_amagail import AMAGAIL, AMAGAILConfig, Demonstrations, DemonstrationsError, TurnBasedEnv
from rllib_amagail.algorithm.export import export_learned
from rllib_amagail.algorithm.policies import policies_of
from rllib_amagail.evaluation import play_episodes, random_policy
from rllib_amagail.games import NULL_ACTION, make_game
from rllib_amagail.recorded_episodes import RecordedGame
from rllib_amagail.recording import episodes_to_demonstrations, record, record_to
from tests.demonstration_samples import assert_same
from tests.test_algorithm import small_config
from tests.toys import HORIZON
from tests.turn_based_toys import Alternating

pytestmark = pytest.mark.usefixtures("ray_session")
GAME = "deterministic_cooperative_navigation"


def game_config(**imitation: object) -> AMAGAILConfig:
    return (
        AMAGAILConfig()
        .environment(GAME, env_config={"horizon": 6})
        .env_runners(num_envs_per_env_runner=4)
        .training(train_batch_size_per_learner=24, minibatch_size=None, num_epochs=1)
        .rl_module(model_config={"fcnet_hiddens": [8]})
        .imitation(**{"reward_source": "environment"} | imitation)
        .debugging(seed=0, log_level="ERROR")
    )


@pytest.fixture(scope="module")
def algorithm() -> AMAGAIL:
    built = game_config().build_algo()
    yield built
    built.stop()


def test_recordings_hold_every_round_and_phi_for_absentees(algorithm: AMAGAIL) -> None:
    demonstrations = record(algorithm, 3, seed=1)
    assert demonstrations.num_episodes == 3
    assert demonstrations.game == GAME
    assert demonstrations.player_function == make_game(GAME).player_function.to_dict()
    assert demonstrations.provenance["algorithm"] == "AMAGAIL"
    # The pattern of three rounds: all, #1 and #2, #1 alone.
    expected = {"agent_1": [1, 1, 1], "agent_2": [1, 1, 0], "agent_3": [1, 0, 0]}
    for agent, pattern in expected.items():
        recorded = demonstrations.records[agent]
        assert recorded.round.tolist() == list(range(6)) * 3
        assert recorded.participates.tolist() == [bool(p) for p in pattern * 6]
        assert (recorded.reward[~recorded.participates] == 0).all()


def test_a_recording_replays_in_the_game(algorithm: AMAGAIL) -> None:
    """Recorded actions, played from the recorded first state, meet the recorded observations."""
    demonstrations = record(algorithm, 1, seed=1)
    records = [demonstrations.records[agent] for agent in demonstrations.agents]
    game = make_game(GAME, horizon=6)
    state = game.get_state()
    first = {r.agent: r.observation[0] for r in records}
    # Observations are relative; put the first agent into the origin.
    me = first["agent_1"]
    positions = np.concatenate([[[0, 0]], me[8:12].reshape(2, 2), me[2:8].reshape(3, 2)])
    game.set_state(state | {"positions": positions[None], "velocities": np.zeros((1, 3, 2))})
    for t in range(6):
        for r in records:
            seen = game.observations()[r.agent][0]
            np.testing.assert_allclose(seen, r.observation[t], atol=1e-5)
        result = game.step(np.array([[r.action[t] for r in records]]))
        rewards = [r.reward[t] for r in records]
        np.testing.assert_allclose(result.rewards[0], rewards, atol=1e-5)


def test_the_same_seed_records_the_same_episodes(algorithm: AMAGAIL) -> None:
    once, again, other = (record(algorithm, 2, seed=seed) for seed in (1, 1, 2))
    for agent in once.agents:
        np.testing.assert_array_equal(once.records[agent].action, again.records[agent].action)
    assert any(
        not np.array_equal(once.records[a].observation, other.records[a].observation)
        for a in once.agents
    )


def test_recordings_come_from_checkpoints_and_train(
    algorithm: AMAGAIL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    algorithm.save_to_path(str(tmp_path / "checkpoint"))
    monkeypatch.chdir(tmp_path)
    record("checkpoint", 8).save(tmp_path / "z.parquet")
    assert Demonstrations.load(tmp_path / "z.parquet").num_episodes == 8
    config = game_config(
        reward_source="discriminator", demonstrations=tmp_path / "z.parquet", bc_steps=5
    )
    learner = config.build_algo()
    assert np.isfinite(learner.train()["learners"]["agent_1"]["discriminator_loss"])
    learner.stop()


def test_stock_ppo_is_recorded_too() -> None:
    config = (
        PPOConfig()
        .environment(GAME, env_config={"horizon": 6})
        .multi_agent(
            policies={"agent_1", "agent_2", "agent_3"},
            policy_mapping_fn=lambda agent, episode, **kw: agent,
        )
        .env_runners(num_env_runners=0)
    )
    stock = config.build_algo()
    demonstrations = record(stock, 2)
    stock.stop()
    assert [r.num_turns for r in demonstrations.records.values()] == [12, 8, 4]


def test_policies_that_choose_phi_are_not_recorded() -> None:
    magail = small_config().imitation(phi="chosen").build_algo()
    with pytest.raises(DemonstrationsError, match="choose phi themselves"):
        record(magail, 1)
    magail.stop()


def test_box_actions_are_recorded_as_played() -> None:
    built = small_config(kind="box").build_algo()
    demonstrations = record(built, 4)
    built.stop()
    actions = demonstrations.records["agent_1"].action
    assert np.abs(actions).max() <= 1.0
    assert (np.abs(actions) == 1.0).any()  # clipped: an untrained Gaussian reaches the bounds


def test_no_episodes_are_no_recording(algorithm: AMAGAIL) -> None:
    with pytest.raises(ValueError, match="expected >= 1"):
        record(algorithm, 0)


def test_chunks_are_not_recorded() -> None:
    built = small_config().build_algo()
    chunks = built.env_runner.sample(num_timesteps=16 * (HORIZON // 2))
    env = built.env_runner.env.envs[0].unwrapped
    game = RecordedGame.of(env, built.config, {})
    built.stop()
    with pytest.raises(DemonstrationsError, match="chunk"):
        episodes_to_demonstrations(game, chunks)


def test_long_recordings_are_kept_in_parts(algorithm: AMAGAIL, tmp_path: Path) -> None:
    told: list[int] = []

    def progress(num_recorded: int) -> None:
        told.append(num_recorded)
        assert Demonstrations.load(tmp_path / "z").num_episodes > 0
        if num_recorded == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_to(tmp_path / "z", algorithm, 5, seed=1, progress=progress)
    assert told == [1, 2, 3]
    assert_same(Demonstrations.load(tmp_path / "z"), record(algorithm, 3, seed=1))


def test_learned_policies_play_the_batched_game(algorithm: AMAGAIL) -> None:
    played = play_episodes(GAME, policies_of(algorithm), 5, seed=0, horizon=6)
    assert played.actions.shape == (5, 6, 3)
    assert played.participation[0].sum(axis=0).tolist() == [6, 4, 2]
    assert (played.rewards[~played.participation] == 0).all()


def test_a_policy_that_means_phi_stands_still() -> None:
    agents = make_game(GAME).agents

    def phi(observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.full(len(observations), 5)

    def null(observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.full(len(observations), NULL_ACTION)

    chosen = play_episodes(GAME, dict.fromkeys(agents, phi), 3, seed=0)
    still = play_episodes(GAME, dict.fromkeys(agents, null), 3, seed=0)
    np.testing.assert_array_equal(chosen.rewards, still.rewards)


def test_a_missing_policy_is_named() -> None:
    with pytest.raises(ValueError, match="agent_3"):
        play_episodes(GAME, dict.fromkeys(["agent_1", "agent_2"], random_policy), 1, seed=0)


def test_exports_hold_weights_and_what_is_needed_to_use_them(tmp_path: Path) -> None:
    built = small_config().build_algo()
    built.train()
    written = export_learned(built, tmp_path)
    weights = built.learner_group.get_state()["learner"]["rl_module"]
    built.stop()
    names = {str(path.relative_to(tmp_path)) for path in written}
    assert names == {f"{kind}/agent_{i}.json" for kind in ("policies", "rewards") for i in (1, 2)}
    reward = json.loads((tmp_path / "rewards" / "agent_1.json").read_text())
    assert reward["model"]["reward_form"] == "gail"
    assert reward["action_space"]["n"] == 3
    stored = load_file(tmp_path / "rewards" / reward["weights"])
    for name, array in weights["agent_1_discriminator"].items():
        np.testing.assert_array_equal(stored[name], array)


@pytest.mark.parametrize("past_turns", [0, 2])
@pytest.mark.parametrize(
    ("name", "options"), [("leduc_holdem", {}), ("openspiel", {"game": "leduc_poker"})]
)
def test_games_of_turns_are_recorded_with_phi(name: str, options: dict, past_turns: int) -> None:
    config = game_config().environment(name).history(past_turns=past_turns)
    config.env_config = options  # environment() would keep the horizon
    players = config.build_algo()
    recorded = record(players, 5, seed=0)
    players.stop()
    first, second = (recorded.records[agent] for agent in recorded.agents)
    # Both are seen in every round, and one acts.
    assert first.round.tolist() == second.round.tolist()
    assert (first.participates ^ second.participates).all()
    assert first.reward.sum() == -second.reward.sum() != 0.0


def test_games_that_hide_who_waits_are_recorded_by_turns() -> None:
    tune.register_env("alternating", lambda options: TurnBasedEnv(Alternating(end=5)))
    players = game_config().environment("alternating").build_algo()
    recorded = record(players, 2, seed=0)
    players.stop()
    assert recorded.records["x"].round.tolist() == [0, 2, 4] * 2
    assert recorded.records["y"].round.tolist() == [1, 3] * 2
