"""k-nearest-neighbour classifier of frozen vectors."""

from __future__ import annotations

import numpy as np

from aasp_features.train.evaluate.classifier import Examples, Vectors, one_hot
from aasp_features.train.evaluate.metrics import Metric, Scores

NEIGHBOURS = 20
TEMPERATURE = 0.07  # of DINO's k-NN evaluation (Caron et al., arXiv:2104.14294)
SAME = 1e-9  # cosines this close are equal, as for copies of a clip
AT_ONCE = 2**24  # cosines


def nearest_neighbours(
    train: Examples, validation: Examples | None, test: Vectors, classes: int, metric: Metric, k: int = NEIGHBOURS
) -> list[Scores]:
    """Return each class's share in the vote of the k nearest training clips.

    Votes have weight exp(cosine / 0.07). Training clips as near as the k-th vote too, so the order of clips does not
    matter. Arguments are those of ``Classifier``; ``validation`` and ``metric`` are not used.
    """
    near, hot = _unit(train.vectors), one_hot(train.labels, classes).astype(np.float64)
    rows = max(1, AT_ONCE // len(near))
    return [np.concatenate([_shares(test[first : first + rows], near, hot, k) for first in range(0, len(test), rows)])]


def _shares(test: Vectors, near: Vectors, hot: Vectors, k: int) -> Scores:
    cosine = _unit(test) @ near.T
    last = max(0, len(near) - k)
    farthest = np.partition(cosine, last, axis=1)[:, last, None]
    weight = np.exp((cosine - cosine.max(axis=1, keepdims=True)) / TEMPERATURE) * (cosine >= farthest - SAME)
    return np.asarray(weight @ hot / weight.sum(axis=1, keepdims=True))


def _unit(vectors: Vectors) -> Vectors:
    """Scale rows to length 1; zeros stay."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=np.finfo(np.float64).tiny))
