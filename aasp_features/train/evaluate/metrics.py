"""How right predictions are: metrics, in %, and intervals of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.str_]


class Metric(NamedTuple):
    """A metric: what tables call it, and its value in % from the labels and what was predicted."""

    name: str
    score: Callable[[Labels, Labels], float]


def balanced_accuracy(labels: Labels, predicted: Labels) -> float:
    """Mean over the classes present of the share of their clips that were recognised, in %."""
    right = labels == predicted
    return 100.0 * float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


BALANCED_ACCURACY = Metric("balanced accuracy", balanced_accuracy)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The middle 95 % of a statistic's values on resamples."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
