"""Ctrl-C and SIGTERM: a run stops between two steps, with its state saved and a message."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from aasp_features.errors import AaSPError

ASKING = (signal.SIGINT, signal.SIGTERM)
Handler = Callable[[int, FrameType | None], Any] | signal.Handlers


class StoppedError(AaSPError, RuntimeError):
    """A request to end the process; the exit code is that of a shell for the signal."""

    def __init__(self, sentence: str, number: int) -> None:
        super().__init__(sentence)
        self.exit_code = 128 + number


class Request:
    """Signal that asked to stop, as ``number``; 0 without one."""

    def __init__(self) -> None:
        self.number = 0

    def note(self, number: int, frame: FrameType | None) -> None:
        """Record the signal.

        Raises:
            StoppedError: It is the second signal.
        """
        if self.number:
            raise StoppedError("stopped at once; the steps since the last saved state will be repeated.", number)
        self.number = number


@contextmanager
def noting_requests() -> Iterator[Request]:
    """Record signals to end instead of obeying them, until the second one."""
    request = Request()
    with handled_by(request.note, ASKING):
        yield request


@contextmanager
def ending_in_a_sentence() -> Iterator[None]:
    """Turn SIGTERM into an error with a message, which releases locks and processes.

    Raises:
        StoppedError: SIGTERM arrived.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise StoppedError("ended by SIGTERM; the same command continues from the saved state.", number)

    with handled_by(stop, (signal.SIGTERM,)):
        yield


@contextmanager
def handled_by(handler: Handler, numbers: tuple[signal.Signals, ...]) -> Iterator[None]:
    """Send signals to a handler, except ignored ones; outside the main thread, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number, old in before.items():
            if old is not signal.SIG_IGN:
                signal.signal(number, handler)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)
