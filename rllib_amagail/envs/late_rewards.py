"""Rewards that reach an agent between its turns, with their rounds.

RLlib adds up what an agent earns until it is observed again and credits the sum to its last action.
To discount by rounds, learners need to know when what was earned.
"""

from __future__ import annotations

from collections.abc import Mapping

LATE_REWARDS = "late_rewards"  # in the info of the observation that follows


class LateRewards:
    """Keeps what agents earn while they wait, until they are observed again."""

    def __init__(self) -> None:
        self._turns: dict[str, int] = {}
        self._earned: dict[str, dict[int, float]] = {}

    def reset(self) -> None:
        """Forget all: an episode begins."""
        self._turns.clear()
        self._earned.clear()

    def acted(self, agent: str, round_: int) -> None:
        """The agent had a turn in this round."""
        self._turns[agent] = round_
        self._earned[agent] = {}

    def paid(self, agent: str, round_: int, reward: float) -> None:
        """The agent, who waits, earned a reward; before its first turn nobody is credited."""
        if reward and agent in self._turns:
            self._earned[agent][round_ - self._turns[agent]] = reward

    def of(self, agent: str) -> dict[int, float]:
        """Rounds after the agent's last turn, and what it earned then."""
        return dict(self._earned.get(agent, {}))


def discounted_difference(late: Mapping[int, float], gamma: float) -> float:
    """Sum of ``gamma**rounds * reward`` minus the plain sum of the rewards.

    Args:
        late: rounds after the turn, and what was earned then.
        gamma: the discount of a round.
    """
    return sum((gamma**rounds - 1.0) * reward for rounds, reward in late.items())
