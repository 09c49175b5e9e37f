"""Mean and standard deviation of values that arrive in pieces, in one pass."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

AT_ONCE = 1 << 23  # values converted to float64 together


@dataclass
class RunningStatistics:
    """Statistics of all values added so far, in any order and any division into pieces.

    Squared distances from the mean are merged by the formula of Chan, Golub and LeVeque (1983), which avoids
    cancellation for any mean.

    Attributes:
        count: Number of values.
        mean: Their mean; 0 without values.
        squares: Sum of their squared distances from the mean.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @property
    def std(self) -> float:
        """Standard deviation of the population, at least 1e-6."""
        return math.sqrt(max(self.squares / max(self.count, 1), 1e-12))

    def add(self, values: Tensor) -> None:
        """Add values of any shape and floating dtype."""
        for part in torch.split(values.reshape(-1), AT_ONCE):
            exact = part.double()
            mean = exact.mean().item()
            self.merge(RunningStatistics(len(exact), mean, (exact - mean).square().sum().item()))

    def merge(self, other: RunningStatistics) -> None:
        """Add the values of other statistics."""
        if other.count == 0:
            return
        count = self.count + other.count
        shift = other.mean - self.mean
        self.squares += other.squares + shift**2 * self.count * other.count / count
        self.mean += shift * other.count / count
        self.count = count
