"""Sampling by clusters of what a teacher says: sounds like few others come more often than those like many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

CLUSTERS = 128
CROPS_A_CLUSTER = 32  # on average, at least


def cluster_sizes(targets: NDArray[np.float32]) -> NDArray[np.int64]:
    """The number of crops in each crop's own cluster, (crops,).

    Args:
        targets: (crops, d) what a teacher says of each; clusters are those of k-means, the same for the same numbers.
    """
    from sklearn.cluster import MiniBatchKMeans

    clusters = min(CLUSTERS, max(1, len(targets) // CROPS_A_CLUSTER))
    with threadpool_limits(1):  # sums in another order could move a crop to another cluster
        found = MiniBatchKMeans(clusters, random_state=0, n_init=3, batch_size=2048).fit_predict(targets)
    sizes: NDArray[np.int64] = np.bincount(found)[found]
    return sizes


def draw_balanced(sizes: NDArray[np.int64], power: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """As many places as there are crops, each crop's number of turns in proportion to ``sizes ** -power``.

    A crop that is due r times on average comes floor(r) or ceil(r) times: 0 gives every crop once, 1 every cluster
    equally often.
    """
    share = sizes.astype(np.float64) ** -power
    due = np.cumsum(share / share.sum()) * len(sizes)
    return np.searchsorted(due, np.arange(len(sizes)) + rng.random()).clip(0, len(sizes) - 1)
