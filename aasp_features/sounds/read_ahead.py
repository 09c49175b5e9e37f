"""Work on many items in threads while another thread uses the results, which come in the items' own order.

Decoders, resamplers and FFTs release Python's lock, so threads are enough. Both the items that may be under way and the
pieces that each may have waiting are bounded, so memory is, however long or many the items are.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, suppress
from typing import Generic, TypeVar

Item = TypeVar("Item")
Piece = TypeVar("Piece")


class ReadAhead(Generic[Item, Piece]):
    """Context manager around the threads; iterate, once, for the pieces of each item, item by item.

    What an item's work raises comes at its place among the item's pieces, and ends that item only; what the items
    themselves raise comes at the place of the one that is missing, and ends all. Who asks for the next item drops what
    is left of the one before.

    Args:
        work: an item -> its pieces; called in any thread.
        items: in order; taken as they are needed.
        threads: that work.
        items_ahead, pieces_ahead: at most so many items under way, and pieces of each waiting.
    """

    def __init__(
        self,
        work: Callable[[Item], Generator[Piece, None, None]],
        items: Iterable[Item],
        threads: int,
        items_ahead: int = 32,
        pieces_ahead: int = 4,
    ) -> None:
        self._work, self._items, self._pieces_ahead = work, iter(items), pieces_ahead
        # In the items' order; None at the end.
        self._begun: queue.SimpleQueue[_Pieces[Piece] | BaseException | None] = queue.SimpleQueue()
        self._places = threading.Semaphore(items_ahead)
        self._taking, self._stop = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def __enter__(self) -> ReadAhead[Item, Piece]:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._places.release(len(self._threads))
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Iterator[Iterator[Piece]]:
        while (pieces := self._begun.get()) is not None:
            if isinstance(pieces, BaseException):
                raise pieces
            own = iter(pieces)
            yield own
            with suppress(Exception):  # of a piece that nobody asked for
                for _ in own:
                    pass
            self._places.release()

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            item, pieces = taken
            try:
                with closing(self._work(item)) as given:
                    for piece in given:
                        if not pieces.put((piece,), self._stop):
                            return
                pieces.put(None, self._stop)
            except BaseException as error:  # whatever it is, it is told where the item's pieces are used
                pieces.put(error, self._stop)

    def _take(self) -> tuple[Item, _Pieces[Piece]] | None:
        """The next item to work on; None when there is none, or all stops."""
        self._places.acquire()
        with self._taking:
            if self._stop.is_set():
                return None
            try:
                for item in self._items:
                    pieces = _Pieces[Piece](self._pieces_ahead)
                    self._begun.put(pieces)
                    return item, pieces
            except BaseException as error:
                self._begun.put(error)
            self._begun.put(None)
        return None


class _Pieces(Generic[Piece]):
    """What waits of one item: pieces, then None or what was raised."""

    def __init__(self, most: int) -> None:
        self._waiting: queue.Queue[tuple[Piece] | BaseException | None] = queue.Queue(most)

    def put(self, given: tuple[Piece] | BaseException | None, stop: threading.Event) -> bool:
        """Wait for room; False where all stops."""
        while not stop.is_set():
            try:
                self._waiting.put(given, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def __iter__(self) -> Iterator[Piece]:
        while (given := self._waiting.get()) is not None:
            if isinstance(given, BaseException):
                raise given
            yield given[0]
