"""Batches of sounds -> outcomes and rows, on this machine: on one device, or on several at once."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import chain, cycle, zip_longest
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from aasp_features import inference
from aasp_features.audio.reading import AudioInfo
from aasp_features.config import FRAME_HOP, Pooling
from aasp_features.contents import Content
from aasp_features.encoder import AaSPEncoder
from aasp_features.folder.ledger import Outcome
from aasp_features.folder.options import RunSettings
from aasp_features.folder.plan import Batch, Plan
from aasp_features.folder.segments import cut_segments
from aasp_features.folder.state import BatchResult, OnSeconds
from aasp_features.sounds.read_ahead import ReadAhead
from aasp_features.sounds.sound import Sound
from aasp_features.windows import Window

BATCHES_AHEAD = 2  # results of a device that may wait while another is at an earlier batch
CHUNK_ROWS = 512

Windows = Iterator[tuple[int, Window[Tensor]]]  # of a sound, each with the number of its segment or pass over it


class LocalEngine:
    """Engine of this machine.

    Args:
        encoders: one for each device, equal except for the device. Several take turns at the batches, and each decodes
            and encodes its own in a thread.
        workers: decoding threads of all devices together (default: one a CPU, at most 8 a device).

    Attributes:
        encoder: the first of the encoders.
        device: kind of device that computes.
    """

    def __init__(self, encoders: Sequence[AaSPEncoder], workers: int | None = None) -> None:
        self.encoders, self.encoder = encoders, encoders[0]
        self.workers = max(1, (workers or default_workers(len(encoders))) // len(encoders))
        self.device = encoders[0].device.type

    def results(
        self, plan: Plan, batches: Sequence[Batch], folder: Path, on_seconds: OnSeconds
    ) -> Generator[BatchResult, None, None]:
        """Yield the results of batches of a plan, in order; see ``run.Engine``."""
        devices, stopped = len(self.encoders), Event()

        def count(seconds: float) -> None:
            if stopped.is_set():  # ends a device's thread in the midst of its batch
                raise RuntimeError("the run was stopped")
            on_seconds(seconds)

        shares = [
            BatchWork(encoder, plan.sounds, plan.stamps, plan.settings, folder).results(
                batches[first::devices], self.workers, count
            )
            for first, encoder in enumerate(self.encoders[: len(batches)])
        ]
        if len(shares) == 1:
            yield from shares[0]
            return
        with ExitStack() as stack:
            ahead = [_in_thread(share, stack) for share in shares]
            stack.callback(stopped.set)
            for _, share in zip(batches, cycle(ahead), strict=False):
                yield next(share)


def _in_thread(share: Generator[BatchResult, None, None], stack: ExitStack) -> Iterator[BatchResult]:
    """Compute a device's results in a thread, a few of them before they are asked for."""
    reader = ReadAhead[None, BatchResult](lambda _: share, [None], threads=1, pieces_ahead=BATCHES_AHEAD)
    return next(iter(stack.enter_context(reader)))


