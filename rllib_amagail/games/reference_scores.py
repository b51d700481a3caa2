"""What random and expert players score, so that a score can be read as a share of the way.

The numbers are measured, never typed: `examples/make_experts.py` writes the file.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parent.parent / "data" / "reference_scores.json"


@dataclass(frozen=True)
class ReferenceScores:
    """The two ends of a game's scale.

    Attributes:
        random: mean true score when the scored agents play uniformly at random and the others are
            experts.
        expert: mean true score of the experts that recorded the bundled demonstrations.
        scored_agents: whose returns are averaged. All of a cooperative game. In predator-prey the
            good agent's, which both sides move (the paper's table 1 does the same): the average
            of two sides would hide that one of them plays badly. Learned adversaries that are
            weaker than the experts raise it, above 1 even.
    """

    random: float
    expert: float
    scored_agents: tuple[str, ...]

    def score(self, returns: Mapping[str, Any]) -> Any:
        """Mean of the scored agents' returns, numbers or arrays of episodes."""
        return sum(returns[agent] for agent in self.scored_agents) / len(self.scored_agents)

    def normalised(self, score: float) -> float:
        """0 for random players, 1 for the experts (paper, appendix C.2)."""
        return (score - self.random) / (self.expert - self.random)


def reference_scores(game: str) -> ReferenceScores | None:
    """The measured scale of a game; None where there is none."""
    entry = _load().get(game)
    return None if entry is None else ReferenceScores(**entry)


@cache
def _load() -> dict[str, dict]:
    if not _FILE.is_file():
        return {}
    entries = json.loads(_FILE.read_text())["games"]
    return {
        name: {
            "random": entry["random"]["score"],
            "expert": entry["expert"]["score"],
            "scored_agents": tuple(entry["scored_agents"]),
        }
        for name, entry in entries.items()
    }
