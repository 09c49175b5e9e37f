"""Which windows go through the network together."""

from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from aasp_features import AaSPConfig
from aasp_features.batching import BATCHES_HELD, COLUMNS_HELD, FrameVectors, WindowEncoder, automatic_batch_size
from aasp_features.windows import Window


class Piece(NamedTuple):
    """A recording's only window; its number stands for its content."""

    number: int
    columns: int

    @property
    def plan(self) -> Window:
        return Window(0, self.columns, 0, self.columns)


@settings(deadline=None, max_examples=100)
@given(
    lengths=st.lists(st.integers(1, 64) | st.sampled_from([1, 64]), max_size=400),
    capacity=st.integers(1, 300),
    failed=st.sets(st.integers(0, 399)),
)
def test_batches_are_equal_long_and_bounded(lengths: list[int], capacity: int, failed: set[int]) -> None:
    batches: list[list[Piece]] = []

    def encode(pieces: list[Piece]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        batches.append(pieces)
        columns = pieces[0].columns
        vectors = np.stack([np.full((columns, 1), piece.number, np.float32) for piece in pieces])
        return vectors, np.ones((len(pieces), columns), np.int64), np.zeros((len(pieces), 1), np.float32)

    encoder = WindowEncoder(encode, FrameVectors, capacity)

    def events():
        for number, columns in enumerate(lengths):
            yield number, Piece(number, columns)
            assert encoder.held <= max(COLUMNS_HELD, BATCHES_HELD * capacity)
            yield number, ValueError("broken") if number in failed else None

    results = dict(encoder.run(events()))
    assert encoder.held == 0
    assert set(results) == set(range(len(lengths)))
    for number, columns in enumerate(lengths):
        if number in failed:
            assert isinstance(results[number], ValueError)
        else:
            vectors, frames = results[number]
            assert vectors.shape == (columns, 1)
            assert (vectors == number).all()
            assert frames == columns
    for batch in batches:
        assert len({piece.columns for piece in batch}) == 1
        assert len(batch) == 1 or len(batch) * batch[0].columns <= capacity


def test_a_batch_is_as_large_as_it_may_be() -> None:
    sizes = []

    def encode(pieces: list[Piece]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        sizes.append(len(pieces))
        shape = len(pieces), pieces[0].columns
        return np.zeros((*shape, 1), np.float32), np.ones(shape, np.int64), np.zeros((shape[0], 1), np.float32)

    events = [event for number in range(80) for event in ((number, Piece(number, 7)), (number, None))]
    list(WindowEncoder(encode, FrameVectors, 256).run(events))
    assert sizes == [36, 36, 8]


def test_automatic_batch_sizes() -> None:
    assert automatic_batch_size(AaSPConfig.base(), "cpu") == automatic_batch_size(AaSPConfig.tiny(), "mps") == 8
    assert automatic_batch_size(AaSPConfig.base(), "cuda") >= 8
