"""What the windows of a clip give -> its vector, or its vectors along time; numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aasp_features.config import VARIANCE_FLOOR, Pooling
from aasp_features.errors import AaSPError


class VectorError(AaSPError, ArithmeticError):
    """A network that answers a clip with NaN or infinite numbers; the sentence names the clip."""


class ColumnVectors(NamedTuple):
    """What comes out of one window.

    Attributes:
        vectors: (columns, d) float32, of the columns that it emits.
        frames: (columns,) valid frames of each, 1…16.
        cls: (dim,) float32, the whole window's [CLS].
    """

    vectors: NDArray[np.float32]
    frames: NDArray[np.int64]
    cls: NDArray[np.float32]


def finite_columns(columns: ColumnVectors, name: str) -> ColumnVectors:
    """The same, once they have been looked at.

    Raises:
        VectorError: NaN or infinite numbers.
    """
    if not (np.isfinite(columns.vectors).all() and np.isfinite(columns.cls).all()):
        raise not_finite(name)
    return columns


def not_finite(name: str) -> VectorError:
    """The error of a clip for which the network's numbers are none."""
    return VectorError(
        f"{name}: the network answers with NaN or infinite numbers, so its weights are damaged or too large; use "
        "another checkpoint."
    )


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

    def add(self, columns: ColumnVectors) -> None:
        """Take the next window's."""
        weight, vectors = columns.frames.astype(np.float64), columns.vectors.astype(np.float64)
        self.total = self.total + weight @ vectors
        if self.pooling.endswith("+std"):
            self.squares = self.squares + weight @ np.square(vectors)
        self.weight += int(columns.frames.sum())
        self.cls = self.cls + columns.cls.astype(np.float64)
        self.windows += 1

    def vector(self) -> NDArray[np.float32]:
        """The clip's vector, float32."""
        mean, cls = self.total / self.weight, self.cls / self.windows
        chosen = {"cls": [cls], "mean+cls": [mean, cls]}.get(self.pooling, [mean])
        if self.pooling.endswith("+std"):
            variance = np.maximum(self.squares / self.weight - np.square(mean), 0)
            chosen = [mean, np.sqrt(variance + VARIANCE_FLOOR)]
        return np.concatenate([np.asarray(part) for part in chosen]).astype(np.float32)


def stack_clips(clips: Sequence[ClipVector], single: bool, width: int) -> NDArray[np.float32]:
    """The vector of a single clip, (width,), or those of several, (B, width), though B be 0."""
    vectors = [clip.vector() for clip in clips]
    if single:
        return vectors[0]
    return np.stack(vectors) if vectors else np.empty((0, width), np.float32)


class FrameVectors:
    """All columns in order, and the log-mel frames that they stand for."""

    def __init__(self) -> None:
        self.parts: list[NDArray[np.float32]] = []
        self.frames = 0

    def add(self, columns: ColumnVectors) -> None:
        """Take the next window's."""
        self.parts.append(columns.vectors)
        self.frames += int(columns.frames.sum())

    def vectors(self) -> NDArray[np.float32]:
        """(columns, d) float32."""
        return np.concatenate(self.parts) if self.parts else np.empty((0, 0), np.float32)


class FrameEmbeddings(NamedTuple):
    """Vectors along time.

    Attributes:
        embeddings: (T, d) float32.
        times: (T,) float64, seconds at the centre of each vector's valid frames.
    """

    embeddings: Any
    times: Any


def interleave(passes: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Vectors of the same clip at k offsets, (columns_k, d) each -> in time's order; some may lack the last."""
    filled = [vectors for vectors in passes if len(vectors)]
    merged = np.empty((sum(map(len, filled)), filled[0].shape[1] if filled else 0), np.float32)
    for place, vectors in enumerate(filled):
        merged[place :: len(passes)] = vectors
    return merged
