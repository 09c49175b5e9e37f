"""Probabilities that held-out clips choose: the classes' thresholds, and that of ``other``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aasp_features.events import THRESHOLD
from aasp_features.train.evaluate.metrics import one_hot
from aasp_features.train.evaluate.probe import ProbeResult
from aasp_features.train.evaluate.task import Task

GRID = np.linspace(0.1, 0.9, 17)  # thresholds to choose from
MIN_CLIPS = 5  # of a class, to choose its threshold
WITHIN = 0.95  # share of held-out clips that are not ``other``
MAX_LISTED = 20  # classes


def class_thresholds(task: Task, result: ProbeResult, labels: Sequence[str]) -> tuple[float, ...]:
    """Return the threshold of each label with the best F1 on held-out clips, nearest to 0.5; 0.5 under five clips."""
    having, scores = one_hot(task.labels[result.tested], len(task.classes)), np.mean(result.scores, axis=0)
    indices = [task.classes.index(label) for label in labels]
    return tuple(_threshold(having[:, index], scores[:, index]) for index in indices)


def _threshold(having: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> float:
    if having.sum() < MIN_CLIPS:
        return THRESHOLD
    heard = probabilities >= GRID[:, None]
    f1 = 2 * (heard & having).sum(axis=1) / (heard.sum(axis=1) + having.sum())
    best = GRID[f1 == f1.max()]
    return round(float(best[np.abs(best - THRESHOLD).argmin()]), 2)


def least_probability(task: Task, result: ProbeResult) -> float | None:
    """Return what the largest probability of 95 % of held-out clips reaches; None without such clips.

    Clips whose classes their split's training part lacks do not count.
    """
    having, scores = one_hot(task.labels[result.tested], len(task.classes)), np.mean(result.scores, axis=0)
    largest = scores.max(axis=1)[np.where(having, scores, 0).any(axis=1)]
    return float(np.quantile(largest, 1 - WITHIN, method="lower")) if len(largest) else None


def described(task: Task, result: ProbeResult, thresholds: Mapping[str, float], least: float | None) -> list[str]:
    """Return sentences on the labels' thresholds and the least probability, for reports."""
    listed = ", ".join(f"{label} {value:g}" for label, value in list(thresholds.items())[:MAX_LISTED])
    more = ", …" if len(thresholds) > MAX_LISTED else ""
    counts = one_hot(task.labels[result.tested], len(task.classes)).sum(axis=0)
    few = [label for label in thresholds if counts[task.classes.index(label)] < MIN_CLIPS]
    sentences = [f"Thresholds of events, with the best F1 on the held-out clips: {listed}{more}."]
    if few:
        sentences += [f"{len(few)} classes with under {MIN_CLIPS} held-out clips have {THRESHOLD:g}."]
    if least is not None:
        sentences += [f"{100 * WITHIN:.0f} % of the held-out clips have a probability of at least {least:.2f}."]
    return [" ".join(sentences)]
