"""Balanced sampling by clusters of a teacher's features: rare kinds of sounds come more often than common ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

CLUSTERS = 128
CROPS_A_CLUSTER = 32  # minimum on average


def cluster_sizes(targets: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the size of each crop's cluster, (crops,).

    Args:
        targets: (crops, d) targets from one teacher. The clusters are those of k-means, reproducible for equal inputs.
    """
    from sklearn.cluster import MiniBatchKMeans

    clusters = min(CLUSTERS, max(1, len(targets) // CROPS_A_CLUSTER))
    with threadpool_limits(1):  # another order of sums could move a crop to another cluster
        found = MiniBatchKMeans(clusters, random_state=0, n_init=3, batch_size=2048).fit_predict(targets)
    sizes: NDArray[np.int64] = np.bincount(found)[found]
    return sizes


def draw_balanced(sizes: NDArray[np.int64], power: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw as many indices as there are crops, each crop in proportion to ``sizes ** -power``.

    A crop with expected count r comes floor(r) or ceil(r) times: power 0 gives every crop once, power 1 every cluster
    equally often.
    """
    share = sizes.astype(np.float64) ** -power
    due = np.cumsum(share / share.sum()) * len(sizes)
    return np.searchsorted(due, np.arange(len(sizes)) + rng.random()).clip(0, len(sizes) - 1)
