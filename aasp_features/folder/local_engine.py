"""Batches on this machine: on one device, or on several at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

from aasp_features.encoder import AaSPEncoder
from aasp_features.folder.batch_work import BatchWork
from aasp_features.folder.parts import OpenSound, Part
from aasp_features.folder.plan import Plan
from aasp_features.sounds.read_ahead import ReadAhead

PARTS_AHEAD = 6  # an hour of sound, which a device may do while another is at an earlier batch


class LocalEngine:
    """Gives a plan's parts in order, whatever does them.

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

    def parts(
        self, plan: Plan, place: int, opened: OpenSound | None, folder: Path, on_seconds: Callable[[float], None]
    ) -> Generator[Part, None, None]:
        """Do what is left from a sound on; temporary files lie in ``folder``."""
        left, count = plan.left(place), len(self.encoders)
        shares = [
            BatchWork(encoder, plan.sounds, plan.stamps, plan.settings, folder, on_seconds).parts(
                left[turn::count], self.workers, opened if turn == 0 else None
            )
            for turn, encoder in enumerate(self.encoders[: len(left)])
        ]
        if len(shares) == 1:
            yield from shares[0]
            return
        with ExitStack() as stack:
            ahead = [_in_thread(share, stack) for share in shares]
            for _, parts in zip(left, cycle(ahead), strict=False):
                for part in parts:
                    yield part
                    if part.last:
                        break


def _in_thread(share: Generator[Part, None, None], stack: ExitStack) -> Iterator[Part]:
    """A device's parts, done in a thread, up to so many of them before they are asked for."""
    reader = ReadAhead[None, Part](lambda _: share, [None], threads=1, pieces_ahead=PARTS_AHEAD)
    return next(iter(stack.enter_context(reader)))


def default_workers(devices: int = 1) -> int:
    """Decoding threads: one for each CPU this process may use, 8 at most for each device."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8 * devices, available)
