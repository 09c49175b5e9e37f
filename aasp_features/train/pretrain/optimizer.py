"""Learning rate and teacher momentum as functions of a run's progress (0 at its start, 1 at its end)."""

from __future__ import annotations

import math


def learning_rate(progress: float, peak: float, warm_up: float, hold: float = 0.0) -> float:
    """Linear warm-up over the first ``warm_up`` of the run, ``peak`` until ``hold``, then half a cosine to zero."""
    if progress < warm_up:
        return peak * progress / warm_up
    fall = max(warm_up, hold)
    rest = (min(progress, 1.0) - fall) / (1.0 - fall) if progress > fall else 0.0
    return peak * 0.5 * (1.0 + math.cos(math.pi * rest))


def teacher_momentum(progress: float, start: float, end: float) -> float:
    """From ``start`` to ``end`` along half a cosine."""
    return end - (end - start) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))
