"""Numbers of a classifier that held-out clips choose: the classes' thresholds, and the distance of other sounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from aasp_features.classifier import ClassMeans
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


def class_means(vectors: NDArray[np.float32], task: Task) -> ClassMeans:
    """Return the means of the classes with clips, and the distance that 95 % of held-out clips keep within.

    Clips whose classes their split's training part lacks do not count.
    """
    having = one_hot(task.labels, len(task.classes))
    held = []
    for split in task.splits():
        known = having[split.train].any(axis=0)
        test = split.test[having[split.test][:, known].any(axis=1)]
        held.append(_means(vectors[split.train], having[split.train]).distances(torch.from_numpy(vectors[test])))
    distances = torch.cat(held).numpy()
    most = float(np.quantile(distances, WITHIN, method="higher")) if len(distances) else 2.0
    return _means(vectors, having)._replace(max_distance=most)


def _means(vectors: NDArray[np.float32], having: NDArray[np.bool_]) -> ClassMeans:
    """Return the means of the classes that these clips have."""
    centre = vectors.mean(axis=0, dtype=np.float64)
    means = [(vectors[has].mean(axis=0, dtype=np.float64) - centre) for has in having.T if has.any()]
    centre, table = (np.asarray(part, np.float32) for part in (centre, np.stack(means)))
    return ClassMeans(torch.from_numpy(centre), torch.from_numpy(table), 2.0)


def described(task: Task, result: ProbeResult, labels: Sequence[str], known: ClassMeans | None) -> list[str]:
    """Return sentences on the thresholds and the distance, for reports."""
    thresholds = dict(zip(labels, class_thresholds(task, result, labels), strict=True))
    listed = ", ".join(f"{label} {value:g}" for label, value in list(thresholds.items())[:MAX_LISTED])
    more = ", …" if len(thresholds) > MAX_LISTED else ""
    counts = one_hot(task.labels[result.tested], len(task.classes)).sum(axis=0)
    few = [label for label in labels if counts[task.classes.index(label)] < MIN_CLIPS]
    sentences = [f"Thresholds of events, with the best F1 on the held-out clips: {listed}{more}."]
    if few:
        sentences += [f"{len(few)} classes with under {MIN_CLIPS} held-out clips have {THRESHOLD:g}."]
    if known is not None:
        sentences += [f"{100 * WITHIN:.0f} % of the held-out clips are within a distance of {known.max_distance:.2f}."]
    return [" ".join(sentences)]
