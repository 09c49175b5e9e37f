"""Results in the items' order, whatever the threads do; bounded, and no failure lost."""

import queue
import threading
import time
from collections.abc import Generator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aasp_features.sounds.read_ahead import ReadAhead


def counting(item: int) -> Generator[tuple[int, int], None, None]:
    for piece in range(item % 7):
        yield item, piece
    if item % 5 == 4:
        raise ValueError(f"item {item}")


@settings(deadline=None, max_examples=50)
@given(
    items=st.lists(st.integers(0, 100), max_size=60),
    threads=st.integers(1, 6),
    items_ahead=st.integers(1, 8),
    pieces_ahead=st.integers(1, 3),
)
def test_order_and_failures(items: list[int], threads: int, items_ahead: int, pieces_ahead: int) -> None:
    given_pieces, failed = [], []
    with ReadAhead(counting, items, threads, items_ahead, pieces_ahead) as ahead:
        for item, pieces in zip(items, ahead, strict=True):
            got = []
            try:
                got.extend(pieces)
            except ValueError as error:
                failed.append(str(error))
            given_pieces.append((item, got))
    assert given_pieces == [(item, [(item, piece) for piece in range(item % 7)]) for item in items]
    assert failed == [f"item {item}" for item in items if item % 5 == 4]


def test_pieces_before_a_failure_are_given() -> None:
    with ReadAhead(counting, [9], 1) as ahead:
        pieces = next(iter(ahead))
        assert [next(pieces), next(pieces)] == [(9, 0), (9, 1)]
        with pytest.raises(ValueError, match="item 9"):
            next(pieces)


@pytest.mark.parametrize(("pieces", "items_ahead", "pieces_ahead"), [(1000, 32, 4), (1, 5, 4)])
def test_it_runs_ahead_by_a_bounded_number_of_items_and_pieces(
    pieces: int, items_ahead: int, pieces_ahead: int
) -> None:
    made: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()

    def work(item: int) -> Generator[int, None, None]:
        for piece in range(pieces):
            made.put((item, piece))
            yield piece

    with ReadAhead(work, range(100), 2, items_ahead, pieces_ahead) as ahead:
        first = next(next(iter(ahead)))
        assert first == 0
        # Two threads, each in an item: what waits, one in the thread's hand, and one that was used.
        most = 2 * (pieces_ahead + 1) + 1 if pieces > pieces_ahead else items_ahead
        while made.qsize() < most - 1:
            time.sleep(0.01)
        time.sleep(0.3)  # time enough to run on, had it no bounds
        assert most - 1 <= made.qsize() <= most
    assert not any("_run" in thread.name for thread in threading.enumerate())


def test_leaving_early_closes_the_work() -> None:
    closed = threading.Event()

    def work(item: int) -> Generator[int, None, None]:
        try:
            while True:
                yield item
        finally:
            closed.set()

    with ReadAhead(work, [1], 1) as ahead:
        next(next(iter(ahead)))
    assert closed.is_set()


@pytest.mark.parametrize("threads", [1, 3])
def test_what_the_items_raise_is_not_lost(threads: int) -> None:
    def items() -> Generator[int, None, None]:
        yield from (1, 2)
        raise OSError("the list broke off")

    with ReadAhead(counting, items(), threads) as ahead:
        rest = iter(ahead)
        assert [list(next(rest)), list(next(rest))] == [[(1, 0)], [(2, 0), (2, 1)]]
        with pytest.raises(OSError, match="the list broke off"):
            next(rest)


@pytest.mark.parametrize("threads", [1, 3])
def test_who_asks_for_the_next_item_drops_the_rest(threads: int) -> None:
    """The second item fails after the piece that is taken; nobody asked for that."""

    def work(item: int) -> Generator[int, None, None]:
        for piece in range(20):
            yield 100 * item + piece
            if item == 1:
                raise ValueError("later")

    with ReadAhead(work, range(4), threads, items_ahead=2, pieces_ahead=2) as ahead:
        assert [next(pieces) for pieces in ahead] == [0, 100, 200, 300]
