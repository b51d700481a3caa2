"""The throughput benchmark counts what it says, on tiny sizes; its quick form is a slow test.

The page of experts names their origin.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner

from rllib_amagail.games import ParticleGame, make_game
from rllib_amagail.runners.batched_env_runner import BatchedEnvRunner

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # scripts, in no package
contenders = importlib.import_module("throughput_contenders")
experts = importlib.import_module("experts")
parts = importlib.import_module("throughput_parts")
report = importlib.import_module("throughput_report")
sections = importlib.import_module("throughput_sections")
throughput = importlib.import_module("throughput")

TINY = sections.Plan(
    repeats=1,
    seconds=0.0,  # one call
    stock_envs=(1,),
    worlds=(2,),
    agents=(3,),
    rows=(600,),
    workers=(0,),
    memory=(),
)


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def test_experts_of_another_origin_are_told() -> None:
    games = {"first": {"trained_by": "somebody"}, "second": {}}
    assert "- first: somebody" in experts.origin_lines(games)
    assert not any("second" in line for line in experts.origin_lines(games))


class TestPartTimer:
    def test_seconds_count_for_the_innermost_part(self) -> None:
        clock = Clock()
        timer = parts.PartTimer(clock)
        step = timer.timed("step", lambda: clock.wait(3))
        log = timer.timed("log", lambda: clock.wait(1))

        def loop() -> None:
            clock.wait(2)
            step()
            log()
            step()

        timer.timed("loop", loop)()
        timer.timed("loop", loop)()
        assert timer.seconds == {"step": 12, "log": 2, "loop": 4}
        assert sum(timer.seconds.values()) == clock.now

    def test_a_call_that_raises_counts_and_is_closed(self) -> None:
        clock = Clock()
        timer = parts.PartTimer(clock)

        def fail() -> None:
            clock.wait(5)
            raise KeyError

        def outer() -> None:
            with pytest.raises(KeyError):
                timer.timed("failing", fail)()
            clock.wait(1)

        timer.timed("outer", outer)()
        assert timer.seconds == {"failing": 5, "outer": 1}

    def test_it_watches_for_a_while_only(self) -> None:
        clock = Clock()

        class Game:
            def step(self, seconds: float) -> float:
                clock.wait(seconds)
                return 2 * seconds

        timer, before = parts.PartTimer(clock), Game.step
        with timer.watching({"environment": ((Game, "step"),)}):
            assert Game().step(4) == 8
        assert Game.step is before
        Game().step(16)
        assert timer.seconds == {"environment": 4}

    def test_all_functions_that_it_is_to_watch_exist(self) -> None:
        for points in (parts.PARTS, parts.STAGES):
            with parts.PartTimer().watching(points):
                pass
        assert set(parts.OVERHEAD) < set(parts.PARTS)


def played(call: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> int:
    """Rounds of worlds that the games really play in a call."""
    rounds = 0
    step = ParticleGame.step

    def counting(game: ParticleGame, actions: Any) -> Any:
        nonlocal rounds
        rounds += game.batch_size
        return step(game, actions)

    with monkeypatch.context() as patch:
        patch.setattr(ParticleGame, "step", counting)
        call()
    return rounds


class TestContenders:
    @pytest.mark.parametrize(
        ("runner_class", "config"),
        [
            (BatchedEnvRunner, contenders.imitation_config(num_worlds=4)),
            (MultiAgentEnvRunner, contenders.stock_config(num_envs=4)),
        ],
    )
    @pytest.mark.usefixtures("ray_session")
    def test_runners_play_the_rounds_they_are_credited_with(
        self, runner_class: type, config: AlgorithmConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        play = contenders.runner_play(runner_class, config)
        credited: list[int] = []
        assert played(lambda: credited.append(play()), monkeypatch) == credited[0] == 200

    def test_so_does_the_bare_loop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        play = contenders.bare_play(num_worlds=4)
        for _ in range(2):  # the second call begins with new episodes
            assert played(play, monkeypatch) == 200
        assert play() == 200

    def test_stock_ppo_learns_as_much_from_as_much_with_the_same_nets(self) -> None:
        ours, stock = contenders.imitation_config(), contenders.stock_config()
        for name in (
            "total_train_batch_size",
            "num_epochs",
            "minibatch_size",
            "lr",
            "model_config",
        ):
            assert getattr(ours, name) == getattr(stock, name), name
        game = make_game(contenders.GAME)
        spaces = {a: (game.observation_spaces[a], game.action_spaces[a]) for a in game.agents}
        ours.validate()
        shapes = [
            {
                name: weights.shape
                for name, weights in config.get_multi_rl_module_spec(spaces=spaces)
                .build()["agent_2"]
                .get_state()
                .items()
            }
            for config in (ours, stock)
        ]
        assert shapes[0] == shapes[1]
        # Two nets, each of two hidden layers and an output layer.
        layers = [shape for shape in shapes[0].values() if len(shape) == 2]
        assert sorted(layers) == [(1, 128), (5, 128), *[(128, 12)] * 2, *[(128, 128)] * 2]

    def test_rates_are_rounds_by_seconds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock()
        monkeypatch.setattr(contenders.time, "perf_counter", clock)

        def play() -> int:
            clock.wait(0.5)
            return 100

        assert contenders.rounds_a_second(play, seconds=1.2) == 200
        assert clock.now == 1.5


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(
    ("name", "expected_rows"),
    [
        ("parts", set(parts.PARTS)),
        ("agents", {"3"}),
        ("rows", {"600"}),
        ("worlds", {"2"}),
        ("runners", {"0 (the driver itself)"}),
        ("learners", {"0 (the driver itself)"}),
    ],
)
def test_sections_on_tiny_sizes(name: str, expected_rows: set[str]) -> None:
    fill, section = next(pair for pair in sections.new_sections() if pair[1].name == name)
    with ExitStack() as stack:
        for _ in sections.measure(section, fill(TINY, section, stack), TINY.repeats):
            pass
    assert set(section.samples) == expected_rows
    values = [v for row in section.samples.values() for v in row.values()]
    assert all(len(repeats) == 1 and repeats[0] > 0 for repeats in values)
    if name == "parts":
        assert sum(repeats[0] for repeats in values) == pytest.approx(100)


def section_of(name: str, column: str, samples: dict[str, list[float]]) -> Any:
    section = report.Section(name, f"About {name}", "row")
    section.samples = {row: {column: values} for row, values in samples.items()}
    return section


class TestReport:
    def test_ratios_are_medians_of_the_repeats_ratios(self) -> None:
        rollouts = {
            "batched runner, 256 worlds": [200.0, 300.0, 100.0],
            "RLlib's runner, 20 envs": [10.0, 10.0, 20.0],  # 20, 30 and 5 times
            "bare loop, 256 worlds": [400.0, 400.0, 400.0],
        }
        assert report.ratios([section_of("rollouts", "rounds/s", rollouts)]) == {
            "rollouts_vs_stock": 20,
            "rollouts_vs_bare": 0.5,
        }
        # An interrupted repeat has its first contenders only.
        iterations = {"AMAGAIL": [0.5, 0.25, 0.1], "stock PPO": [3.0, 2.0]}
        assert report.ratios([section_of("iterations", "seconds", iterations)]) == {
            "iteration_vs_stock": 7
        }

    def test_overhead_is_what_is_neither_environment_nor_forward_nor_gradient(self) -> None:
        shares = dict(zip(parts.PARTS, ([v] for v in (4, 8, 3, 1, 30, 43, 2, 9)), strict=True))
        assert report.ratios([section_of("parts", "%", shares)]) == {
            "overhead_share": pytest.approx(0.15)  # episodes, batch, sync and rest
        }

    def test_cost_ratios_compare_the_last_size_with_the_first(self) -> None:
        costs = {"3": [50.0, 40.0], "12": [1.0, 1.0], "48": [75.0, 80.0]}
        found = report.ratios([section_of("agents", "iteration, µs a turn", costs)])
        assert found == {"turn_cost_most_agents": 1.75}

    @pytest.mark.parametrize(
        ("name", "found", "verdict"),
        [
            ("rollouts_vs_stock", 20.0, ">= 20: yes"),
            ("rollouts_vs_stock", 19.9, ">= 20: NO"),
            ("overhead_share", 0.25, "<= 0.25: yes"),
            ("overhead_share", 0.26, "<= 0.25: NO"),
        ],
    )
    def test_targets(self, name: str, found: float, verdict: str) -> None:
        assert report.TARGETS[name].verdict(found) == verdict

    def test_tables_show_medians_and_spread(self) -> None:
        section = section_of("rollouts", "rounds/s", {"ours": [1000.0, 5000.0, 2000.0]})
        section.add("theirs", {"seconds": 0.51234})
        assert section.table() == [
            ["row", "rounds/s", "seconds"],
            ["ours", "2,000 (1,000 to 5,000)", ""],
            ["theirs", "", "0.512"],
        ]
        header = {"machine": "m", "commit": "c", "command": "x", "repeats": 3, "seconds": 7.0}
        text = report.to_markdown({**header, "complete": False}, [section])
        assert "| ours | 2,000 (1,000 to 5,000) |  |" in text
        assert "m; commit c; 3 repeats, 7 s in all, interrupted." in text


class TestRun:
    @pytest.fixture
    def made(self, tmp_path: Path) -> Any:
        return throughput.Report(tmp_path / "new" / "a.json", tmp_path / "a.md", "x", repeats=1)

    def read(self, tmp_path: Path) -> dict[str, Any]:
        return json.loads((tmp_path / "new" / "a.json").read_text())

    def test_an_interrupted_run_keeps_what_it_has(self, made: Any, tmp_path: Path) -> None:
        def fill(plan: Any, section: Any, stack: ExitStack) -> list[Any]:
            def interrupt() -> dict[str, dict[str, float]]:
                raise KeyboardInterrupt

            return [lambda: {"AMAGAIL": {"seconds": 0.5}}, interrupt]

        section = report.Section("iterations", "Iterations", "contender")
        assert not throughput.run(TINY, [(fill, section)], made)
        written = self.read(tmp_path)
        assert written["complete"] is False
        assert written["sections"]["iterations"]["rows"] == [
            {"row": "AMAGAIL", "median": {"seconds": 0.5}, "repeats": {"seconds": [0.5]}}
        ]
        assert "| AMAGAIL | 0.5 |" in (tmp_path / "a.md").read_text()

    def test_contenders_take_turns(self, made: Any, tmp_path: Path) -> None:
        turns: list[str] = []

        def contender(name: str) -> Callable[[], dict[str, dict[str, float]]]:
            def measure_once() -> dict[str, dict[str, float]]:
                turns.append(name)
                return {name: {"n": float(len(turns))}}

            return measure_once

        def fill(plan: Any, section: Any, stack: ExitStack) -> list[Any]:
            stack.callback(turns.append, "stopped")
            return [contender("A"), contender("B")]

        section = report.Section("s", "S", "row")
        assert throughput.run(replace(TINY, repeats=2), [(fill, section)], made)
        assert turns == ["A", "B", "A", "B", "stopped"]
        assert section.samples == {"A": {"n": [1.0, 3.0]}, "B": {"n": [2.0, 4.0]}}
        assert self.read(tmp_path)["complete"] is True

    def test_sections_after_the_deadline_are_left_out(self, made: Any, tmp_path: Path) -> None:
        def fill(plan: Any, section: Any, stack: ExitStack) -> list[Any]:
            raise AssertionError("too late")

        section = report.Section("s", "S", "row")
        assert throughput.run(TINY, [(fill, section)], made, deadline=-1.0)
        assert "time was up" in self.read(tmp_path)["sections"]["s"]["note"]


@pytest.mark.slow
def test_the_quick_run_finds_all_ratios(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "throughput.py"), "--quick"]
    command += ["--json", str(tmp_path / "found.json"), "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["complete"]
    assert set(found["ratios"]) == set(report.TARGETS)
    assert all(ratio > 0 for ratio in found["ratios"].values())
    assert "Rollouts, episodes included" in (tmp_path / "throughput_quick.md").read_text()
