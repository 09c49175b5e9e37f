"""Batches on this machine: on one device, or on several at once."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

from aasp_features.encoder import AaSPEncoder
from aasp_features.folder.batch_work import BatchResult, BatchWork
from aasp_features.folder.plan import Plan
from aasp_features.sounds.read_ahead import ReadAhead


class LocalEngine:
    """Gives a plan's batches in order, whatever does them.

    Args:
        encoders: one for each device; equal but for the device. With several, batches are dealt out in turn, and each
            device decodes and encodes its own in a thread.
        workers: decoding threads of all devices together.

    Attributes:
        encoder: the first.
        device: kind of device that the batches are done on.
    """

    def __init__(self, encoders: Sequence[AaSPEncoder], workers: int | None = None) -> None:
        self.encoders, self.encoder = encoders, encoders[0]
        self.workers = max(1, (workers or default_workers(len(encoders))) // len(encoders))
        self.device = encoders[0].device.type

    def batches(self, plan: Plan, first: int, folder: Path) -> Generator[BatchResult, None, None]:
        """Do the batches from ``first`` on; temporary files lie in ``folder``."""
        left = plan.batches[first:]
        shares = [
            BatchWork(encoder, plan.sounds, plan.stamps, plan.settings, folder).batches(
                left[turn :: len(self.encoders)], self.workers
            )
            for turn, encoder in enumerate(self.encoders)
        ]
        if len(shares) == 1:
            yield from shares[0]
            return
        with ExitStack() as stack:
            ahead = [_in_thread(share, stack) for share in shares]
            for _, results in zip(left, cycle(ahead), strict=False):
                yield next(results)


def _in_thread(share: Generator[BatchResult, None, None], stack: ExitStack) -> Iterator[BatchResult]:
    """A device's batches, done in a thread, up to two of them before they are asked for."""
    reader = ReadAhead[None, BatchResult](lambda _: share, [None], threads=1, pieces_ahead=1)
    return next(iter(stack.enter_context(reader)))


def default_workers(devices: int = 1) -> int:
    """Decoding threads: one for each CPU this process may use, 8 at most for each device."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8 * devices, available)
