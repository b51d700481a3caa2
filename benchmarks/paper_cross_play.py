"""Table 1: adversaries that one method learned chase the agent that another one learned."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from paper_cells import ALL_METHODS, COMPETITIVE_GAME, Cell
from paper_results import JsonLines
from paper_settings import EVALUATION_SEED, scale_of, settings_hash
from paper_statistics import stratified_interval
from paper_study import (
    MISSING,
    PAPER_NAMES,
    Findings,
    Study,
    markdown_table,
    paper_numbers,
)
from paper_trial import policies_folder

from rllib_amagail.evaluation import play_episodes
from rllib_amagail.games import make_game
from rllib_amagail.learned_policy import load_policy

_METHOD_OF = {name: method for method, name in PAPER_NAMES.items()}


@dataclass(frozen=True)
class Match:
    """Adversaries against agent; both learned from the same episodes of the same seed."""

    adversaries: str
    agent: str
    demonstrations: int
    seed: int

    def cells(self) -> tuple[Cell, Cell]:
        """Those of the adversaries and of the agent."""
        adversaries, agent = (
            Cell(COMPETITIVE_GAME, method, self.demonstrations, self.seed)
            for method in (self.adversaries, self.agent)
        )
        return adversaries, agent


class CrossPlay:
    """The good agent's returns of all pairs of methods, at the most demonstrations.

    Args:
        study: whose policies play.
        findings: its finished cells.
    """

    def __init__(self, study: Study, findings: Findings) -> None:
        self._study, self._findings = study, findings
        self._stored = JsonLines(study.matches)
        self.demonstrations = max(findings.counts)
        seeds = sorted({cell.seed for cell in findings.cells})
        matches = [
            Match(adversaries, agent, self.demonstrations, seed)
            for seed in seeds
            for adversaries, agent in product(ALL_METHODS, repeat=2)
        ]
        self._possible = [m for m in matches if all(c in findings.lines for c in m.cells())]
        self._found = self._read()

    def _settings(self, match: Match) -> list[str]:
        return [settings_hash(self._findings.lines[c]["settings"]) for c in match.cells()]

    def _read(self) -> dict[Match, float]:
        lines = {
            (
                Match(line["adversaries"], line["agent"], line["demonstrations"], line["seed"]),
                tuple(line["settings"]),
            ): line["score"]
            for line in self._stored.read()
        }
        keys = {match: (match, tuple(self._settings(match))) for match in self._possible}
        return {match: lines[key] for match, key in keys.items() if key in lines}

    def play_missing(self, shown: Callable[[list[Match]], Iterable[Match]]) -> None:
        """Play and keep the pairs whose policies are there and that did not play yet.

        Args:
            shown: goes through them and shows how far it is.
        """
        missing = [
            match
            for match in self._possible
            if match not in self._found and all(path.is_dir() for path in self._folders(match))
        ]
        for match in shown(missing) if missing else ():
            line = play(match, self._folders(match), self._study.lengths.episodes)
            self._stored.append(line | {"settings": self._settings(match)})
            self._found[match] = line["score"]

    def _folders(self, match: Match) -> list[Path]:
        return [
            policies_folder(self._study.work, cell, settings) / "policies"
            for cell, settings in zip(match.cells(), self._settings(match), strict=True)
        ]

    def returns(self, adversaries: str, agent: str) -> np.ndarray:
        """``[S]`` mean returns of the good agent, one per seed that is there."""
        return np.array(
            [
                score
                for match, score in self._found.items()
                if (match.adversaries, match.agent) == (adversaries, agent)
            ]
        )

    def mean(self, adversaries: str, agent: str) -> float | None:
        """Over seeds; None without any."""
        returns = self.returns(adversaries, agent)
        return float(returns.mean()) if len(returns) else None

    def table(self) -> str:
        """All pairs: mean over seeds and its bootstrap interval."""
        rows = [["adversaries \\ agent", *ALL_METHODS]]
        for adversaries in ALL_METHODS:
            row = [adversaries]
            row += [_with_interval(self.returns(adversaries, agent)) for agent in ALL_METHODS]
            rows.append(row)
        return markdown_table(rows)

    def table_beside_paper(self) -> str:
        """The paper's five pairs, with its numbers."""
        rows = [["agent", "adversaries", "ours", "paper"]]
        for entry in paper_numbers()["cross_play"]["rows"]:
            adversaries, agent = _METHOD_OF[entry["adversaries"]], _METHOD_OF[entry["agent"]]
            ours = _with_interval(self.returns(adversaries, agent))
            rows.append([agent, adversaries, ours, "{:.1f} ± {:.1f}".format(*entry["return"])])
        return markdown_table(rows)


def play(match: Match, folders: list[Path], episodes: int) -> dict[str, Any]:
    """One match as a line of results, settings excepted.

    Args:
        match: who plays.
        folders: the exported policies of the adversaries and of the agent.
        episodes: E.
    """
    good = set(scale_of(COMPETITIVE_GAME).scored_agents)
    policies = {
        name: load_policy(folders[name in good] / f"{name}.json")
        for name in make_game(COMPETITIVE_GAME).agents
    }
    returns = play_episodes(COMPETITIVE_GAME, policies, episodes, EVALUATION_SEED).returns()
    scores = scale_of(COMPETITIVE_GAME).score(returns)
    return {
        "adversaries": match.adversaries,
        "agent": match.agent,
        "demonstrations": match.demonstrations,
        "seed": match.seed,
        "score": round(float(scores.mean()), 4),
        "score_std": round(float(scores.std()), 4),
        "episodes": episodes,
    }


def _with_interval(values: np.ndarray) -> str:
    if not len(values):
        return MISSING
    low, high = stratified_interval(
        [values], np.random.default_rng(0), lambda drawn: drawn.mean(axis=-1)
    )
    return f"{values.mean():.1f} ({low:.1f} to {high:.1f})"
