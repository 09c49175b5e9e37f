"""How right scores are: metrics, in %, and intervals of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[Any]  # (clips,) int64, places in the task's classes; or (clips, classes) bool where a clip has several
Scores = NDArray[np.float64]  # (clips, classes), the higher the likelier
TIE = 1e-9  # relative difference of scores that only rounding makes


class Metric(NamedTuple):
    """A metric: what tables call it, its value in % from labels and scores, and how often its interval resamples."""

    name: str
    value: Callable[[Labels, Scores], float]
    resamples: int = 1000


def accuracy(labels: Labels, scores: Scores) -> float:
    """Share of the clips whose highest score is their class's; ties as of ``recognised``."""
    return 100.0 * float(recognised(labels, scores).mean())


def balanced_accuracy(labels: Labels, scores: Scores) -> float:
    """Mean over the classes present of the share of their clips that were recognised."""
    right = recognised(labels, scores)
    return 100.0 * float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def recognised(labels: Labels, scores: Scores) -> NDArray[np.float64]:
    """(clips,) 1 where the highest score is the clip's class's, 1/n where n classes tie for it, else 0."""
    highest = scores.max(axis=1, keepdims=True)
    tied = scores >= highest - TIE * np.abs(highest)
    return np.asarray(tied[np.arange(len(labels)), labels] / tied.sum(axis=1))


def mean_average_precision(labels: Labels, scores: Scores) -> float:
    """Mean over the classes that any clip has of the area under their precision-recall curve, as scikit-learn's."""
    from sklearn.metrics import average_precision_score

    present = labels.any(axis=0)
    return 100.0 * float(average_precision_score(labels[:, present], scores[:, present], average="macro"))


ACCURACY = Metric("accuracy", accuracy)
BALANCED_ACCURACY = Metric("balanced accuracy", balanced_accuracy)
MEAN_AVERAGE_PRECISION = Metric("mAP", mean_average_precision, resamples=100)  # it sorts every class's scores


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The middle 95 % of a statistic's values on resamples."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
