"""Which windows go through the network together."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from aasp_features.batching import BATCHES_HELD, COLUMNS_HELD, equal_length_batches
from aasp_features.windows import CutWindow, Window


def window(columns: int) -> CutWindow[np.ndarray]:
    return CutWindow(np.empty(0, np.float32), Window(0, columns, 0, columns))


@settings(deadline=None, max_examples=100)
@given(
    lengths=st.lists(st.integers(1, 64) | st.sampled_from([1, 64]), max_size=400),
    capacity=st.integers(1, 300),
)
def test_batches_are_equal_long_and_bounded(lengths: list[int], capacity: int) -> None:
    given, batched = 0, 0

    def windows():
        nonlocal given
        for number, columns in enumerate(lengths):
            assert given - batched <= max(COLUMNS_HELD, BATCHES_HELD * capacity)
            given += columns
            yield number, window(columns)

    seen = []
    for batch in equal_length_batches(windows(), capacity):
        assert len({one.columns for _, one in batch}) == 1
        assert len(batch) == 1 or len(batch) * batch[0][1].columns <= capacity
        assert [number for number, _ in batch] == sorted(number for number, _ in batch)
        batched += sum(one.columns for _, one in batch)
        seen += [(number, one.columns) for number, one in batch]
    assert sorted(seen) == list(enumerate(lengths))


def test_a_batch_is_as_large_as_it_may_be() -> None:
    batches = equal_length_batches(((number, window(7)) for number in range(80)), 256)
    assert [len(batch) for batch in batches] == [36, 36, 8]


def test_what_waits_is_bounded() -> None:
    """Windows of many lengths fill no batch; from 8,192 columns on, the group with the most columns goes first."""
    given = []

    def windows():
        for number in range(1000):
            given.append(1 + number % 60)
            yield number, window(given[-1])

    first = next(iter(equal_length_batches(windows(), 10_000_000 // BATCHES_HELD)), None)
    assert first is not None  # all of them wait, as so many columns may
    given.clear()
    first = next(iter(equal_length_batches(windows(), 64 * 40)))
    assert sum(given) - given[-1] < BATCHES_HELD * 64 * 40 <= sum(given)
    assert first[0][1].columns * len(first) == max(columns * given.count(columns) for columns in set(given))
