"""Do the nearest neighbours of a clip among frozen vectors have its label?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aasp_features.train.evaluate.metrics import Labels, Metric

NEIGHBOURS = 5


def nearest_neighbours(
    train: NDArray[np.float64], labels: Labels, groups: NDArray[np.str_], test: NDArray[np.float64], metric: Metric
) -> Labels:
    """Majority of the 5 nearest training clips by cosine; arguments as for ``linear_classifier``."""
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(NEIGHBOURS, metric="cosine").fit(train, labels)
    return np.asarray(model.predict(test))
