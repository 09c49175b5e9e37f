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
    """A metric of labels and scores.

    Attributes:
        name: what tables call it.
        value: labels and scores -> %.
        resamples: how often its interval resamples.
        by_class: is it a mean over classes, each of which counts alike?
    """

    name: str
    value: Callable[[Labels, Scores], float]
    resamples: int = 1000
    by_class: bool = False


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
BALANCED_ACCURACY = Metric("balanced accuracy", balanced_accuracy, by_class=True)
MEAN_AVERAGE_PRECISION = Metric("mAP", mean_average_precision, 100, by_class=True)  # it sorts every class's scores


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The middle 95 % of a statistic's values on resamples."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def exact_interval(value: float, clips: float) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a share, in %.

    Args:
        value: the share that was found, in %.
        clips: independent ones that it was found on; need not be whole.
    """
    from scipy.stats import beta

    right = clips * value / 100
    wrong = clips - right
    low = beta.ppf(0.025, right, wrong + 1) if right > 0 else 0.0
    high = beta.ppf(0.975, right + 1, wrong) if wrong > 1e-9 * clips else 1.0
    return 100 * float(low), 100 * float(high)
