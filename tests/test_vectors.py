"""Windows of a clip -> its vectors; ``test_pooling.py`` compares clip vectors with the network's own pooling."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aasp_features.vectors import ColumnVectors, FrameVectors, interleave


@given(st.lists(st.lists(st.integers(1, 16), min_size=1, max_size=5), max_size=6))
def test_columns_in_order_and_their_frames(windows: list[list[int]]) -> None:
    collected, number = FrameVectors(), 0
    for frames in windows:
        vectors = np.arange(number, number + len(frames), dtype=np.float32)[:, None]
        collected.add(ColumnVectors(vectors, np.array(frames), np.zeros(1, np.float32)))
        number += len(frames)
    assert collected.vectors().ravel().tolist() == list(range(number))
    assert collected.frames == sum(map(sum, windows))


@given(passes=st.sampled_from([1, 2, 4, 16]), vectors=st.integers(0, 50))
def test_interleaved_passes_are_in_times_order(passes: int, vectors: int) -> None:
    """Vector n is of pass n mod k; at the end some passes lack one."""
    times = np.arange(vectors, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(interleave([times[first::passes] for first in range(passes)]).ravel(), times.ravel())
