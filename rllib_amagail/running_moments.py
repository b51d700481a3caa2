"""Scales that follow the data."""

from __future__ import annotations

import numpy as np


class RunningMoments:
    """Mean and standard deviation of all numbers seen so far (Chan, Golub and LeVeque 1979)."""

    def __init__(self) -> None:
        self.count = 0.0
        self.mean = 0.0
        self.squares = 0.0  # sum of squared deviations from the mean

    def update(self, numbers: np.ndarray) -> None:
        """Take in ``[T]`` finite numbers, T >= 1."""
        count, mean = len(numbers), float(numbers.mean(dtype=np.float64))
        squares = float(np.square(numbers - mean, dtype=np.float64).sum())
        shift, total = mean - self.mean, self.count + count
        self.squares += squares + shift**2 * self.count * count / total
        self.mean += shift * count / total
        self.count = total

    @property
    def deviation(self) -> float:
        """Standard deviation; 1 while all numbers were equal."""
        variance = self.squares / self.count if self.count else 0.0
        return float(np.sqrt(variance)) if variance > 1e-12 else 1.0

    def standardise(self, numbers: np.ndarray) -> np.ndarray:
        """``[T]`` float32, of mean 0 and deviation 1 if they are like those seen."""
        return ((numbers - self.mean) / self.deviation).astype(np.float32)

    def get_state(self) -> dict[str, float]:
        """What `set_state` needs."""
        return {"count": self.count, "mean": self.mean, "squares": self.squares}

    def set_state(self, state: dict[str, float]) -> None:
        """Go on from a saved state."""
        self.count, self.mean, self.squares = state["count"], state["mean"], state["squares"]
