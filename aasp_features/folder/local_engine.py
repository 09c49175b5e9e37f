"""Batches on this machine: on one device, or on several at once."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from itertools import cycle
from pathlib import Path

from aasp_features.encoder import AaSPEncoder
from aasp_features.folder.batch_work import BatchResult, BatchWork
from aasp_features.folder.options import RunOptions
from aasp_features.folder.plan import Plan


class LocalEngine:
    """Gives a plan's batches in order, whatever does them.

    Args:
        encoders: one for each device; equal but for the device. With several, batches are dealt out in turn, and each
            device decodes and encodes its own in a thread.
        workers: decoding threads of all devices together.

    Attributes:
        device: kind of device that the batches are done on.
    """

    def __init__(self, encoders: Sequence[AaSPEncoder], workers: int | None = None) -> None:
        self.encoders = encoders
        self.workers = max(1, (workers or default_workers(len(encoders))) // len(encoders))
        self.device = encoders[0].device.type

    def batches(self, plan: Plan, first: int, options: RunOptions, folder: Path) -> Generator[BatchResult, None, None]:
        """Do the batches from ``first`` on; temporary files lie in ``folder``."""
        left = plan.batches[first:]
        shares = [
            BatchWork(encoder, plan.sounds, plan.stamps, options, folder).batches(
                left[turn :: len(self.encoders)], self.workers
            )
            for turn, encoder in enumerate(self.encoders)
        ]
        if len(shares) == 1:
            yield from shares[0]
            return
        with ExitStack() as stack:
            ahead = [stack.enter_context(Ahead(share)) for share in shares]
            for _, source in zip(left, cycle(ahead), strict=False):
                yield source.take()


class Ahead:
    """Runs a generator of batches in a thread, up to two batches before they are taken."""

    def __init__(self, batches: Generator[BatchResult, None, None]) -> None:
        self._batches = batches
        self._done: queue.Queue[BatchResult | BaseException] = queue.Queue(maxsize=1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Ahead:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def take(self) -> BatchResult:
        """The next batch; raises what the thread met."""
        done = self._done.get()
        if isinstance(done, BaseException):
            raise done
        return done

    def _run(self) -> None:
        try:
            with closing(self._batches) as batches:
                for result in batches:
                    self._put(result)
                    if self._stop.is_set():
                        return
        except BaseException as error:
            self._put(error)

    def _put(self, done: BatchResult | BaseException) -> None:
        while not self._stop.is_set():
            try:
                self._done.put(done, timeout=0.1)
            except queue.Full:
                continue
            return


def default_workers(devices: int = 1) -> int:
    """Decoding threads: one for each CPU this process may use, 8 at most for each device."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8 * devices, available)
