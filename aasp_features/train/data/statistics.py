"""Mean and standard deviation of values that come in pieces, in one pass."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

AT_ONCE = 1 << 23  # values that are brought to float64 together


@dataclass
class RunningStatistics:
    """Of all values fed so far. Pieces, and the statistics of parts, add up to those of the whole, in any order.

    Sums of squares are kept about the mean and merged by the formula of Chan, Golub and LeVeque (1983), so that
    nothing cancels however far the mean lies from zero.

    Attributes:
        count: of the values.
        mean: of them; 0 where there are none.
        squares: sum of their squared distances from the mean.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @property
    def std(self) -> float:
        """Standard deviation (of the values themselves, not an estimate from a sample); at least 1e-6."""
        return math.sqrt(max(self.squares / max(self.count, 1), 1e-12))

    def add(self, values: Tensor) -> None:
        """Feed a piece of any shape and floating type."""
        for part in torch.split(values.reshape(-1), AT_ONCE):
            exact = part.double()
            mean = exact.mean().item()
            self.merge(RunningStatistics(len(exact), mean, (exact - mean).square().sum().item()))

    def merge(self, other: RunningStatistics) -> None:
        """Take in what others were fed with, as if it had been fed here."""
        if other.count == 0:
            return
        count = self.count + other.count
        shift = other.mean - self.mean
        self.squares += other.squares + shift**2 * self.count * other.count / count
        self.mean += shift * other.count / count
        self.count = count
