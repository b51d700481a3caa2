"""What `throughput.py` measures, one function a table.

Each gives contenders, warm where it matters. A contender measures once and returns numbers by row
and column; `measure` lets contenders take turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from throughput_contenders import (
    BATCH_SIZE,
    ROUNDS_A_CALL,
    Play,
    bare_play,
    imitation_config,
    many_agents_config,
    play_on,
    rounds_a_second,
    rows_trained,
    runner_play,
    seconds_an_iteration,
    stock_config,
)
from throughput_memory import measure_elsewhere
from throughput_parts import PARTS, STAGES, seconds_by_part
from throughput_report import Section

from rllib_amagail.runners.batched_env_runner import BatchedEnvRunner

Numbers = dict[str, float]  # by column
Contender = Callable[[], dict[str, Numbers]]  # by row
MICRO = 1e6


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    repeats: int
    seconds: float  # that a contender plays or trains in a repeat, at least
    stock_envs: tuple[int, ...]
    worlds: tuple[int, ...]
    agents: tuple[int, ...]
    rows: tuple[int, ...]
    workers: tuple[int, ...]  # runners or learners; 0 is the driver itself
    memory: tuple[int, ...]  # rounds of an iteration whose peak memory is measured


FULL = Plan(
    repeats=5,
    seconds=1.0,
    stock_envs=(1, 20, 64),
    worlds=(1, 4, 16, 64, 256, 1024),
    agents=(3, 6, 12, 24, 48),
    rows=(10_000, 100_000, 1_000_000),
    workers=(0, 1, 2),
    memory=(BATCH_SIZE, 66_000, 660_000),
)
QUICK = Plan(
    repeats=3,
    seconds=0.6,
    stock_envs=(20,),
    worlds=(1, 64, 1024),
    agents=(3, 48),
    rows=(10_000, 50_000),
    workers=(1, 2),
    memory=(BATCH_SIZE,),
)


def measure(section: Section, contenders: Sequence[Contender], repeats: int) -> Iterator[None]:
    """A B C A B C ...: what disturbs the machine for a while disturbs all contenders alike."""
    for _ in range(repeats):
        for contender in contenders:
            for row, numbers in contender().items():
                section.add(row, numbers)
        yield


def rollouts(plan: Plan, section: Section, stack: ExitStack) -> list[Contender]:
    """Rollouts of the runners, episodes and metrics included, and of a bare loop."""
    plays: dict[str, Play] = {}
    for count in (256, 64):
        config = imitation_config(count)
        plays[f"batched runner, {count} worlds"] = runner_play(BatchedEnvRunner, config)
        plays[f"bare loop, {count} worlds"] = bare_play(count)
    try:
        from rllib_amagail.runners.pooled_worlds import PooledEnvRunner
    except ImportError:
        section.note = "There is no single-env batching in this version."
    else:
        plays["single envs batched, 64 envs"] = runner_play(PooledEnvRunner, imitation_config(64))
    for count in plan.stock_envs:
        stock = stock_config(count)
        plays[f"RLlib's runner, {count} envs"] = runner_play(MultiAgentEnvRunner, stock)
    return [_rate(name, play, plan) for name, play in plays.items()]


def iterations(plan: Plan, section: Section, stack: ExitStack) -> list[Contender]:
    """Whole iterations: `train()` of AMAGAIL and of stock PPO."""
    algorithms = {
        "AMAGAIL": _build(imitation_config(), stack),
        "stock PPO": _build(stock_config(), stack),
    }

    def contender(name: str, algorithm: Algorithm) -> Contender:
        algorithm.train()
        return lambda: {name: {"seconds": seconds_an_iteration(algorithm, plan.seconds)}}

    return [contender(name, algorithm) for name, algorithm in algorithms.items()]


def parts(plan: Plan, section: Section, stack: ExitStack) -> list[Contender]:
    """Where the seconds of AMAGAIL's iteration go."""
    algorithm = _build(imitation_config(), stack)
    algorithm.train()

    def shares() -> dict[str, Numbers]:
        _, seconds = seconds_by_part(lambda: seconds_an_iteration(algorithm, plan.seconds), PARTS)
        whole = sum(seconds.values())
        return {part: {"%": 100 * seconds.get(part, 0.0) / whole} for part in PARTS}

    return [shares]


def worlds(plan: Plan, section: Section, stack: ExitStack) -> list[Contender]:
    """Rollouts against B, the number of worlds that are played in step."""

    def contender(num_worlds: int) -> Contender:
        runner = runner_play(BatchedEnvRunner, imitation_config(num_worlds))
        bare = bare_play(num_worlds)
        for play in (runner, bare):
            play()

        def rates() -> dict[str, Numbers]:
            numbers = {
                "batched runner, rounds/s": rounds_a_second(runner, plan.seconds / 2),
                "bare loop, rounds/s": rounds_a_second(bare, plan.seconds / 2),
            }
            return {f"{num_worlds:,}": numbers}

        return rates

    return [contender(number) for number in plan.worlds]


