"""Can a linear model read the labels off frozen vectors?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aasp_features.train.evaluate.metrics import Labels, Metric

Floats = NDArray[np.float64]
C_GRID = (0.01, 0.1, 1.0, 10.0)


def linear_classifier(train: Floats, labels: Labels, groups: NDArray[np.str_], test: Floats, metric: Metric) -> Labels:
    """Logistic regression; C from 0.01, 0.1, 1, 10 by a stratified, grouped 2-fold inside the training part.

    Args:
        train: (clips, d) standardised.
        labels, groups: (clips,) of them.
        test: (others, d) to predict.
        metric: by which C is chosen.

    Returns:
        (others,) labels.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    train, test = rotate(train, test)
    splits = list(StratifiedGroupKFold(2, shuffle=True, random_state=0).split(train, labels, groups))
    means = []
    for c in C_GRID:
        scores = []
        for rest, held in splits:
            fitted = LogisticRegression(C=c, max_iter=2000).fit(train[rest], labels[rest])
            scores.append(metric.score(labels[held], fitted.predict(train[held])))
        means.append(np.mean(scores))
    best = C_GRID[int(np.argmax(means))]
    return np.asarray(LogisticRegression(C=best, max_iter=2000).fit(train, labels).predict(test))


def rotate(train: Floats, test: Floats) -> tuple[Floats, Floats]:
    """Coordinates in the space that the training rows span.

    Exact for L2-penalised linear models: their weights lie in that space, and a rotation changes no penalty. With
    fewer clips than dimensions it makes the fit several times as fast.
    """
    if train.shape[0] >= train.shape[1]:
        return train, test
    _, _, axes = np.linalg.svd(train, full_matrices=False)
    return train @ axes.T, test @ axes.T
