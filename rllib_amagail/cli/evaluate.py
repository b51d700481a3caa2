"""``rllib evaluate``: play episodes with a checkpoint's policies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import (
    COMPONENT_ENV_TO_MODULE_CONNECTOR,
    COMPONENT_MODULE_TO_ENV_CONNECTOR,
    COMPONENT_RL_MODULE,
)
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from rllib_amagail.algorithm.config import AMAGAILConfig
from rllib_amagail.algorithm.env_check import inspect_environment
from rllib_amagail.algorithm.scores import normalised, scale_name, score
from rllib_amagail.cli.animation import record_episode, save_gif
from rllib_amagail.cli.errors import RUN_FAILED, CommandError, one_line
from rllib_amagail.cli.experiment import absolute
from rllib_amagail.cli.names import find_algorithm, find_environment
from rllib_amagail.cli.plan import apply_settings
from rllib_amagail.cli.session import ray_session

DEFAULT_EPISODES = 10
# Ray's logical cores. Loading a checkpoint starts the remote runners and learners of its config;
# they stay idle, so they need not have a core each.
_LOGICAL_CPUS = 256


@dataclass(frozen=True)
class EvaluateOptions:
    """What the command line says.

    Attributes:
        checkpoint: a checkpoint folder of an RLlib algorithm.
        algo: its algorithm, if it shall be checked.
        env: another environment than the checkpoint's.
        episodes: how many whole episodes to play. None: as `steps` says.
        steps: rounds to play, all environments together; only whole episodes count.
        render: a GIF to write of one more episode. "": named after the environment.
        out: a JSON file to write.
        seed: of environments and actions.
        config: settings to change.
        verbosity: how many -v.
    """

    checkpoint: str
    algo: str | None
    env: str | None
    episodes: int | None
    steps: int | None
    render: str | None
    out: str | None
    seed: int | None
    config: Mapping[str, Any]
    verbosity: int


@dataclass(frozen=True)
class Evaluation:
    """True returns of E episodes.

    Attributes:
        environment: its name.
        returns: agent to ``[E]`` sums of its rewards; 0 where it took no part.
        scale: the game whose scale applies, see `scale_name`.
    """

    environment: str
    returns: Mapping[str, np.ndarray]
    scale: str

    def scores(self) -> np.ndarray:
        """``[E]`` scores of the episodes, see `rllib_amagail.algorithm.scores`."""
        rows = zip(*self.returns.values(), strict=True)
        episodes = [dict(zip(self.returns, row, strict=True)) for row in rows]
        return np.array([score(episode, self.scale) for episode in episodes])

    def normalised_score(self) -> float | None:
        """Of the mean score."""
        return normalised(float(self.scores().mean()), self.scale)

    def table(self) -> str:
        """Means and standard deviations over episodes."""
        rows = {agent: _mean_and_std(values) for agent, values in self.returns.items()}
        rows["score"] = _mean_and_std(self.scores())
        width = max(map(len, rows)) + 2
        lines = [f"{'':<{width}}{'mean':>10} ± std over {len(self.scores())} episodes"]
        lines += [f"{name:<{width}}{mean:>10.2f} ± {std:.2f}" for name, (mean, std) in rows.items()]
        if (relative := self.normalised_score()) is not None:
            lines.append(f"normalised score (random 0, expert 1): {relative:.3f}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """As plain types for JSON, with the return of every episode."""
        agents = {
            agent: _summary(values) | {"returns": values.tolist()}
            for agent, values in self.returns.items()
        }
        return {
            "environment": self.environment,
            "episodes": len(self.scores()),
            "agents": agents,
            "score": _summary(self.scores()),
            "normalised_score": self.normalised_score(),
        }


def evaluate(options: EvaluateOptions) -> int:
    """Play, print a table, and write the files that were asked for.

    Raises:
        CommandError: a checkpoint that cannot be loaded, settings or an environment that do not
            go with it, or no episode that ended.
    """
    checkpoint = _checkpoint_folder(options.checkpoint)
    expected = find_algorithm(options.algo) if options.algo else None
    env = find_environment(options.env) if options.env else None
    with ray_session(num_cpus=_LOGICAL_CPUS, verbosity=options.verbosity):
        try:
            algorithm = Algorithm.from_checkpoint(checkpoint)
        except Exception as error:
            raise CommandError(f"{checkpoint} cannot be loaded: {one_line(error)}") from error
        try:
            if expected is not None and type(algorithm) is not expected:
                found = type(algorithm).__name__
                raise CommandError(f"{checkpoint} is of {found}, not of {options.algo}")
            config = _config(algorithm.config, env, options)
            result = _play(algorithm, config, options)
            print(result.table(), flush=True)
            _write_files(algorithm, config, result, options)
        finally:
            algorithm.stop()
    return 0


def _checkpoint_folder(given: str) -> str:
    path = absolute(given)
    if "://" in path or (Path(path) / Algorithm.CLASS_AND_CTOR_ARGS_FILE_NAME).is_file():
        return path
    inside = sorted(Path(path).glob("**/checkpoint_*"))
    hint = f"; did you mean {inside[-1]}?" if inside else ""
    raise CommandError(f"{path} is not the checkpoint folder of an RLlib algorithm{hint}")


def _config(
    trained: AlgorithmConfig, env: str | type | None, options: EvaluateOptions
) -> AlgorithmConfig:
    config = trained.copy(copy_frozen=False)
    config.env_runners(num_env_runners=0)
    if options.episodes is not None:
        side_by_side = min(options.episodes, config.num_envs_per_env_runner)
        config.env_runners(num_envs_per_env_runner=side_by_side)
    if env is not None:
        config.environment(env)
    config.debugging(seed=options.seed)
    apply_settings(config, options.config)
    return config


def _make_runner(
    algorithm: Algorithm, config: AlgorithmConfig, runner_class: type[EnvRunner]
) -> EnvRunner:
    """A local runner with the algorithm's policies and connectors."""
    parts = [
        COMPONENT_RL_MODULE,
        COMPONENT_ENV_TO_MODULE_CONNECTOR,
        COMPONENT_MODULE_TO_ENV_CONNECTOR,
    ]
    try:
        if isinstance(config, AMAGAILConfig):
            inspect_environment(config, config.phi)  # whose errors are clearer than the runner's
        runner = runner_class(config=config)
        runner.set_state(algorithm.env_runner.get_state(components=parts))
    except Exception as error:
        raise CommandError(
            f"the checkpoint cannot play {_env_name(config)}: {one_line(error)}"
        ) from error
    return runner


