"""Windows of many recordings -> equal-length batches through the network -> one result for each recording.

Windows are grouped by their number of columns, so a batch holds no padded column and a clip's result cannot
depend on its batch mates. Batches are measured in columns: short windows go through the network in larger numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from aasp_features.config import VARIANCE_FLOOR, AaSPConfig, Pooling
from aasp_features.windows import Window

Key = TypeVar("Key", bound=Hashable)
Out = TypeVar("Out")
Encoded = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]
Out_co = TypeVar("Out_co", covariant=True)
BATCHES_HELD = 4  # batches' worth of windows that may wait for their length's batch to fill, or
COLUMNS_HELD = 8192  # so many columns (64 MB of log-mel), whichever is more
WINDOWS_ON_A_CPU = 8  # measured: with more, what passes between layers leaves the caches
WINDOWS_ON_A_GPU = 256
GPU_SHARE = 1 / 8  # of its memory, for what a batch needs
LIVE_VALUES = 16  # numbers held for each value of a token: state, queries, keys, values, hidden layer, last blocks


def automatic_batch_size(config: AaSPConfig, device: str) -> int:
    """Full windows encoded together where the user does not say.

    It depends on the kind of machine only, not on what else runs there, so a run that goes on takes the same.

    Args:
        config: of the encoder.
        device: kind of device: ``cpu``, ``cuda`` or another.
    """
    if device != "cuda":
        return WINDOWS_ON_A_CPU
    import torch

    memory = torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0
    window = 4 * LIVE_VALUES * config.dim * config.rows * config.window  # bytes
    return max(WINDOWS_ON_A_CPU, min(WINDOWS_ON_A_GPU, int(GPU_SHARE * memory / window)))


class CutWindow(Protocol):
    """A piece of a recording: a spectrogram, or samples."""

    @property
    def plan(self) -> Window:
        """Which columns it holds, and which of them come out."""

    @property
    def columns(self) -> int:
        """How many columns it holds."""


Piece = TypeVar("Piece", bound=CutWindow)


class Result(Protocol[Out_co]):
    """Collects what a recording's windows give, in order."""

    def add(self, frames: NDArray[np.float32], valid: NDArray[np.int64], cls: NDArray[np.float32]) -> None:
        """Take one window's emitted columns (columns, d), their valid frames (columns,), and its [CLS] (dim,)."""

    def finish(self) -> Out_co:
        """The recording's result."""


class ClipVector:
    """Mean (and deviation) over all columns, weighted by their valid frames; [CLS] averaged over windows.

    The same as ``pooling.pool_clip``, a window at a time, in float64.
    """

    def __init__(self, pooling: Pooling) -> None:
        self.pooling = pooling
        self.total: NDArray[np.float64] | float = 0.0
        self.squares: NDArray[np.float64] | float = 0.0
        self.cls: NDArray[np.float64] | float = 0.0
        self.weight, self.windows = 0, 0

    def add(self, frames: NDArray[np.float32], valid: NDArray[np.int64], cls: NDArray[np.float32]) -> None:
        """See ``Result.add``."""
        weight, columns = valid.astype(np.float64), frames.astype(np.float64)
        self.total = self.total + weight @ columns
        if self.pooling.endswith("+std"):
            self.squares = self.squares + weight @ np.square(columns)
        self.weight += int(valid.sum())
        self.cls = self.cls + cls.astype(np.float64)
        self.windows += 1

    def finish(self) -> NDArray[np.float32]:
        """The clip's vector, float32."""
        mean, cls = self.total / self.weight, self.cls / self.windows
        chosen = {"cls": [cls], "mean+cls": [mean, cls]}.get(self.pooling, [mean])
        if self.pooling.endswith("+std"):
            variance = np.maximum(self.squares / self.weight - np.square(mean), 0)
            chosen = [mean, np.sqrt(variance + VARIANCE_FLOOR)]
        return np.concatenate([np.asarray(part) for part in chosen]).astype(np.float32)


