"""A task's splits, one after the other: train a classifier on frozen vectors, test it on what was held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.knn import nearest_neighbours
from aasp_features.train.evaluate.linear import Floats, linear_classifier
from aasp_features.train.evaluate.metrics import Labels, Metric, interval
from aasp_features.train.evaluate.tasks import FOLDS, Places, Task

Classifier = Callable[[Floats, Labels, NDArray[np.str_], Floats, Metric], Labels]
CLASSIFIERS: dict[str, Classifier] = {"linear": linear_classifier, "knn": nearest_neighbours}


@dataclass(frozen=True)
class ProbeResult:
    """The task's metric in %: mean over its splits, each split, a 95 % interval, and the predictions behind it."""

    score: float
    folds: list[float]
    interval: tuple[float, float]
    tested: Places
    predicted: Labels


def probe(
    features: NDArray[np.float32], task: Task, classifier: Classifier, folds: Sequence[int] = FOLDS
) -> ProbeResult:
    """Hold out each fold in turn, train on the others.

    Args:
        features: (clips, d), one row for each of the task's files.
        task: gives the splits and the metric.
        classifier: ``linear_classifier`` or ``nearest_neighbours``.
        folds: used at all; the clips of other folds are neither trained nor tested on (for selections).

    Returns:
        The interval is a bootstrap (see ``Task.resamples``) of the metric of all held-out predictions together.

    Raises:
        TrainError: the vectors are not finite, or the clips of some fold are too few or all of one label.
    """
    if not np.isfinite(features).all():
        row = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
        raise TrainError(f"task {task.name}: the vector of {task.files[row]} holds NaN or infinite numbers.")
    predicted, scores, splits = [], [], task.splits(folds)
    for train, test in splits:
        train_features, test_features = standardise(features[train], features[test])
        try:
            guess = classifier(train_features, task.labels[train], task.groups[train], test_features, task.metric)
        except ValueError as error:  # scikit-learn's, of a task that is too small
            reason = str(error).splitlines()[0].rstrip(".")
            raise TrainError(f"task {task.name} cannot be probed with a fold held out ({reason}).") from error
        scores.append(task.score(test, guess))
        predicted.append(guess)
    places, guesses = np.concatenate([split.test for split in splits]), np.concatenate(predicted)
    values = [task.score(places[drawn], guesses[drawn]) for drawn in task.resamples(places)]
    return ProbeResult(float(np.mean(scores)), scores, interval(values), places, guesses)


def standardise(train: NDArray[np.float32], test: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Zero mean and unit variance of each dimension, by the training part alone; constant dimensions become zero."""
    train64, test64 = train.astype(np.float64), test.astype(np.float64)
    mean, std = train64.mean(axis=0), train64.std(axis=0)
    std[std < 1e-8 * np.maximum(1.0, np.abs(mean))] = np.inf
    return (train64 - mean) / std, (test64 - mean) / std
