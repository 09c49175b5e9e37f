"""Batches of sounds -> outcomes and rows, on this machine: on one device, or on several at once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import cached_property, partial
from itertools import chain, cycle, zip_longest
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from aasp_features.audio.reading import AudioInfo
from aasp_features.config import FRAME_HOP, Pooling
from aasp_features.contents import Content
from aasp_features.encoder import AaSPEncoder
from aasp_features.folder.options import RunSettings
from aasp_features.folder.plan import Plan
from aasp_features.folder.state import BatchResult, Outcome
from aasp_features.inference import (
    ClipVector,
    ColumnVectors,
    VectorError,
    check_finite,
    encode_windows,
    interleave,
    log_mel_windows,
    run_network,
)
from aasp_features.sounds.read_ahead import ReadAhead
from aasp_features.sounds.sound import Sound
from aasp_features.windows import CutWindow

BATCHES_AHEAD = 2  # results of a device that may wait while another is at an earlier batch
CHUNK_ROWS = 512

Window = tuple[int, CutWindow[Tensor]]  # with the offset of its pass over the sound, in frames


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
        self, plan: Plan, done: int, folder: Path, on_seconds: Callable[[float], None]
    ) -> Generator[BatchResult, None, None]:
        """Yield the results of a plan's batches after the first ``done`` sounds, in order; see ``run.Engine``."""
        left, devices = plan.left(done), len(self.encoders)
        shares = [
            BatchWork(encoder, plan.sounds, plan.stamps, plan.settings, folder, on_seconds).results(
                left[first::devices], self.workers
            )
            for first, encoder in enumerate(self.encoders[: len(left)])
        ]
        if len(shares) == 1:
            yield from shares[0]
            return
        with ExitStack() as stack:
            ahead = [_in_thread(share, stack) for share in shares]
            for _, share in zip(left, cycle(ahead), strict=False):
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
        folder: of temporary files; None takes the system's.
        on_seconds: called with seconds of sound as they are encoded.
    """

    def __init__(
        self,
        encoder: AaSPEncoder,
        sounds: Sequence[Sound],
        stamps: NDArray[np.int64],
        settings: RunSettings,
        folder: Path | None = None,
        on_seconds: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self.encoder, self.sounds, self.stamps, self.settings = encoder, sounds, stamps, settings
        self.folder, self.on_seconds = folder, on_seconds
        self._infos: dict[int, AudioInfo] = {}  # of sounds that were decoded to their end
        self._contents: dict[int, Content] = {}  # of sounds, before they were decoded
        self._failures: dict[int, Exception] = {}

    def results(self, batches: Sequence[range], threads: int) -> Generator[BatchResult, None, None]:
        """Yield each batch's result; up to 32 further sounds are decoded, by so many threads, while one is encoded."""
        with ReadAhead(self._decode, chain.from_iterable(batches), threads) as decoded:
            sounds = iter(decoded)
            for batch in batches:
                yield self._encode(batch, sounds)

    def _decode(self, index: int) -> Generator[Window, None, None]:
        sound, settings = self.sounds[index], self.settings
        self._contents[index] = sound.content()
        stream = sound.stream(self.encoder.config.sample_rate, settings.max_hours)
        yield from log_mel_windows(stream, self.encoder.log_mel, settings.embed, settings.offsets)
        self._infos[index] = stream.info

    def _encode(self, batch: range, sounds: Iterator[Iterator[Window]]) -> BatchResult:
        embed, config, spill = self.settings.embed, self.encoder.config, SpillFile(self.folder)
        rows = {index: self._new_rows(spill) for index in batch}
        windows, run = self._windows(batch, sounds), partial(run_network, self.encoder.network, embed)
        for (index, offset), columns in encode_windows(windows, run, embed.batch_size * config.window):
            try:
                rows[index].add(offset, check_finite(columns, self.sounds[index].name))
            except VectorError as error:
                self._failures.setdefault(index, error)
            if offset == 0:
                self.on_seconds(int(columns.frames.sum()) * FRAME_HOP / config.sample_rate)
        good = [rows[index] for index in batch if index not in self._failures]
        outcomes = [self._outcome(index, rows[index]) for index in batch]
        return BatchResult(outcomes, self._finished(good, spill))

    def _new_rows(self, spill: SpillFile) -> ClipRow | FrameRows:
        settings = self.settings
        return FrameRows(spill, settings.offsets) if settings.frames else ClipRow(settings.embed.pooling)

    def _windows(
        self, batch: range, sounds: Iterator[Iterator[Window]]
    ) -> Iterator[tuple[tuple[int, int], CutWindow[Tensor]]]:
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

    def _outcome(self, index: int, rows: ClipRow | FrameRows) -> Outcome:
        info, sha256 = self._infos.pop(index, None), self._contents.pop(index).sha256
        if error := self._failures.pop(index, None):
            reason = (str(error) or type(error).__name__).removeprefix(f"{self.sounds[index].name}: ")
            return Outcome(error=reason, sha256=sha256)
        assert info is not None  # a sound without failure was decoded to its end
        seconds, unheard = round(info.seconds, 6), round(info.unheard, 3)
        return Outcome(rows.rows, seconds, info.rate, info.channels, rows.frames, unheard=unheard, sha256=sha256)

    def _finished(self, good: Sequence[ClipRow | FrameRows], spill: SpillFile) -> Iterator[NDArray[Any]]:
        with closing(spill):
            for rows in good:
                yield from map(self._finish, rows.pieces())

    def _finish(self, rows: NDArray[np.float32]) -> NDArray[Any]:
        if self.settings.normalize:
            length = np.linalg.norm(rows, axis=1, keepdims=True)
            rows = rows / np.maximum(length, np.finfo(np.float32).tiny)
        with np.errstate(over="ignore"):  # raised as an error below
            rows = rows.astype(self.settings.dtype)
        if not np.isfinite(rows).all():
            raise VectorError("a vector has numbers beyond float16's range; give --dtype float32.")
        return rows


