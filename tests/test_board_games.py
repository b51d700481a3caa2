"""Board and card games of PettingZoo and OpenSpiel by name."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest

from rllib_amagail import AMAGAILConfig
from rllib_amagail.envs.board_games import BOARD_GAME_NAMES, BoardGame
from rllib_amagail.envs.openspiel import OpenSpielRounds
from rllib_amagail.envs.turn_based_env import TurnBasedEnv
from rllib_amagail.runners.pooled_worlds import PooledEnvRunner
from rllib_amagail.testing import TurnBasedEnvContract


class BoardGameContract(TurnBasedEnvContract):
    num_episodes = 2
    name: str
    options: dict[str, Any] = {}  # noqa: RUF012

    def make_env(self) -> TurnBasedEnv:
        return BoardGame(self.name, self.options)


class TestTicTacToe(BoardGameContract):
    name = "tictactoe"


class TestConnectFour(BoardGameContract):
    name = "connect_four"


class TestLeduc(BoardGameContract):
    name = "leduc_holdem"


class TestTexas(BoardGameContract):
    name = "texas_holdem"


class TestOpenSpielsLeduc(BoardGameContract):
    name = "openspiel"
    options = {"game": "leduc_poker"}  # noqa: RUF012


class TestSimultaneousMoves(BoardGameContract):
    name = "openspiel"
    options = {"game": "goofspiel(num_cards=4)", "phi_is_action": True}  # noqa: RUF012


def test_a_game_of_tictactoe() -> None:
    env = BoardGame("tictactoe", {})
    observations, infos = env.reset(seed=0)
    # player_1 takes the first column: squares 0, 1 and 2 in PettingZoo's numbering.
    for square, player in zip((0, 3, 1, 4, 2), ("player_1", "player_2") * 3, strict=False):
        assert list(observations) == [player]
        assert observations[player]["action_mask"][square] == 1
        observations, rewards, terminateds, _, infos = env.step({player: square})
        assert all(not obs["action_mask"][square] for obs in observations.values())
    assert rewards == {"player_1": 1.0, "player_2": -1.0}
    assert terminateds["__all__"]
    # The loser's last turn was in round 3, the game was decided in round 4.
    assert infos["player_2"]["late_rewards"] == {1: -1.0}
    assert "late_rewards" not in infos["player_1"]


def test_chance_moves_follow_the_seed() -> None:
    def cards(seed: int) -> list[float]:
        env = OpenSpielRounds("leduc_poker")
        first = env.reset(seed=seed)[0]["player_0"]["observation"]
        second = env.reset()[0]["player_0"]["observation"]
        return [*first, *second]

    assert cards(3) == cards(3)
    assert len({tuple(cards(seed)) for seed in range(20)}) > 5


def test_chance_moves_go_on_from_a_state() -> None:
    env, other = OpenSpielRounds("leduc_poker"), OpenSpielRounds("leduc_poker")
    env.reset(seed=0)
    other.set_state(env.get_state())
    for _ in range(5):
        seen, expected = other.reset()[0], env.reset()[0]
        np.testing.assert_array_equal(
            seen["player_0"]["observation"], expected["player_0"]["observation"]
        )


def test_kuhn_poker_pays_the_winner_of_the_bets() -> None:
    env = OpenSpielRounds("kuhn_poker")
    env.reset(seed=0)
    _, rewards, terminateds, _, _ = env.step({"player_0": 1})  # bet
    assert not terminateds["__all__"]
    assert rewards == {"player_0": 0.0, "player_1": 0.0}
    _, rewards, terminateds, _, infos = env.step({"player_1": 0})  # fold: loses its ante
    assert terminateds["__all__"]
    assert rewards == {"player_0": 1.0, "player_1": -1.0}
    assert not any(info["participates"] for info in infos.values())


def test_illegal_moves_are_refused() -> None:
    env = OpenSpielRounds("tic_tac_toe")
    env.reset(seed=0)
    env.step({"player_0": 4})
    with pytest.raises(ValueError, match=r"found 4 for player_1, expected one of its legal"):
        env.step({"player_1": 4})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("openspiel", {}, 'expected OpenSpiel\'s name of a game, such as {"game"'),
        ("openspiel", {"game": "no_such_game"}, "does not load the game 'no_such_game'"),
        ("chess_boxing", {}, "expected one of tictactoe, connect_four"),
    ],
)
def test_unknown_games_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BoardGame(name, options)


@pytest.mark.parametrize("name", BOARD_GAME_NAMES)
def test_a_missing_package_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def without_games(module: str, *args: Any, **kwargs: Any) -> Any:
        if module.split(".")[0] == "pyspiel":
            raise ImportError(f"No module named {module!r}")
        return real_import(module, *args, **kwargs)

    def no_module(module: str) -> Any:
        raise ImportError("No module named 'rlcard'")

    monkeypatch.setattr(builtins, "__import__", without_games)
    monkeypatch.setattr("rllib_amagail.envs.board_games.importlib.import_module", no_module)
    with pytest.raises(ImportError, match=r"\[board_games\]"):
        BoardGame(name, {"game": "leduc_poker"} if name == "openspiel" else {})


@pytest.mark.parametrize("runner", [None, PooledEnvRunner])
@pytest.mark.parametrize("phi", ["filtered", "chosen"])
def test_amagail_imitates_recorded_games(
    runner: type | None, phi: str, ray_session: None, tmp_path: Any
) -> None:
    from pettingzoo.classic import tictactoe_v3

    from rllib_amagail.demonstrations.recorded_envs import record_aec

    rng = np.random.default_rng(0)
    with record_aec(tictactoe_v3.env(), tmp_path / "games") as game:
        for _ in range(12):
            game.reset(seed=0)
            for _ in game.agent_iter():
                observation, _, terminated, truncated, _ = game.last()
                legal = np.flatnonzero(observation["action_mask"])
                game.step(None if terminated or truncated else int(rng.choice(legal)))
    config = (
        AMAGAILConfig()
        .environment("tictactoe")
        .imitation(demonstrations=str(tmp_path / "games"), phi=phi, bc_steps=20)
        .training(train_batch_size_per_learner=120, minibatch_size=60)
        .rl_module(model_config={"fcnet_hiddens": [16]})
        .env_runners(num_envs_per_env_runner=3, env_runner_cls=runner)
        .debugging(seed=0)
    )
    algo = config.build_algo()
    for _ in range(2):
        result = algo.train()
    algo.stop()
    for player in ("player_1", "player_2"):
        learned = result["learners"][player]
        assert np.isfinite(learned["discriminator_loss"])
        assert np.isfinite(learned["reward_mean"])
        if phi == "filtered":  # about every second round of a game is a player's own
            assert 0.3 < learned["phi_share"] < 0.7
