"""What a reset and a step of an RLlib environment give."""

from __future__ import annotations

from typing import Any

# Observations and infos, by agent.
ResetResult = tuple[dict[str, Any], dict[str, dict[str, Any]]]
# Observations, rewards, terminateds, truncateds and infos, by agent.
StepResult = tuple[
    dict[str, Any],
    dict[str, float],
    dict[str, bool],
    dict[str, bool],
    dict[str, dict[str, Any]],
]
