"""Labels and scores, their metrics in %, and intervals."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[Any]  # (clips,) int64 class indices; or (clips, classes) bool for multi-label clips
Scores = NDArray[np.float64]  # (clips, classes), higher is more likely
TIE = 1e-9  # relative difference of scores that rounding can cause


class Metric(NamedTuple):
    """A metric of labels and scores.

    Attributes:
        name: Name in tables.
        value: Function from labels and scores to %.
        resamples: Number of bootstrap resamples of its interval.
        by_class: Whether it is a mean over equally weighted classes.
    """

    name: str
    value: Callable[[Labels, Scores], float]
    resamples: int = 1000
    by_class: bool = False


def accuracy(labels: Labels, scores: Scores) -> float:
    """Return the share of clips whose highest score is their class's; ties as in ``recognised``."""
    return 100.0 * float(recognised(labels, scores).mean())


def balanced_accuracy(labels: Labels, scores: Scores) -> float:
    """Return the mean, over the classes present, of the share of their clips that were recognised."""
    clips, right = np.bincount(labels), np.bincount(labels, recognised(labels, scores))
    return 100.0 * float((right[clips > 0] / clips[clips > 0]).mean())


def recognised(labels: Labels, scores: Scores) -> NDArray[np.float64]:
    """Return 1 where the clip's class has the highest score, 1/n where n classes tie for it, else 0, (clips,)."""
    highest = scores.max(axis=1, keepdims=True)
    tied = scores >= highest - TIE * np.abs(highest)
    return np.asarray(tied[np.arange(len(labels)), labels] / tied.sum(axis=1))


def mean_average_precision(labels: Labels, scores: Scores) -> float:
    """Return scikit-learn's average precision, averaged over the classes with clips."""
    from sklearn.metrics import average_precision_score

    present = labels.any(axis=0)
    return 100.0 * float(average_precision_score(labels[:, present], scores[:, present], average="macro"))


ACCURACY = Metric("accuracy", accuracy)
BALANCED_ACCURACY = Metric("balanced accuracy", balanced_accuracy, by_class=True)
MEAN_AVERAGE_PRECISION = Metric("mAP", mean_average_precision, 100, by_class=True)  # slow, as it sorts


def one_hot(labels: Labels, classes: int) -> NDArray[np.bool_]:
    """Return labels of either form as (clips, classes)."""
    return labels if labels.ndim == 2 else labels[:, None] == np.arange(classes)


@contextmanager
def quiet_scikit_learn() -> Iterator[None]:
    """Hide scikit-learn's warnings of rare and absent classes, which reports mention."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"sklearn\.")
        yield


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the middle 95 % of a statistic's values on resamples."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def exact_interval(value: float, clips: float) -> tuple[float, float]:
    """Return Clopper and Pearson's 95 % interval of a share, in %.

    Args:
        value: Observed share, in %.
        clips: Number of independent clips; need not be an integer.
    """
    from scipy.stats import beta

    right = clips * value / 100
    wrong = clips - right
    low = beta.ppf(0.025, right, wrong + 1) if right > 0 else 0.0
    high = beta.ppf(0.975, right + 1, wrong) if wrong > 1e-9 * clips else 1.0
    return 100 * float(low), 100 * float(high)
