"""What every classifier of frozen vectors is given, and what it gives."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from aasp_features.train.evaluate.metrics import Labels, Metric, Scores

Vectors = NDArray[np.float64]


class Examples(NamedTuple):
    """Labelled vectors: (clips, d) standardised by the training part, labels as of ``Task``, groups."""

    vectors: Vectors
    labels: Labels
    groups: NDArray[np.str_]


class Classifier(Protocol):
    """Learns from examples, scores other vectors."""

    def __call__(
        self, train: Examples, validation: Examples | None, test: Vectors, classes: int, metric: Metric
    ) -> list[Scores]:
        """Scores of the test clips, once for each seed it is run with.

        Args:
            train: to learn from.
            validation: chooses settings; None: a part of ``train`` does.
            test: (clips, d) to score.
            classes: how many there are, also where ``train`` lacks some.
            metric: by which settings are chosen.
        """
        ...


def standardise(train: NDArray[np.float32], *others: NDArray[np.float32]) -> list[Vectors]:
    """Zero mean and unit variance of each dimension, by the training part alone; constant dimensions become zero."""
    mean, std = moments(train)
    return [(part.astype(np.float64) - mean) / std for part in (train, *others)]


def moments(train: NDArray[np.float32]) -> tuple[Vectors, Vectors]:
    """(d,) mean and standard deviation of each dimension, in float64; infinite where a dimension is constant."""
    train64 = train.astype(np.float64)
    mean, std = train64.mean(axis=0), train64.std(axis=0)
    std[std < 1e-8 * np.maximum(1.0, np.abs(mean))] = np.inf
    return mean, std


def one_hot(labels: Labels, classes: int) -> NDArray[np.bool_]:
    """(clips, classes), whichever form the labels have."""
    return labels if labels.ndim == 2 else labels[:, None] == np.arange(classes)


@contextmanager
def quiet_scikit_learn() -> Iterator[None]:
    """Hide scikit-learn's warnings of rare and absent classes, on which reports have sentences."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"sklearn\.")
        yield