class ClipRow:
    """The one row of a sound."""

    rows, frames = 1, 0

    def __init__(self, pooling: Pooling) -> None:
        self._clip = ClipVector(pooling)

    def add(self, offset: int, columns: ColumnVectors) -> None:
        """Take the next window's vectors; there is one pass, at offset 0."""
        self._clip.add(columns)

    def pieces(self) -> Iterator[NDArray[np.float32]]:
        """Yield the row, (1, d)."""
        yield self._clip.vector()[None]


class SpillFile:
    """A nameless file that all sounds of a batch share, made when something is written."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    @cached_property
    def _file(self) -> IO[bytes]:
        return tempfile.TemporaryFile(dir=self._folder)  # see close

    def close(self) -> None:
        """Drop the file; twice is once."""
        if "_file" in self.__dict__:
            self._file.close()

    def append(self, rows: NDArray[np.float32]) -> int:
        """Write rows at the end; return their position."""
        position = self._file.seek(0, os.SEEK_END)
        self._file.write(np.ascontiguousarray(rows, np.float32).tobytes())
        return position

    def read(self, position: int, rows: int, width: int) -> NDArray[np.float32]:
        """Return (rows, width) from a position."""
        self._file.seek(position)
        return np.frombuffer(self._file.read(4 * rows * width), np.float32).reshape(rows, width)


class FrameRows:
    """Rows of the frames of a sound, from passes over it at several offsets, in a spill file.

    Attributes:
        rows: number of rows so far.
        frames: log-mel frames that they stand for.
    """

    def __init__(self, spill: SpillFile, offsets: range) -> None:
        self._spill, self._extents = spill, {offset: list[tuple[int, int]]() for offset in offsets}
        self._width, self.rows, self.frames = 0, 0, 0

    def add(self, offset: int, columns: ColumnVectors) -> None:
        """Take the vectors of the next window of the pass at an offset."""
        rows, self._width = columns.vectors.shape
        self._extents[offset].append((self._spill.append(columns.vectors), rows))
        self.rows += rows
        self.frames += int(columns.frames.sum()) if offset == 0 else 0

    def pieces(self) -> Iterator[NDArray[np.float32]]:
        """Yield (n, d) rows in the order of time."""
        passes, none = map(self._chunks, self._extents.values()), np.empty((0, self._width), np.float32)
        for chunks in zip_longest(*passes, fillvalue=none):
            if len(piece := interleave(chunks)):
                yield piece

    def _chunks(self, extents: list[tuple[int, int]]) -> Iterator[NDArray[np.float32]]:
        """Yield a pass in pieces of 512 rows; the last has fewer, and may be empty."""
        waiting = np.empty((0, self._width), np.float32)
        for position, rows in extents:
            waiting = np.concatenate([waiting, self._spill.read(position, rows, self._width)])
            while len(waiting) >= CHUNK_ROWS:
                yield waiting[:CHUNK_ROWS]
                waiting = waiting[CHUNK_ROWS:]
        yield waiting
