"""Windows of many recordings -> equal-length batches through the network -> one result for each recording.

Windows are grouped by their number of columns, so a batch holds no padded column and a clip's result cannot
depend on its batch mates.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aasp_features.config import PATCH, Pooling
from aasp_features.network import AaSPNetwork, Features
from aasp_features.pooling import pool_frames
from aasp_features.spectrogram_windows import SpectrogramWindow

Key = TypeVar("Key", bound=Hashable)
Out = TypeVar("Out")
Out_co = TypeVar("Out_co", covariant=True)
Event = tuple[Key, "SpectrogramWindow | Exception | None"]
GROUPS_HELD = 4  # batches' worth of windows that may wait for their length's batch to fill


class Result(Protocol[Out_co]):
    """Collects what a recording's windows give, in order."""

    def add(self, frames: NDArray[np.float32], valid: NDArray[np.int64], cls: NDArray[np.float32]) -> None:
        """Take one window's emitted columns (columns, d), their valid frames (columns,), and its [CLS] (dim,)."""

    def finish(self) -> Out_co:
        """The recording's result."""


class ClipVector:
    """The mean over all columns, weighted by their valid frames; [CLS] averaged over windows."""

    def __init__(self, pooling: Pooling) -> None:
        self.pooling = pooling
        self.total: NDArray[np.float64] | float = 0.0
        self.cls: NDArray[np.float64] | float = 0.0
        self.weight, self.windows = 0, 0

    def add(self, frames: NDArray[np.float32], valid: NDArray[np.int64], cls: NDArray[np.float32]) -> None:
        """See ``Result.add``."""
        self.total = self.total + valid.astype(np.float64) @ frames.astype(np.float64)
        self.weight += int(valid.sum())
        self.cls = self.cls + cls.astype(np.float64)
        self.windows += 1

    def finish(self) -> NDArray[np.float32]:
        """The clip's vector, float32."""
        mean, cls = self.total / self.weight, self.cls / self.windows
        chosen = {"cls": [cls], "mean+cls": [mean, cls]}.get(self.pooling, [mean])
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


class WindowEncoder(Generic[Key, Out]):
    """Runs the windows of many recordings, which may interleave, in batches of equal length."""

    def __init__(
        self,
        network: AaSPNetwork,
        new_result: Callable[[], Result[Out]],
        pooling: Pooling,
        layers: int,
        batch_size: int,
    ) -> None:
        self.network, self.new_result = network, new_result
        self.pooling, self.layers, self.batch_size = pooling, layers, batch_size
        self.recordings: dict[Key, _Recording[Out]] = {}
        self.groups: dict[int, list[tuple[Key, SpectrogramWindow]]] = {}

    def run(self, events: Iterable[Event[Key]]) -> Iterator[tuple[Key, Out | Exception]]:
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

    def _accept(self, key: Key, window: SpectrogramWindow) -> list[Key]:
        self._recording(key).pending += 1
        group = self.groups.setdefault(window.columns, [])
        group.append((key, window))
        if len(group) >= self.batch_size:
            return self._run_group(window.columns)
        if sum(map(len, self.groups.values())) >= GROUPS_HELD * self.batch_size:
            return self._run_group(max(self.groups, key=lambda columns: len(self.groups[columns])))
        return []

    def _run_group(self, columns: int) -> list[Key]:
        group = [(key, window) for key, window in self.groups.pop(columns) if key in self.recordings]
        if not group:
            return []
        vectors, valid, cls = self._encode([window for _, window in group])
        for row, (key, window) in enumerate(group):
            emitted = slice(window.plan.emit_start - window.plan.start, window.plan.emit_stop - window.plan.start)
            recording = self.recordings[key]
            recording.result.add(vectors[row, emitted], valid[row, emitted], cls[row])
            recording.pending -= 1
        return [key for key, _ in group]

    def _encode(
        self, windows: list[SpectrogramWindow]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
        frames = torch.tensor([len(window.log_mel) for window in windows])
        batch = stack_log_mels([window.log_mel for window in windows], PATCH * windows[0].columns)
        with torch.inference_mode():
            features: Features = self.network(batch, frames.to(batch.device), self.layers)
            vectors = pool_frames(features, self.pooling).float().cpu().numpy()
        return vectors, features.valid.cpu().numpy(), features.cls.float().cpu().numpy()

    def _finished(self, keys: Iterable[Key]) -> Iterator[tuple[Key, Out]]:
        for key in dict.fromkeys(keys):
            recording = self.recordings.get(key)
            if recording is not None and recording.ended and recording.pending == 0:
                del self.recordings[key]
                yield key, recording.result.finish()


def stack_log_mels(log_mels: list[Tensor], frames: int) -> Tensor:
    """(frames_i, mels) each -> (batch, frames, mels), zeros past each end."""
    batch = log_mels[0].new_zeros(len(log_mels), frames, log_mels[0].shape[1])
    for row, log_mel in zip(batch, log_mels, strict=True):
        row[: len(log_mel)] = log_mel
    return batch
