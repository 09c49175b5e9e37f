"""Work on many items in threads while another thread uses the results, which come in the order of the items.

Decoders, resamplers and FFTs release Python's lock, and threads are enough. The items under way are bounded, and the
pieces of each that wait. Memory is therefore constant, however long or many the items are.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from itertools import islice
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Piece = TypeVar("Piece")
Waiting = queue.Queue[Any]  # of an item: its pieces, each in a tuple, then None or the error that ended it


class ReadAhead(Generic[Item, Piece]):
    """Context manager around the threads; iterate over it, once, for the pieces of each item, item by item.

    An error of an item's work comes at its position among the item's pieces, and ends that item only. An error of the
    items themselves comes in place of the next item, and ends all. Whoever asks for the next item drops the rest of the
    one before.

    Args:
        work: yields the pieces of an item; called in any thread.
        items: in order; taken as they are needed.
        threads: number of threads.
        items_ahead: maximum number of items under way.
        pieces_ahead: maximum number of pieces of each that wait.
    """

    def __init__(
        self,
        work: Callable[[Item], Generator[Piece, None, None]],
        items: Iterable[Item],
        threads: int,
        items_ahead: int = 32,
        pieces_ahead: int = 4,
    ) -> None:
        self._work, self._items = work, items
        self._items_ahead, self._pieces_ahead = items_ahead, pieces_ahead
        self._pool, self._stop = ThreadPoolExecutor(threads), threading.Event()

    def __enter__(self) -> ReadAhead[Item, Piece]:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[Iterator[Piece]]:
        begin = self._begin()
        begun = deque(islice(begin, self._items_ahead))
        while begun:
            if isinstance(first := begun.popleft(), Exception):
                raise first
            pieces = self._pieces(first)
            yield pieces
            with suppress(Exception):  # of a piece that nobody asked for
                deque(pieces, maxlen=0)
            begun.extend(islice(begin, 1))

    def _begin(self) -> Iterator[Waiting | Exception]:
        """Give the next item to the threads, and yield the queue of its pieces; None or an error ends it."""
        try:
            for item in self._items:
                waiting: Waiting = queue.Queue(self._pieces_ahead)
                self._pool.submit(self._run, item, waiting)
                yield waiting
        except Exception as error:
            yield error

    def _run(self, item: Item, waiting: Waiting) -> None:
        end: BaseException | None = None
        try:
            with closing(self._work(item)) as pieces:
                for piece in pieces:
                    if not self._put((piece,), waiting):
                        return
        except BaseException as error:  # raised where the item's pieces are used
            end = error
        self._put(end, waiting)

    def _put(self, given: tuple[Piece] | BaseException | None, waiting: Waiting) -> bool:
        """Wait for room; return False where all stops."""
        while not self._stop.is_set():
            with suppress(queue.Full):
                waiting.put(given, timeout=0.1)
                return True
        return False

    def _pieces(self, waiting: Waiting) -> Iterator[Piece]:
        while (given := waiting.get()) is not None:
            if isinstance(given, BaseException):
                raise given
            yield given[0]