def default_workers(devices: int = 1) -> int:
    """Return a number of decoding threads: one for each CPU of this process, at most 8 for each device."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8 * devices, available)


class BatchWork:
    """Batches on one encoder; the work of every engine.

    Args:
        encoder: computes the vectors.
        sounds: that the batches' indices count.
        stamps: of each sound when the run was planned.
        settings: of the run.
        folder: of temporary files (default: the system's).
    """

    def __init__(
        self,
        encoder: AaSPEncoder,
        sounds: Sequence[Sound],
        stamps: NDArray[np.int64],
        settings: RunSettings,
        folder: Path | None = None,
    ) -> None:
        self.encoder, self.sounds, self.stamps = encoder, sounds, stamps
        self.settings, self.folder = settings, folder
        self._infos: dict[int, AudioInfo] = {}  # of sounds that were decoded to their end
        self._contents: dict[int, Content] = {}  # of sounds, before they were decoded
        self._failures: dict[int, Exception] = {}

    def results(
        self, batches: Sequence[Batch], threads: int, on_seconds: OnSeconds = lambda seconds: None
    ) -> Generator[BatchResult, None, None]:
        """Yield each batch's result; up to 32 further sounds are decoded, by so many threads, while one is encoded."""
        with ReadAhead(self._decode, chain.from_iterable(batches), threads) as decoded:
            sounds = iter(decoded)
            for batch in batches:
                yield self._encode(batch, sounds, on_seconds)

    def _decode(self, index: int) -> Generator[tuple[int, Window[Tensor]], None, None]:
        sound, settings = self.sounds[index], self.settings
        self._contents[index] = sound.content()
        stream = sound.stream(self.encoder.config.sample_rate, settings.options.max_hours)
        if (segment := settings.options.segment) is None:
            yield from inference.log_mel_windows(stream, self.encoder.log_mel, settings.embed, settings.offsets)
        else:
            pieces = cut_segments(stream, segment, settings.options.overlap, self.encoder.config.sample_rate)
            for number, piece in enumerate(pieces):
                windows = inference.log_mel_windows([piece], self.encoder.log_mel, settings.embed)
                yield from ((number, window) for _, window in windows)
        self._infos[index] = stream.info

    def _encode(self, batch: Batch, sounds: Iterator[Windows], on_seconds: OnSeconds) -> BatchResult:
        embed, config, frames = self.settings.embed, self.encoder.config, self.settings.options.frames
        segment, overlap = self.settings.options.segment, self.settings.options.overlap
        new = 1.0 if segment is None else 1 - overlap / segment  # share of the time that no segment had before
        rows = FrameRows(self.settings.offsets, self.folder) if frames else ClipRows(embed.pooling)
        windows, run = self._windows(batch, sounds), partial(inference.run_network, self.encoder.network, embed)
        for (index, offset), columns in inference.encode_windows(windows, run, embed.batch_size * config.window):
            try:
                rows.add(index, offset, inference.check_finite(columns, self.sounds[index].name))
            except inference.VectorError as error:
                self._failures.setdefault(index, error)
            if offset == 0 or not frames:
                on_seconds(new * int(columns.frames.sum()) * FRAME_HOP / config.sample_rate)
        good = [index for index in batch if index not in self._failures]
        outcomes = [self._outcome(index, rows) for index in batch]
        return BatchResult(outcomes, map(self._finish, chain.from_iterable(map(rows.pieces, good))))

    def _windows(self, batch: Batch, sounds: Iterator[Windows]) -> Iterator[tuple[tuple[int, int], Window[Tensor]]]:
        """Yield the windows of a batch with their sounds' indices and offsets; a sound that fails ends early."""
        for index in batch:
            try:
                for offset, window in next(sounds):
                    yield (index, offset), window
                self._check_unchanged(index)
            except Exception as error:  # of any kind: it must not end the run
                self._failures[index] = error

    def _check_unchanged(self, index: int) -> None:
        """Check that the file has the size and mtime of the plan, and the content of before it was decoded."""
        read = self._contents[index]
        now = self.sounds[index].content(read)
        if not now.sha256:  # the file is gone, and was read to its end before
            return
        if now.stamp[:2] != tuple(self.stamps[index][:2]) or now.sha256 != read.sha256:
            raise OSError("it was changed during the run; when it is complete, run again with --overwrite.")

    def _outcome(self, index: int, rows: ClipRows | FrameRows) -> Outcome:
        info, sha256 = self._infos.pop(index, None), self._contents.pop(index).sha256
        if error := self._failures.pop(index, None):
            reason = (str(error) or type(error).__name__).removeprefix(f"{self.sounds[index].name}: ")
            return Outcome(error=reason, sha256=sha256)
        assert info is not None  # a sound without failure was decoded to its end
        count, frames = rows.count(index)
        seconds, unheard = round(info.seconds, 6), round(info.unheard, 3)
        return Outcome(count, seconds, info.rate, info.channels, frames, unheard=unheard, sha256=sha256)

    def _finish(self, rows: NDArray[np.float32]) -> NDArray[Any]:
        if self.settings.options.normalize:
            length = np.linalg.norm(rows, axis=1, keepdims=True)
            rows = rows / np.maximum(length, np.finfo(np.float32).tiny)
        with np.errstate(over="ignore"):  # raised as an error below
            rows = rows.astype(self.settings.options.dtype)
        if not np.isfinite(rows).all():
            raise inference.VectorError("a vector has numbers beyond float16's range; give --dtype float32.")
        return rows


class ClipRows:
    """The clip vectors of a batch's sounds, or of their segments."""

    def __init__(self, pooling: Pooling) -> None:
        self._clips = defaultdict[tuple[int, int], inference.ClipVector](partial(inference.ClipVector, pooling))
        self._segments = defaultdict[int, int](int)

    def add(self, index: int, segment: int, columns: inference.ColumnVectors) -> None:
        """Take the vectors of the next window of a sound's segment; a sound that is not cut is segment 0."""
        self._clips[index, segment].add(columns)
        self._segments[index] = max(self._segments[index], segment + 1)

    def count(self, index: int) -> tuple[int, int]:
        """Return a sound's number of rows, and of frames with a row's time: none."""
        return self._segments[index], 0

    def pieces(self, index: int) -> Iterator[NDArray[np.float32]]:
        """Yield a sound's rows, (1, d) each."""
        for segment in range(self._segments[index]):
            yield self._clips.pop((index, segment)).vector()[None]


class FrameRows:
    """The frame vectors of a batch's sounds, in one nameless file until the batch is committed."""

    def __init__(self, offsets: range, folder: Path | None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._extents = defaultdict[tuple[int, int], list[tuple[int, int]]](list)  # by sound and offset: position, rows
        self._offsets, self._width = offsets, 0
        self._frames = defaultdict[int, int](int)

    def add(self, index: int, offset: int, columns: inference.ColumnVectors) -> None:
        """Take the vectors of a sound's next window in the pass at an offset."""
        rows, self._width = columns.vectors.shape
        self._extents[index, offset].append((self._file.seek(0, os.SEEK_END), rows))
        self._file.write(np.ascontiguousarray(columns.vectors, np.float32).tobytes())
        self._frames[index] += int(columns.frames.sum()) if offset == 0 else 0

    def count(self, index: int) -> tuple[int, int]:
        """Return a sound's numbers of rows, and of log-mel frames behind them."""
        return sum(rows for offset in self._offsets for _, rows in self._extents[index, offset]), self._frames[index]

    def pieces(self, index: int) -> Iterator[NDArray[np.float32]]:
        """Yield a sound's rows, (n, d), in the order of time."""
        passes = [self._chunks(index, offset) for offset in self._offsets]
        for chunks in zip_longest(*passes, fillvalue=np.empty((0, self._width), np.float32)):
            if len(piece := inference.interleave(chunks)):
                yield piece

    def _chunks(self, index: int, offset: int) -> Iterator[NDArray[np.float32]]:
        """Yield the rows of a pass in pieces of 512; the last has fewer, and may be empty."""
        waiting = np.empty((0, self._width), np.float32)
        for position, rows in self._extents[index, offset]:
            self._file.seek(position)
            content = np.frombuffer(self._file.read(4 * rows * self._width), np.float32)
            waiting = np.concatenate([waiting, content.reshape(rows, self._width)])
            while len(waiting) >= CHUNK_ROWS:
                yield waiting[:CHUNK_ROWS]
                waiting = waiting[CHUNK_ROWS:]
        yield waiting