def _play(algorithm: Algorithm, config: AlgorithmConfig, options: EvaluateOptions) -> Evaluation:
    runner = _make_runner(algorithm, config, type(algorithm.env_runner))
    try:
        if options.steps is None:
            episodes = runner.sample(num_episodes=options.episodes)
        else:
            episodes = runner.sample(num_timesteps=options.steps, force_reset=True)
    except Exception as error:
        raise CommandError(f"playing failed: {one_line(error)}", RUN_FAILED) from error
    finally:
        runner.stop()
    returns = episode_returns(episodes)[: options.episodes]
    if not returns:
        raise CommandError(f"no episode ended within {options.steps} steps; play more")
    agents = sorted(set().union(*returns))
    table = {agent: np.array([one.get(agent, 0.0) for one in returns]) for agent in agents}
    return Evaluation(_env_name(config), table, scale_name(config.env, config.env_config))


def episode_returns(
    episodes: Sequence[MultiAgentEpisode | SingleAgentEpisode],
) -> list[dict[str, float]]:
    """Agent to return, of each episode that ended.

    Args:
        episodes: multi-agent episodes; or those of single agents, of which all with one
            ``multi_agent_episode_id`` belong together.
    """
    returns: dict[str, dict[str, float]] = {}
    unfinished = set()
    for episode in episodes:
        if isinstance(episode, MultiAgentEpisode):
            whole, parts = episode.id_, list(episode.agent_episodes.values())
        else:
            whole, parts = episode.multi_agent_episode_id or episode.id_, [episode]
        if not episode.is_done:
            unfinished.add(whole)
        sums = returns.setdefault(whole, {})
        for part in parts:
            agent = "agent" if part.agent_id is None else str(part.agent_id)
            sums[agent] = sums.get(agent, 0.0) + float(part.get_return())
    return [sums for whole, sums in returns.items() if whole not in unfinished]


def _write_files(
    algorithm: Algorithm, config: AlgorithmConfig, result: Evaluation, options: EvaluateOptions
) -> None:
    if options.out is not None:
        origin = {"checkpoint": options.checkpoint, "seed": options.seed, "explore": config.explore}
        text = json.dumps(origin | result.to_dict(), indent=2)
        Path(options.out).write_text(text + "\n", encoding="utf-8")
        print(f"Wrote {options.out}")
    if options.render is not None:
        path = options.render or f"{_env_name(config)}.gif"
        # One that steps environments one by one: pictures are taken between the steps.
        kind = MultiAgentEnvRunner if config.is_multi_agent else type(algorithm.env_runner)
        frames = record_episode(config, lambda changed: _make_runner(algorithm, changed, kind))
        save_gif(frames, path)
        print(f"Wrote {path}")


def _env_name(config: AlgorithmConfig) -> str:
    return config.env.__name__ if isinstance(config.env, type) else str(config.env)


def _mean_and_std(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std())


def _summary(values: np.ndarray) -> dict[str, Any]:
    mean, std = _mean_and_std(values)
    return {"mean": mean, "std": std}