def agents(plan: Plan, section: Section, stack: ExitStack) -> list[Contender]:
    """Cost of a turn against the number of agents, all of one policy."""

    def contender(num_agents: int) -> Contender:
        algorithm = _build(many_agents_config(num_agents), stack)
        play = play_on(algorithm.env_runner, algorithm.config.num_envs_per_env_runner)
        play()
        turns_a_round = num_agents / 2  # each agent participates with a chance of one half

        def costs() -> dict[str, Numbers]:
            rate = rounds_a_second(play, plan.seconds) * turns_a_round
            numbers = {"rollouts, µs a turn": MICRO / rate} | _costs(algorithm, "turn")
            return {str(num_agents): numbers}

        return costs

    return [contender(number) for number in plan.agents]


def rows(plan: Plan, section: Section, stack: ExitStack) -> list[Contender]:
    """Cost of a row against the rows of an iteration: 1.5 turns of 3 agents in a round."""

    def contender(num_rows: int) -> Contender:
        algorithm = _build(imitation_config(batch_size=num_rows * 2 // 3), stack)
        return lambda: {f"{num_rows:,}": _costs(algorithm, "row")}

    return [contender(number) for number in plan.rows]


def runners(plan: Plan, section: Section, stack: ExitStack) -> list[Contender]:
    """Rollouts of remote runners, until their episodes are in the driver; those of none are local.

    Runners that a contender has no use for sleep meanwhile.
    """
    num_worlds = 256
    rounds = num_worlds * ROUNDS_A_CALL
    config = imitation_config(num_worlds).env_runners(num_env_runners=max(plan.workers))
    group = _build(config, stack).env_runner_group

    def sample(runner: Any) -> Any:
        return runner.sample(num_timesteps=rounds), runner.get_metrics()

    def contender(number: int) -> Contender:
        if number == 0:
            play = runner_play(BatchedEnvRunner, imitation_config(num_worlds))
            return _rate("0 (the driver itself)", play, plan)
        chosen = list(range(1, number + 1))

        def play_remotely() -> int:
            group.foreach_env_runner(sample, remote_worker_ids=chosen, local_env_runner=False)
            return number * rounds

        return _rate(str(number), play_remotely, plan)

    return [contender(number) for number in plan.workers]


def learners(plan: Plan, section: Section, stack: ExitStack) -> list[Contender]:
    """Iterations of the same batch in all, shared by learners."""

    def contender(number: int) -> Contender:
        config = imitation_config(batch_size=BATCH_SIZE // max(1, number))
        algorithm = _build(config.learners(num_learners=number), stack)
        algorithm.train()

        def durations() -> dict[str, Numbers]:
            _, seconds = seconds_by_part(algorithm.train, STAGES)
            whole = sum(seconds.values())
            numbers = {"update, seconds": seconds["update"], "iteration, seconds": whole}
            return {str(number) if number else "0 (the driver itself)": numbers}

        return durations

    return [contender(number) for number in plan.workers]


def memory(plan: Plan, section: Section, stack: ExitStack) -> list[Contender]:
    """Peak memory of the process that trains; measured once, for it hardly varies."""
    runs = {"stock PPO, 3,200 rounds": ("ppo", BATCH_SIZE)}
    for rounds in plan.memory:
        runs[f"AMAGAIL, {rounds:,} rounds"] = ("amagail", rounds)
    for row, values in measure_elsewhere(runs).items():
        section.add(row, values)
    return []


def _rate(row: str, play: Play, plan: Plan) -> Contender:
    play()
    return lambda: {row: {"rounds/s": rounds_a_second(play, plan.seconds)}}


def _build(config: AlgorithmConfig, stack: ExitStack) -> Algorithm:
    algorithm = config.build_algo()
    stack.callback(algorithm.stop)
    return algorithm


def _costs(algorithm: Algorithm, of: str) -> dict[str, float]:
    """Microseconds a row of an iteration's update and of all of it."""
    result, seconds = seconds_by_part(algorithm.train, STAGES)
    scale: float = MICRO / rows_trained(result)
    whole = sum(seconds.values())
    return {f"update, µs a {of}": seconds["update"] * scale, f"iteration, µs a {of}": whole * scale}


Measure = Callable[[Plan, Section, ExitStack], list[Contender]]
# Key in the JSON, title and heading of the rows. What has a target comes first.
SECTIONS: tuple[tuple[Measure, str, str], ...] = (
    (rollouts, "Rollouts, episodes included", "contender"),
    (iterations, "A whole iteration: 3,200 rounds, 4 epochs, minibatches of 400", "contender"),
    (parts, "Parts of an AMAGAIL iteration of 3,200 rounds, 64 worlds", "part"),
    (agents, "Cost against agents: one policy, true reward, 64 worlds, 1,600 rounds", "agents"),
    (rows, "Cost against rows of an iteration, 64 worlds", "rows"),
    (worlds, "Rollouts against worlds", "worlds"),
    (runners, "Rollouts of remote runners, 256 worlds and 12,800 rounds each", "runners"),
    (learners, "Iterations of 3,200 rounds, shared by remote learners", "learners"),
    (memory, "Peak memory of the training process, two iterations", "contender"),
)


def new_sections() -> list[tuple[Measure, Section]]:
    """Empty tables and what fills them, in order."""
    return [(fill, Section(fill.__name__, title, row)) for fill, title, row in SECTIONS]
