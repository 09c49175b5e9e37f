"""The quick probes: can a linear model, or the nearest neighbours, read the labels off frozen vectors?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aasp_features.train.evaluate.tasks import FOLDS, Task

Floats = NDArray[np.float64]
Labels = NDArray[np.str_]
Classifier = Callable[[Floats, Labels, NDArray[np.str_], Floats], Labels]

C_GRID = (0.01, 0.1, 1.0, 10.0)
NEIGHBOURS = 5
RESAMPLES = 1000
FEW_GROUPS = 20


@dataclass(frozen=True)
class ProbeResult:
    """Balanced accuracy in %: mean over held-out folds, each fold, a 95 % interval, and the predictions behind it."""

    score: float
    folds: list[float]
    interval: tuple[float, float]
    tested: NDArray[np.int64]
    predicted: Labels


def probe(
    features: NDArray[np.float32], task: Task, classifier: Classifier, folds: Sequence[int] = FOLDS
) -> ProbeResult:
    """Hold out each fold in turn, train on the others.

    Args:
        features: (clips, d), one row for each of the task's files.
        task: labels, groups and folds.
        classifier: ``linear_classifier`` or ``nearest_neighbours``.
        folds: used at all; the clips of other folds are neither trained nor tested on (for selections).

    Returns:
        The interval is a bootstrap (1,000 resamples, seeded) over groups, or over clips if there are under 20 groups,
        of the balanced accuracy of all held-out predictions together.
    """
    used = np.isin(task.folds, folds)
    tested, predicted, scores = [], [], []
    for fold in folds:
        train, test = used & (task.folds != fold), task.folds == fold
        train_features, test_features = standardise(features[train], features[test])
        guess = classifier(train_features, task.labels[train], task.groups[train], test_features)
        scores.append(balanced_accuracy(task.labels[test], guess))
        tested.append(np.flatnonzero(test))
        predicted.append(guess)
    places, guesses = np.concatenate(tested), np.concatenate(predicted)
    interval = bootstrap_interval(
        task, places, lambda chosen: balanced_accuracy(task.labels[places][chosen], guesses[chosen])
    )
    return ProbeResult(float(np.mean(scores)), scores, interval, places, guesses)


def linear_classifier(train: Floats, labels: Labels, groups: NDArray[np.str_], test: Floats) -> Labels:
    """Logistic regression; C from 0.01, 0.1, 1, 10 by a stratified, grouped 2-fold inside the training part."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    train, test = rotate(train, test)

    def fit(c: float, rows: NDArray[np.int64]) -> LogisticRegression:
        return LogisticRegression(C=c, max_iter=2000).fit(train[rows], labels[rows])

    splits = list(StratifiedGroupKFold(2, shuffle=True, random_state=0).split(train, labels, groups))
    scores = [
        np.mean([balanced_accuracy(labels[held], fit(c, rest).predict(train[held])) for rest, held in splits])
        for c in C_GRID
    ]
    best = C_GRID[int(np.argmax(scores))]
    return np.asarray(fit(best, np.arange(len(labels))).predict(test))


def nearest_neighbours(train: Floats, labels: Labels, groups: NDArray[np.str_], test: Floats) -> Labels:
    """Majority of the 5 nearest training clips by cosine."""
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(NEIGHBOURS, metric="cosine").fit(train, labels)
    return np.asarray(model.predict(test))


CLASSIFIERS: dict[str, Classifier] = {"linear": linear_classifier, "knn": nearest_neighbours}


def standardise(train: NDArray[np.float32], test: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Zero mean and unit variance of each dimension, by the training part alone; constant dimensions become zero."""
    train64, test64 = train.astype(np.float64), test.astype(np.float64)
    mean, std = train64.mean(axis=0), train64.std(axis=0)
    std[std < 1e-8 * np.maximum(1.0, np.abs(mean))] = np.inf
    return (train64 - mean) / std, (test64 - mean) / std


def rotate(train: Floats, test: Floats) -> tuple[Floats, Floats]:
    """Coordinates in the space that the training rows span.

    Exact for L2-penalised linear models: their weights lie in that space, and a rotation changes no penalty. With
    fewer clips than dimensions it makes the fit several times as fast.
    """
    if train.shape[0] >= train.shape[1]:
        return train, test
    _, _, axes = np.linalg.svd(train, full_matrices=False)
    return train @ axes.T, test @ axes.T


def balanced_accuracy(labels: Labels, predicted: Labels) -> float:
    """Mean over the classes present of the share of their clips that were recognised, in %."""
    right = labels == predicted
    return 100.0 * float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def bootstrap_interval(
    task: Task, places: NDArray[np.int64], statistic: Callable[[NDArray[np.int64]], float]
) -> tuple[float, float]:
    """95 % interval of a statistic of the clips at ``places``, resampled as ``probe`` says."""
    rng = np.random.default_rng(0)
    groups = task.groups[places]
    units = groups if len(np.unique(groups)) >= FEW_GROUPS else places.astype(str)
    members = [np.flatnonzero(units == unit) for unit in np.unique(units)]
    values = []
    for _ in range(RESAMPLES):
        chosen = rng.integers(len(members), size=len(members))
        values.append(statistic(np.concatenate([members[unit] for unit in chosen])))
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
