"""PettingZoo loops that are recorded by wrapping the environment, and nothing else."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete
from pettingzoo import AECEnv
from pettingzoo.classic import tictactoe_v3
from pettingzoo.test import api_test, parallel_api_test

from rllib_amagail.demonstrations import (
    DemonstrationRecorder,
    Demonstrations,
    DemonstrationsError,
)
from rllib_amagail.demonstrations.recorded_envs import (
    RecordedParallelEnv,
    record_aec,
    record_parallel,
)
from rllib_amagail.games import make_game
from rllib_amagail.games.pettingzoo import ParallelGame
from tests.turn_based_toys import TERMINATED, TRUNCATED, ParallelToy


def play_toy(env: Any, rounds: int = 99) -> None:
    """One episode; everybody does what the round is, up to 2."""
    env.reset()
    for t in range(rounds):
        if not env.agents:
            break
        env.step({agent: min(t, 2) for agent in env.agents})


def columns(demonstrations: Demonstrations, agent: str) -> list[list]:
    """Rounds, first features, actions and rewards."""
    record = demonstrations.records[agent]
    assert record.action is not None
    assert record.reward is not None
    arrays = (record.round, record.observation[:, 0], record.action, record.reward)
    return [array.tolist() for array in arrays]


class TestParallel:
    def test_every_round_until_death_is_recorded(self, tmp_path: Path) -> None:
        toy = ParallelToy(endings={"a": (0, TERMINATED), "b": (1, TRUNCATED)}, horizon=4)
        with record_parallel(toy, tmp_path / "z", game="toy") as env:
            play_toy(env)
            play_toy(env)
        recorded = Demonstrations.load(tmp_path / "z")
        assert recorded.game == "toy"
        assert recorded.provenance == {"recorded_in": "parallel_toy"}
        assert recorded.num_episodes == 2
        first = recorded.head(1)
        assert columns(first, "a") == [[0], [0], [0], [1]]
        assert columns(first, "b") == [[0, 1], [0, 1], [0, 1], [1, 2]]
        assert columns(first, "c") == [[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 2], [1, 2, 4, 8]]

    def test_infos_tell_who_participates(self, tmp_path: Path) -> None:
        name = "deterministic_cooperative_navigation"
        with record_parallel(ParallelGame(name, horizon=4), tmp_path / "z") as env:
            env.reset(seed=0)
            while env.agents:
                env.step(dict.fromkeys(env.agents, 1))
        recorded = Demonstrations.load(tmp_path / "z")
        participation = make_game(name).player_function.to_dict()["pattern"]
        for index, agent in enumerate(recorded.agents):
            record = recorded.records[agent]
            assert record.round.tolist() == [0, 1, 2, 3]
            expected = [bool(participation[t % len(participation)][index]) for t in range(4)]
            assert record.participates.tolist() == expected
            assert record.action is not None
            assert record.action.tolist() == [int(acts) for acts in expected]

    def test_agents_without_an_action_are_phi(self, tmp_path: Path) -> None:
        class Lenient(ParallelToy):
            def step(self, actions: Any) -> Any:
                return super().step({agent: actions.get(agent) or 0 for agent in self.agents})

        with record_parallel(Lenient(horizon=1), tmp_path / "z") as env:
            env.reset()
            env.step({"a": 2, "b": None})
        recorded = Demonstrations.load(tmp_path / "z")
        turns = {agent: record.num_turns for agent, record in recorded.records.items()}
        assert turns == {"a": 1, "b": 0, "c": 0}
        assert columns(recorded, "b") == [[0], [0], [0], [1]]

    def test_masks_in_observations(self, tmp_path: Path) -> None:
        toy = ParallelToy(mask=lambda t: [1, t != 0, t != 1], horizon=3)
        with record_parallel(toy, tmp_path / "z") as env:
            env.reset()
            for action in (2, 1, 2):
                env.step(dict.fromkeys(env.agents, action))
        recorded = Demonstrations.load(tmp_path / "z")
        record = recorded.records["b"]
        assert record.action_mask is not None
        assert record.action_mask.astype(int).tolist() == [[1, 0, 1], [1, 1, 0], [1, 1, 1]]
        assert recorded.observation_spaces["b"] == toy.observation_space("b")

    def test_masks_in_infos_become_part_of_the_observation(self, tmp_path: Path) -> None:
        class Masked(ParallelToy):
            """Tells masks of the first rounds only, and none to c."""

            def reset(self, seed: Any = None, options: Any = None) -> Any:
                observations, infos = super().reset(seed, options)
                self.mask = np.array([0, 1, 1], np.int8)
                infos["a"]["action_mask"] = infos["b"]["action_mask"] = self.mask
                return observations, infos

            def step(self, actions: Any) -> Any:
                self.mask[:] = 0  # an environment may use its arrays again
                return super().step(actions)

        with record_parallel(Masked(horizon=2), tmp_path / "z") as env:
            env.reset()
            env.step(dict.fromkeys(env.agents, 1))
            env.step(dict.fromkeys(env.agents, 0))
        recorded = Demonstrations.load(tmp_path / "z")
        space = recorded.observation_spaces["c"]
        assert isinstance(space, Dict)
        assert list(space.spaces) == ["action_mask", "observation"]
        masks = {agent: recorded.records[agent].action_mask for agent in "abc"}
        assert masks["a"].astype(int).tolist() == [[0, 1, 1], [1, 1, 1]]
        assert masks["c"].all()
        assert recorded.records["a"].observation.tolist() == [[0], [1]]

    def test_arrays_that_the_environment_uses_again_are_copied(self, tmp_path: Path) -> None:
        class Reusing(ParallelToy):
            place = np.zeros(1, np.float32)

            def _observe(self) -> Any:
                self.place[:] = len(self.executed)
                return dict.fromkeys(self.agents, self.place)

        with record_parallel(Reusing(horizon=3), tmp_path / "z") as env:
            play_toy(env)
        assert columns(Demonstrations.load(tmp_path / "z"), "a")[1] == [0, 1, 2]

    def test_an_interrupted_loop_keeps_whole_episodes(self, tmp_path: Path) -> None:
        env = record_parallel(ParallelToy(horizon=2), tmp_path / "z")

        def play() -> None:
            with env:
                play_toy(env)
                play_toy(env)
                play_toy(env, rounds=1)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            play()
        assert Demonstrations.load(tmp_path / "z").num_episodes == 2

    def test_reset_in_the_middle_drops_the_episode_and_says_so(self, tmp_path: Path) -> None:
        with record_parallel(ParallelToy(horizon=2), tmp_path / "z") as env:
            play_toy(env, rounds=1)
            with pytest.warns(UserWarning, match="in the middle of an episode"):
                play_toy(env)
            play_toy(env, rounds=1)
            env.recorder.end_episode()
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                env.reset()
                env.reset()  # nothing was played
        lengths = Demonstrations.load(tmp_path / "z").episode_lengths()
        assert lengths.tolist() == [2, 1]

    def test_a_recorder_of_ones_own(self, tmp_path: Path) -> None:
        toy = ParallelToy(horizon=1)
        spaces = [{a: get(a) for a in "abc"} for get in (toy.observation_space, toy.action_space)]
        recorder = DemonstrationRecorder(tmp_path / "z", "abc", *spaces)
        with pytest.raises(TypeError, match="settings"):
            record_parallel(toy, recorder, game="toy")
        with record_parallel(toy, recorder) as env:
            play_toy(env)
        with pytest.raises(DemonstrationsError, match="closed"):
            recorder.begin_episode()
        assert Demonstrations.load(tmp_path / "z").num_episodes == 1

    @pytest.mark.filterwarnings("ignore")
    def test_it_is_still_a_parallel_environment(self, tmp_path: Path) -> None:
        name = "synchronous_cooperative_navigation"
        with record_parallel(ParallelGame(name, horizon=5), tmp_path / "z") as env:
            parallel_api_test(env, num_cycles=30)
        assert set(Demonstrations.load(tmp_path / "z").episode_lengths()) == {5}


class Relay(AECEnv):
    """Agents a and b in turns; everybody alive earns 2**t in turn t. a dies after two turns.

    Args:
        drawn: every observation is another number, as of a noisy sensor.
    """

    metadata: ClassVar[dict[str, Any]] = {"name": "relay"}

    def __init__(self, drawn: bool = False) -> None:
        super().__init__()
        self.possible_agents = ["a", "b"]
        self.drawn = drawn
        self.looks = 0

    def observation_space(self, agent: str) -> Box:
        return Box(0, 100, (1,))

    def action_space(self, agent: str) -> Discrete:
        return Discrete(9)

    def reset(self, seed: Any = None, options: Any = None) -> None:
        self.agents = ["a", "b"]
        self.t = 0
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos: dict[str, dict] = {agent: {} for agent in self.agents}
        self.agent_selection = "a"

    def observe(self, agent: str) -> np.ndarray:
        self.looks += 1
        return np.array([self.looks if self.drawn else self.t], np.float32)

    def step(self, action: Any) -> None:
        selected = self.agent_selection
        if self.terminations[selected] or self.truncations[selected]:
            self._was_dead_step(action)
            return
        self._cumulative_rewards[selected] = 0.0
        self.rewards = dict.fromkeys(self.agents, 2.0**self.t)
        self.t += 1
        self._accumulate_rewards()
        self.agent_selection = "b" if selected == "a" or "a" not in self.agents else "a"
        if self.t == 3:
            self.terminations["a"] = True
            self._skip_agent_selection = None
            self._deads_step_first()
        if self.t == 5:
            self.truncations["b"] = True


def relay_columns(recorded: Demonstrations) -> dict[str, list[list]]:
    return {agent: columns(recorded, agent) for agent in "ab"}


class TestTurns:
    def test_the_selected_agent_acts_and_the_others_are_phi(self, tmp_path: Path) -> None:
        with record_aec(Relay(), tmp_path / "z") as env:
            env.reset()
            steps = 0
            for _ in env.agent_iter():
                _, _, terminated, truncated, _ = env.last()
                env.step(None if terminated or truncated else steps + 1)
                steps += 1
        recorded = Demonstrations.load(tmp_path / "z")
        # Turns of a, b, a; a's dead step; b, b; b's dead step.
        assert steps == 7
        assert columns(recorded, "a") == [[0, 1, 2], [0, 1, 2], [1, 0, 3], [1, 2, 4]]
        assert recorded.records["a"].participates.tolist() == [True, False, True]
        rounds = [0, 1, 2, 3, 4]
        assert columns(recorded, "b") == [rounds, rounds, [0, 2, 0, 5, 6], [1, 2, 4, 8, 16]]

    def test_what_an_agent_saw_is_recorded_not_what_it_would_see_again(
        self, tmp_path: Path
    ) -> None:
        seen: list[float] = []
        with record_aec(Relay(drawn=True), tmp_path / "z") as env:
            env.reset()
            for _ in env.agent_iter():
                observation, _, terminated, truncated, _ = env.last()
                if not (terminated or truncated):
                    seen.append(float(observation[0]))
                env.step(None if terminated or truncated else 0)
        recorded = Demonstrations.load(tmp_path / "z")
        turns = [recorded.records[agent].turns() for agent in "ab"]
        found = {int(t): x[0] for r in turns for t, x in zip(r.round, r.observation, strict=True)}
        assert [found[t] for t in range(5)] == seen

    def test_a_board_game(self, tmp_path: Path) -> None:
        moves = [0, 1, 3, 4, 6]  # the first column wins
        with record_aec(tictactoe_v3.env(), tmp_path / "z") as env:
            env.reset()
            for move in moves:
                assert env.last()[0]["action_mask"][move]
                env.step(move)
            # The loop stops at the end of the game, without the last steps of dead agents.
        recorded = Demonstrations.load(tmp_path / "z")
        assert recorded.agents == ("player_1", "player_2")
        turns = [recorded.records[agent].turns() for agent in recorded.agents]
        assert [turn.round.tolist() for turn in turns] == [[0, 2, 4], [1, 3]]
        assert [turn.action.tolist() for turn in turns] == [[0, 3, 6], [1, 4]]
        assert turns[0].action_mask[1].astype(int).tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 1]
        assert recorded.scores().tolist() == [0]  # one wins what the other loses
        assert turns[0].reward.tolist() == [0, 0, 1]

    @pytest.mark.filterwarnings("ignore")
    def test_it_is_still_an_environment_of_turns(self, tmp_path: Path) -> None:
        with record_aec(tictactoe_v3.env(), tmp_path / "z") as env:
            api_test(env, num_cycles=40)
        assert Demonstrations.load(tmp_path / "z").num_episodes >= 1


def test_rounds_before_the_first_reset_are_not_recorded(tmp_path: Path) -> None:
    toy = ParallelToy(horizon=3)
    toy.reset()
    env = record_parallel(toy, tmp_path / "z")
    assert isinstance(env, RecordedParallelEnv)
    env.step(dict.fromkeys("abc", 0))
    play_toy(env)
    env.close()
    assert Demonstrations.load(tmp_path / "z").episode_lengths().tolist() == [3]