class FrameVectors:
    """All columns in order, and the valid frames of each."""

    def __init__(self) -> None:
        self.vectors: list[NDArray[np.float32]] = []
        self.valid: list[NDArray[np.int64]] = []

    def add(self, frames: NDArray[np.float32], valid: NDArray[np.int64], cls: NDArray[np.float32]) -> None:
        """See ``Result.add``."""
        self.vectors.append(frames)
        self.valid.append(valid)

    def finish(self) -> tuple[NDArray[np.float32], int]:
        """(columns, d) float32, and the number of frames they stand for."""
        if not self.vectors:
            return np.empty((0, 0), np.float32), 0
        return np.concatenate(self.vectors), int(np.concatenate(self.valid).sum())


def interleave(passes: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Vectors of the same recording at k offsets, (columns_k, d) each -> in time's order; some may lack the last."""
    filled = [vectors for vectors in passes if len(vectors)]
    merged = np.empty((sum(map(len, filled)), filled[0].shape[1] if filled else 0), np.float32)
    for place, vectors in enumerate(filled):
        merged[place :: len(passes)] = vectors
    return merged


class FrameEmbeddings(NamedTuple):
    """Vectors along time.

    Attributes:
        embeddings: (T, d) float32.
        times: (T,) float64, seconds at the centre of each vector's valid frames.
    """

    embeddings: Any
    times: Any


class _Recording(Generic[Out]):
    """A recording under way. Its windows have one length unless it is a single window, so they stay in order."""

    def __init__(self, result: Result[Out]) -> None:
        self.result, self.pending, self.ended = result, 0, False


class WindowEncoder(Generic[Key, Piece, Out]):
    """Runs the windows of many recordings, which may interleave, in batches of equal length.

    Args:
        encode: windows of one length -> each column's vector (batch, columns, d), its valid frames (batch, columns),
            and each window's [CLS] (batch, dim), as numpy.
        new_result: makes what collects a recording's vectors.
        columns: of windows encoded together, at most, unless one has more.
    """

    def __init__(
        self, encode: Callable[[list[Piece]], Encoded], new_result: Callable[[], Result[Out]], columns: int
    ) -> None:
        self.encode, self.new_result, self.columns = encode, new_result, columns
        self.held = 0  # columns that wait
        self.recordings: dict[Key, _Recording[Out]] = {}
        self.groups: dict[int, list[tuple[Key, Piece]]] = {}

    def run(self, events: Iterable[tuple[Key, Piece | Exception | None]]) -> Iterator[tuple[Key, Out | Exception]]:
        """Yield each recording's result once its last window is encoded; failed recordings as their exception."""
        for key, event in events:
            if isinstance(event, Exception):
                self.recordings.pop(key, None)
                yield key, event
            elif event is None:
                self._recording(key).ended = True
                yield from self._finished([key])
            else:
                yield from self._finished(self._accept(key, event))
        while self.groups:
            yield from self._finished(self._run_group(next(iter(self.groups))))

    def _recording(self, key: Key) -> _Recording[Out]:
        if key not in self.recordings:
            self.recordings[key] = _Recording(self.new_result())
        return self.recordings[key]

    def _accept(self, key: Key, window: Piece) -> list[Key]:
        self._recording(key).pending += 1
        group = self.groups.setdefault(window.columns, [])
        group.append((key, window))
        self.held += window.columns
        if (len(group) + 1) * window.columns > self.columns:
            return self._run_group(window.columns)
        if self.held >= max(COLUMNS_HELD, BATCHES_HELD * self.columns):
            return self._run_group(max(self.groups, key=lambda columns: columns * len(self.groups[columns])))
        return []

    def _run_group(self, columns: int) -> list[Key]:
        waiting = self.groups.pop(columns)
        self.held -= columns * len(waiting)
        group = [(key, window) for key, window in waiting if key in self.recordings]
        if not group:
            return []
        vectors, valid, cls = self.encode([window for _, window in group])
        for row, (key, window) in enumerate(group):
            emitted = slice(window.plan.emit_start - window.plan.start, window.plan.emit_stop - window.plan.start)
            recording = self.recordings[key]
            recording.result.add(vectors[row, emitted], valid[row, emitted], cls[row])
            recording.pending -= 1
        return [key for key, _ in group]

    def _finished(self, keys: Iterable[Key]) -> Iterator[tuple[Key, Out]]:
        for key in dict.fromkeys(keys):
            recording = self.recordings.get(key)
            if recording is not None and recording.ended and recording.pending == 0:
                del self.recordings[key]
                yield key, recording.result.finish()
