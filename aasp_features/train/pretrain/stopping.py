"""Ctrl-C and SIGTERM: a run obeys between two steps, when its state is whole, and ends with a sentence."""

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
    """Somebody asked the process to end; the exit code is what a shell says of that signal."""

    def __init__(self, sentence: str, number: int) -> None:
        super().__init__(sentence)
        self.exit_code = 128 + number


class Request:
    """``number`` is the signal that asked to stop; 0, nobody has."""

    def __init__(self) -> None:
        self.number = 0

    def note(self, number: int, frame: FrameType | None) -> None:
        """Remember it; who asks again is obeyed at once.

        Raises:
            StoppedError: at the second signal.
        """
        if self.number:
            raise StoppedError("stopped at once; the steps since the last saved state will be done again.", number)
        self.number = number


@contextmanager
def noting_requests() -> Iterator[Request]:
    """Signals to end are noted instead of obeyed, until the second one."""
    request = Request()
    with handled_by(request.note, ASKING):
        yield request


@contextmanager
def ending_in_a_sentence() -> Iterator[None]:
    """SIGTERM ends with a sentence and lets go of locks and processes, as Ctrl-C does by itself.

    Raises:
        StoppedError: at SIGTERM.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise StoppedError("ended by SIGTERM; the same command goes on from what was kept.", number)

    with handled_by(stop, (signal.SIGTERM,)):
        yield


@contextmanager
def handled_by(handler: Handler, numbers: tuple[signal.Signals, ...]) -> Iterator[None]:
    """Signals go to a handler; those that are ignored stay so, and in other threads than the first nothing changes."""
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
