"""Timings of several sides in one process, their rounds interleaved, so that a busy machine disturbs all alike."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Timing(NamedTuple):
    """Median seconds of a side, and the median and quartiles of its ratio to the first side, round by round."""

    seconds: float
    ratio: float
    low: float
    high: float

    @property
    def relative(self) -> str:
        """Ratio and quartiles."""
        return f"{self.ratio:.2f} ({self.low:.2f}–{self.high:.2f})"

    def __str__(self) -> str:
        return f"{1000 * self.seconds:.1f} ms | {self.relative}"


def interleave(
    sides: Mapping[str, Callable[[], object]], rounds: int = 15, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Timing]:
    """Run every side once a round in random order, after one round that is not counted."""
    order = list(sides)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    shuffle = random.Random(0)
    for side in sides.values():
        side()
    for _ in range(rounds):
        shuffle.shuffle(order)
        for name in order:
            began = clock()
            sides[name]()
            seconds[name].append(clock() - began)
    first = seconds[next(iter(sides))]
    result = {}
    for name, values in seconds.items():
        ratios = [value / base for value, base in zip(values, first, strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4) if rounds > 1 else ratios * 3
        result[name] = Timing(statistics.median(values), statistics.median(ratios), low, high)
    return result
