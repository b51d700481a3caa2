"""One cell: learn, evaluate, say what came out. As a trial of Ray Tune, many in one process."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from paper_cells import COMPETITIVE_GAME, Cell
from paper_settings import (
    EVALUATION_SEED,
    RECORDED_EPISODES,
    RECORDING_SEED,
    Lengths,
    scale_of,
    settings_hash,
    settings_of,
)
from ray.tune import Trainable

from rllib_amagail import AMAGAIL, Demonstrations
from rllib_amagail.algorithm.export import export_learned
from rllib_amagail.algorithm.policies import policies_of
from rllib_amagail.evaluation import Policy, play_episodes
from rllib_amagail.experts import expert_demonstrations, expert_policies
from rllib_amagail.games.reference_scores import ReferenceScores

CURVE_POINTS = 25


def record(game: str, work: Path) -> Path:
    """The experts' episodes as a file below ``work``; recorded once for each scale of the game."""
    scale = settings_hash({"random": scale_of(game).random, "expert": scale_of(game).expert})
    path = work / "demonstrations" / f"{game}-{RECORDED_EPISODES}-{RECORDING_SEED}-{scale}.parquet"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        expert_demonstrations(game, RECORDED_EPISODES, seed=RECORDING_SEED).save(path)
    return path


def chosen_episodes(recorded: int, count: int, seed: int) -> np.ndarray:
    """``[count]`` different episodes of those recorded.

    Every seed learns from episodes of its own, so seeds vary the data, too. With one seed, fewer
    episodes are the first of more.

    Raises:
        ValueError: more than were recorded.
    """
    if count > recorded:
        raise ValueError(f"found {recorded} recorded episodes, expected at least {count}")
    return np.random.default_rng(seed).permutation(recorded)[:count]


def policies_folder(work: Path, cell: Cell, settings: str) -> Path:
    """Where the policies of a cell with such a `settings_hash` are kept."""
    return work / "policies" / f"{cell}-{settings}".replace(" ", "-")


def run_cell(cell: Cell, lengths: Lengths, work: Path) -> dict[str, Any]:
    """Learn as the cell says and evaluate.

    Args:
        cell: what to run.
        lengths: how long.
        work: folder of recordings and, in predator-prey, of the learned policies.

    Returns:
        The cell's line of results, machine and commit excepted.
    """
    settings = settings_of(cell, lengths)
    recorded = _load(record(cell.game, work))
    episodes = chosen_episodes(recorded.num_episodes, cell.demonstrations, cell.seed)
    algorithm = settings.config.imitation(demonstrations=recorded.select(episodes)).build_algo()
    try:
        curve, seconds = learn(algorithm, settings.iterations)
        described = settings.to_dict()
        policies, against = policies_of(algorithm), {}
        if cell.game == COMPETITIVE_GAME:
            # For table 1.
            export_learned(algorithm, policies_folder(work, cell, settings_hash(described)))
            against = against_experts(cell.game, policies, settings.episodes)
        return {
            **cell.to_dict(),
            **evaluate(cell.game, policies, scale_of(cell.game), settings.episodes),
            **against,
            "rounds": settings.iterations * algorithm.config.train_batch_size_per_learner,
            "seconds": round(seconds, 2),
            "settings": described,
            "curve": thinned(curve),
        }
    finally:
        algorithm.stop()
        shutil.rmtree(algorithm.logdir, ignore_errors=True)  # RLlib makes an empty one each time


def learn(algorithm: AMAGAIL, iterations: int) -> tuple[list[dict[str, float]], float]:
    """Clone, unless the settings say otherwise, and train.

    Returns:
        The learning curve, and the seconds without building and evaluation.
    """
    began = time.monotonic()
    algorithm.clone_behaviour()
    curve = []
    for _ in range(iterations):
        result = algorithm.train()
        point = {
            "rounds": result["env_runners"]["num_env_steps_sampled_lifetime"],
            "seconds": round(time.monotonic() - began, 2),
            "score": round(float(result["score"]), 4),
        }
        if math.isfinite(point["score"]):  # no episode has ended before
            curve.append(point)
    return curve, time.monotonic() - began


def thinned(curve: list[dict[str, float]]) -> list[dict[str, float]]:
    """At most `CURVE_POINTS` points, evenly spaced, the first and the last among them."""
    if len(curve) <= CURVE_POINTS:
        return curve
    return [curve[i] for i in np.linspace(0, len(curve) - 1, CURVE_POINTS).round().astype(int)]


def evaluate(
    game: str,
    policies: Mapping[str, Policy],
    scale: ReferenceScores,
    episodes: int,
    **options: Any,
) -> dict[str, Any]:
    """What policies score in the worlds that all evaluations share.

    Args:
        game: to play.
        policies: of all agents.
        scale: says whose returns count, and what 0 and 1 are.
        episodes: to play.
        **options: of the game.
    """
    returns = play_episodes(game, policies, episodes, EVALUATION_SEED, **options).returns()
    scores = scale.score(returns)
    return {
        "score": round(float(scores.mean()), 4),
        "score_std": round(float(scores.std()), 4),
        "normalised": round(scale.normalised(float(scores.mean())), 5),
        "returns": {agent: round(float(each.mean()), 4) for agent, each in returns.items()},
    }


def against_experts(
    game: str, policies: Mapping[str, Policy], episodes: int
) -> dict[str, dict[str, float]]:
    """The good agent's return when one side of predator-prey is learned and the other the experts'.

    Args:
        game: predator-prey.
        policies: of all agents.
        episodes: to play.

    Returns:
        Under ``against_experts``: of the learned ``agent`` (more is better) and of the experts'
        agent before the learned ``adversaries`` (less is better).
    """
    experts, scale = expert_policies(game), scale_of(game)
    good = set(scale.scored_agents)
    returns = {}
    for side, own in (("agent", good), ("adversaries", set(experts) - good)):
        mixed = {name: policies[name] if name in own else experts[name] for name in experts}
        returns[side] = evaluate(game, mixed, scale, episodes)["score"]
    return {"against_experts": returns}


@lru_cache(maxsize=4)
def _load(path: Path) -> Demonstrations:
    return Demonstrations.load(path)


class CellTrial(Trainable):
    """One cell is one trial of one step; an actor takes one after the other."""

    def setup(self, config: dict[str, Any]) -> None:
        """Called once in a process."""
        torch.set_num_threads(1)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next cell; torch and Ray are imported already."""
        self._cell = Cell(**new_config["cell"])
        self._lengths = Lengths(**new_config["lengths"])
        self._work = Path(new_config["work"])
        return True

    def step(self) -> dict[str, Any]:
        """The cell's line of results under ``line``."""
        return {"line": run_cell(self._cell, self._lengths, self._work), "done": True}
