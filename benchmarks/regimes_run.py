"""One cell: learn, evaluate, say what came out."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from paper_settings import scale_of
from paper_trial import evaluate, learn, thinned
from regimes_cells import BC_VARIANTS, REGIMES, Cell
from regimes_cloning import cloned_policies
from regimes_reward import reward_correlation
from regimes_settings import Lengths, config_of, settings_of

from rllib_amagail import AMAGAIL, Demonstrations
from rllib_amagail.algorithm.policies import policies_of
from rllib_amagail.evaluation import random_policy
from rllib_amagail.experts import expert_policies
from rllib_amagail.games.reference_scores import ReferenceScores


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
        policies = cloned_policies(demonstrations, cell.method, config_of(cell, lengths))
        learned: dict[str, Any] = {"seconds": round(time.monotonic() - began, 2)}
    else:
        policies, learned = _imitate(cell, _as_taught(demonstrations, cell), lengths)
    horizon, episodes = REGIMES[cell.regime].horizon, lengths.evaluated_episodes
    scale = _scale(cell.game, horizon, episodes)
    return {
        **line,
        **evaluate(cell.game, policies, scale, episodes, horizon=horizon),
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
        curve, seconds = learn(algorithm, lengths.iterations)
        policies = policies_of(algorithm)
        learned: dict[str, Any] = {
            "seconds": round(seconds, 2),
            "rounds": lengths.iterations * config.train_batch_size_per_learner,
            "curve": thinned(curve),
        }
        if config.reward_source == "discriminator":
            learned["reward"] = reward_correlation(
                algorithm, cell.game, policies, lengths.judged_episodes, cell.seed
            )
        return policies, learned
    finally:
        algorithm.stop()
        shutil.rmtree(algorithm.logdir, ignore_errors=True)  # RLlib makes an empty one each time


@lru_cache(maxsize=16)
def _scale(game: str, horizon: int, episodes: int) -> ReferenceScores:
    """What random players and the experts score in the worlds of the evaluation."""
    experts, shipped = expert_policies(game), scale_of(game)
    random, expert = (
        evaluate(game, players, shipped, episodes, horizon=horizon)["score"]
        for players in (dict.fromkeys(experts, random_policy), experts)
    )
    return replace(shipped, random=random, expert=expert)
