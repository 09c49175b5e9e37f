"""Do the nearest neighbours of a clip among frozen vectors have its labels?"""

from __future__ import annotations

from aasp_features.train.evaluate.classifier import Examples, Vectors, one_hot
from aasp_features.train.evaluate.metrics import Metric, Scores

NEIGHBOURS = 5


def nearest_neighbours(
    train: Examples, validation: Examples | None, test: Vectors, classes: int, metric: Metric
) -> list[Scores]:
    """Share of the 5 nearest training clips, by cosine, that have each class; there is nothing to choose or to draw.

    Arguments as of ``Classifier``.
    """
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(train.vectors)), metric="cosine").fit(train.vectors)
    nearest = index.kneighbors(test, return_distance=False)
    return [one_hot(train.labels, classes)[nearest].mean(axis=1)]
