"""What random and expert players score, so that a score can be read as a share of the way.

The numbers are measured, never typed: `examples/make_experts.py` writes the file.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FILE = Path(__file__).parent.parent / "data" / "reference_scores.json"


@dataclass(frozen=True)
class ReferenceScores:
    """The two ends of a game's scale: mean true scores, returns averaged over agents.

    Attributes:
        random: of uniformly random players.
        expert: of the experts that recorded the bundled demonstrations.
    """

    random: float
    expert: float

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
        name: {"random": entry["random"]["score"], "expert": entry["expert"]["score"]}
        for name, entry in entries.items()
    }
