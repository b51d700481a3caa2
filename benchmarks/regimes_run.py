"""One cell: learn, evaluate, say what came out."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from paper_trial import thinned
from regimes_cells import BC_VARIANTS, REGIMES, Cell
from regimes_cloning import cloned_policies
from regimes_reward import reward_correlation
from regimes_settings import EVALUATION_SEED, Lengths, config_of, settings_of

from rllib_amagail import AMAGAIL, Demonstrations
from rllib_amagail.algorithm.policies import policies_of
from rllib_amagail.evaluation import play_episodes, random_policy
from rllib_amagail.experts import expert_policies


def run_cell(cell: Cell, lengths: Lengths) -> dict[str, Any]:
    """Learn as the cell says and evaluate.

    Returns:
        The cell's line of results, machine and commit excepted.
    """
    demonstrations = REGIMES[cell.regime].demonstrations(cell.game, cell.seed)
    turns = [record.num_turns for record in demonstrations.records.values()]
    line = {**cell.to_dict(), "turns_per_agent": round(float(np.mean(turns)), 1)}
    if cell.method in BC_VARIANTS:
        began = time.monotonic()
        policies = cloned_policies(demonstrations, cell.method, cell.seed)
        learned: dict[str, Any] = {"seconds": round(time.monotonic() - began, 2)}
    else:
        policies, learned = _imitate(cell, _as_taught(demonstrations, cell), lengths)
    score = _score(cell.game, policies, REGIMES[cell.regime].horizon, lengths.evaluated_episodes)
    low, high = _scale(cell.game, REGIMES[cell.regime].horizon, lengths.evaluated_episodes)
    return {
        **line,
        "score": round(score, 4),
        "normalised": round((score - low) / (high - low), 5),
        **learned,
        "settings": settings_of(cell, lengths),
    }


def _as_taught(demonstrations: Demonstrations, cell: Cell) -> Demonstrations:
    if cell.method == "observation_alone":
        return demonstrations.without_actions()
    if cell.method == "shuffled_actions":
        return _shuffled(demonstrations, np.random.default_rng(cell.seed))
    return demonstrations


def _shuffled(demonstrations: Demonstrations, rng: np.random.Generator) -> Demonstrations:
    """Every agent's actions in random order: what it saw stays, what it did there is lost."""
    records = {}
    for agent, record in demonstrations.records.items():
        assert record.action is not None
        action = record.action.copy()
        action[record.participates] = rng.permutation(action[record.participates])
        records[agent] = replace(record, action=action)
    return replace(demonstrations, records=records)


def _imitate(
    cell: Cell, demonstrations: Demonstrations, lengths: Lengths
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Policies, and what else the line of results says."""
    config = config_of(cell, lengths).imitation(demonstrations=demonstrations)
    algorithm: AMAGAIL = config.build_algo()
    try:
        began = time.monotonic()
        curve = []
        for _ in range(lengths.iterations):
            result = algorithm.train()
            rounds = result["env_runners"]["num_env_steps_sampled_lifetime"]
            curve.append({"rounds": rounds, "score": round(float(result["score"]), 3)})
        seconds = time.monotonic() - began
        policies = policies_of(algorithm)
        learned: dict[str, Any] = {
            "seconds": round(seconds, 2),
            "rounds": lengths.iterations * config.train_batch_size_per_learner,
            "curve": thinned([point for point in curve if np.isfinite(point["score"])]),
        }
        if config.reward_source == "discriminator":
            learned["reward"] = reward_correlation(
                algorithm, cell.game, policies, lengths.judged_episodes, cell.seed
            )
        return policies, learned
    finally:
        algorithm.stop()
        shutil.rmtree(algorithm.logdir, ignore_errors=True)  # RLlib makes an empty one each time


def _score(game: str, policies: dict[str, Any], horizon: int, episodes: int) -> float:
    played = play_episodes(game, policies, episodes, EVALUATION_SEED, horizon=horizon)
    return float(np.mean(list(played.returns().values())))


@lru_cache(maxsize=16)
def _scale(game: str, horizon: int, episodes: int) -> tuple[float, float]:
    """Scores of random players and of the experts, in the worlds of the evaluation."""
    experts = expert_policies(game)
    at_random = dict.fromkeys(experts, random_policy)
    return _score(game, at_random, horizon, episodes), _score(game, experts, horizon, episodes)
