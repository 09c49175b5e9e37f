"""Windows of a clip -> its vectors; ``test_pooling.py`` compares clip vectors with the network's own pooling."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aasp_features.vectors import (
    ClipVector,
    ColumnVectors,
    FrameVectors,
    VectorError,
    finite_columns,
    interleave,
    stack_clips,
)


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


@pytest.mark.parametrize("place", ["vectors", "cls"])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_an_error(place: str, number: float) -> None:
    columns = ColumnVectors(np.ones((2, 3), np.float32), np.array([16, 4]), np.ones(3, np.float32))
    assert finite_columns(columns, "clip 7") is columns
    getattr(columns, place)[..., 1] = number
    with pytest.raises(VectorError, match="clip 7: the network answers with NaN or infinite numbers"):
        finite_columns(columns, "clip 7")


def test_clips_side_by_side() -> None:
    clips = [ClipVector("mean"), ClipVector("mean")]
    for value, clip in enumerate(clips):
        clip.add(ColumnVectors(np.full((2, 3), value, np.float32), np.array([16, 4]), np.zeros(3, np.float32)))
    assert stack_clips(clips, False, 3).tolist() == [[0, 0, 0], [1, 1, 1]]
    assert stack_clips(clips[1:], True, 3).tolist() == [1, 1, 1]
    assert stack_clips([], False, 3).shape == (0, 3)
