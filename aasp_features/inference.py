"""Clips → windows → batches of equal length → network → vectors: the one path of every embed call.

``embed``, ``embed_frames``, a folder run, the scoring of fine-tuning, streams and ONNX all use these functions. Each
gives ``encode_windows`` its windows and a ``run`` that computes them. torch is imported where it is used, because ONNX
runs without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from aasp_features.config import PATCH, VARIANCE_FLOOR, Pooling
from aasp_features.errors import AaSPError
from aasp_features.windows import CutWindow, Items, WindowCutter, grid_offsets, grid_times

if TYPE_CHECKING:
    from torch import Tensor

    from aasp_features.inputs import Clip
    from aasp_features.model.log_mel import LogMel
    from aasp_features.model.network import AaSPNetwork
    from aasp_features.options import EmbedOptions

Key = TypeVar("Key")
Run = Callable[[list[CutWindow[Items]]], "list[ColumnVectors]"]  # computes windows of one length

BATCHES_HELD = 4  # batches' worth of windows that may wait for their length's batch to fill, or
COLUMNS_HELD = 8192  # this many columns (64 MB of log-mel), whichever is more


class VectorError(AaSPError, ArithmeticError):
    """A network that answers a clip with NaN or infinite numbers; the sentence names the clip."""


class ColumnVectors(NamedTuple):
    """The vectors of the columns that one window emits.

    Attributes:
        vectors: (columns, d) float32.
        frames: (columns,) valid frames of each column, 1…16.
        cls: (dim,) float32, the [CLS] of the whole window.
    """

    vectors: NDArray[np.float32]
    frames: NDArray[np.int64]
    cls: NDArray[np.float32]


class FrameEmbeddings(NamedTuple):
    """Vectors along time.

    Attributes:
        embeddings: (T, d) float32.
        times: (T,) float64, seconds at the centre of each vector's valid frames.
    """

    embeddings: Any
    times: Any


# Clips → windows


def clip_windows(
    clips: Iterable[Clip], log_mel: LogMel, options: EmbedOptions, offsets: Sequence[int] = (0,)
) -> Iterator[tuple[tuple[int, int], CutWindow[Tensor]]]:
    """Cut clips one after the other; return each window with the index of its clip and its offset."""
    for index, clip in enumerate(clips):
        for offset, window in log_mel_windows(clip.blocks(), log_mel, options, offsets):
            yield (index, offset), window


def log_mel_windows(
    blocks: Iterable[NDArray[np.float32] | Tensor],
    log_mel: LogMel,
    options: EmbedOptions,
    offsets: Sequence[int] = (0,),
) -> Iterator[tuple[int, CutWindow[Tensor]]]:
    """Cut one clip into windows of log-mel, at constant memory however long it is.

    No state is shared, so several threads may cut clips at once.

    Args:
        blocks: (samples,) float32 mono at 16 kHz, in order.
        log_mel: the frontend, on any device. It computes each frame once.
        options: the window and its context.
        offsets: first frames of the grids of columns.

    Yields:
        The offset and the window.
    """
    import torch

    from aasp_features.model.log_mel import LogMelStream

    stream = LogMelStream(log_mel)
    cutters = {first: WindowCutter(options.window, options.context, torch.cat, first_frame=first) for first in offsets}
    for block in blocks:
        piece = stream.push(block)
        for offset, cutter in cutters.items():
            for window in cutter.push(piece):
                yield offset, window
    last = stream.finish()
    for offset, cutter in cutters.items():
        for window in (*cutter.push(last), *cutter.finish()):
            yield offset, window


# Windows → vectors of their columns


def encode_windows(
    windows: Iterable[tuple[Key, CutWindow[Items]]], run: Run[Items], columns: int
) -> Iterator[tuple[Key, ColumnVectors]]:
    """Encode windows in batches of equal length.

    Args:
        windows: each with a key that says where it belongs. They are taken as they are needed.
        run: computes a list of windows that have the same number of columns.
        columns: the most columns in a batch of more than one window.

    Yields:
        Each key with its vectors, which may hold NaN; see ``check_finite``. Windows of one clip stay in order.
    """
    for batch in equal_length_batches(windows, columns):
        for (key, _), vectors in zip(batch, run([window for _, window in batch]), strict=True):
            yield key, vectors


def equal_length_batches(
    windows: Iterable[tuple[Key, CutWindow[Items]]], columns: int
) -> Iterator[list[tuple[Key, CutWindow[Items]]]]:
    """Group windows by length as they come; arguments as in ``encode_windows``.

    All windows of a batch have the same number of columns. So nothing is padded, and no vector depends on its batch.
    A clip's windows stay in order, because a clip of several windows has windows of one length.
    """
    waiting: dict[int, list[tuple[Key, CutWindow[Items]]]] = {}
    held = 0
    for key, window in windows:
        group = waiting.setdefault(window.columns, [])
        group.append((key, window))
        held += window.columns
        if (len(group) + 1) * window.columns > columns:
            ready = window.columns
        elif held >= max(COLUMNS_HELD, BATCHES_HELD * columns):
            ready = max(waiting, key=lambda length: length * len(waiting[length]))
        else:
            continue
        batch = waiting.pop(ready)
        held -= ready * len(batch)
        yield batch
    yield from waiting.values()


def run_network(network: AaSPNetwork, options: EmbedOptions, windows: list[CutWindow[Tensor]]) -> list[ColumnVectors]:
    """Compute windows of log-mel of one length with the network, on its device: the ``run`` of an ``AaSPEncoder``."""
    import torch

    from aasp_features.model.pooling import pool_frames

    frame_lengths = torch.tensor([len(window.items) for window in windows])
    log_mel = stack_log_mels([window.items for window in windows], PATCH * windows[0].columns)
    autocast = torch.autocast(log_mel.device.type, torch.bfloat16, enabled=options.precision == "bfloat16")
    with torch.inference_mode(), autocast:
        features = network(log_mel, frame_lengths, options.last_layers)  # (batch, columns, rows, dim)
        vectors = pool_frames(features, options.pooling).float().cpu().numpy()  # (batch, columns, d)
    return emitted_columns(windows, vectors, features.column_frames.cpu().numpy(), features.cls.float().cpu().numpy())


def stack_log_mels(log_mels: list[Tensor], frames: int) -> Tensor:
    """Stack log-mels (frames_i, mels) into (batch, frames, mels), with zeros past each end."""
    batch = log_mels[0].new_zeros(len(log_mels), frames, log_mels[0].shape[1])
    for row, log_mel in zip(batch, log_mels, strict=True):
        row[: len(log_mel)] = log_mel
    return batch


def emitted_columns(
    windows: list[CutWindow[Items]], vectors: NDArray[np.float32], frames: NDArray[np.int64], cls: NDArray[np.float32]
) -> list[ColumnVectors]:
    """Keep the columns that each window emits, of arrays (batch, columns, …); ``cls`` is (batch, dim)."""
    emitted = [window.plan.emitted for window in windows]
    return [ColumnVectors(vectors[row, own], frames[row, own], cls[row]) for row, own in enumerate(emitted)]


def check_finite(columns: ColumnVectors, name: str) -> ColumnVectors:
    """Return ``columns`` if all numbers are finite.

    Raises:
        VectorError: NaN or infinite numbers; the sentence names the clip.
    """
    if not (np.isfinite(columns.vectors).all() and np.isfinite(columns.cls).all()):
        raise not_finite(name)
    return columns


def not_finite(name: str) -> VectorError:
    """Return the error of a clip whose vectors are not finite."""
    return VectorError(
        f"{name}: the network answers with NaN or infinite numbers, so its weights are damaged or too large; use "
        "another checkpoint."
    )


# Vectors of columns → vectors of clips


def encode_clips(
    names: Sequence[str],
    windows: Iterable[tuple[tuple[int, int], CutWindow[Items]]],
    run: Run[Items],
    columns: int,
    pooling: Pooling,
    width: int,
) -> NDArray[np.float32]:
    """Encode all windows of clips and pool each clip: (clips, width) float32.

    Args:
        names: of the clips, for messages.
        windows: each with the index of its clip and its offset, as ``clip_windows`` gives them.
        run, columns: as of ``encode_windows``.
        pooling, width: of the vectors.

    Raises:
        VectorError: NaN or infinite numbers; the sentence names the clip.
    """
    pooled = [ClipVector(pooling) for _ in names]
    for (index, _), vectors in encode_windows(windows, run, columns):
        pooled[index].add(check_finite(vectors, names[index]))
    return np.stack([one.vector() for one in pooled]) if pooled else np.empty((0, width), np.float32)


def encode_frames(
    names: Sequence[str],
    windows: Iterable[tuple[tuple[int, int], CutWindow[Items]]],
    run: Run[Items],
    columns: int,
    hop: float,
) -> list[FrameEmbeddings]:
    """Encode all windows of clips and put each clip's vectors in order of time.

    ``windows`` are cut at the offsets of ``hop``. Other arguments and errors are those of ``encode_clips``.
    """
    passes = [{offset: FrameVectors() for offset in grid_offsets(hop)} for _ in names]
    for (index, offset), vectors in encode_windows(windows, run, columns):
        passes[index][offset].add(check_finite(vectors, names[index]))
    return [
        FrameEmbeddings(
            interleave([one.vectors() for one in clip.values()]),
            np.asarray(grid_times(clip[0].frames, hop), np.float64),
        )
        for clip in passes
    ]


class ClipVector:
    """Mean and deviation of a clip's columns, weighted by their valid frames; [CLS] averaged over windows.

    It equals ``pooling.pool_clip``, but takes one window at a time and sums in float64.

    Args:
        pooling: of the vector.
    """

    def __init__(self, pooling: Pooling) -> None:
        self.pooling = pooling
        self.total: NDArray[np.float64] | float = 0.0
        self.squares: NDArray[np.float64] | float = 0.0
        self.cls: NDArray[np.float64] | float = 0.0
        self.weight, self.windows = 0, 0

    def add(self, columns: ColumnVectors) -> None:
        """Add the next window."""
        weight, vectors = columns.frames.astype(np.float64), columns.vectors.astype(np.float64)
        self.total = self.total + weight @ vectors
        if self.pooling.endswith("+std"):
            self.squares = self.squares + weight @ np.square(vectors)
        self.weight += int(columns.frames.sum())
        self.cls = self.cls + columns.cls.astype(np.float64)
        self.windows += 1

    def vector(self) -> NDArray[np.float32]:
        """Return the clip's vector, (d,) float32, once a window was added."""
        mean, cls = self.total / self.weight, self.cls / self.windows
        chosen = {"cls": [cls], "mean+cls": [mean, cls]}.get(self.pooling, [mean])
        if self.pooling.endswith("+std"):
            variance = np.maximum(self.squares / self.weight - np.square(mean), 0)
            chosen = [mean, np.sqrt(variance + VARIANCE_FLOOR)]
        return np.concatenate([np.asarray(part) for part in chosen]).astype(np.float32)


class FrameVectors:
    """Vectors of a clip's columns in order, and the number of log-mel frames they stand for."""

    def __init__(self) -> None:
        self.parts: list[NDArray[np.float32]] = []
        self.frames = 0

    def add(self, columns: ColumnVectors) -> None:
        """Add the next window."""
        self.parts.append(columns.vectors)
        self.frames += int(columns.frames.sum())

    def vectors(self) -> NDArray[np.float32]:
        """Return all vectors, (columns, d) float32."""
        return np.concatenate(self.parts) if self.parts else np.empty((0, 0), np.float32)


def interleave(passes: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Put the vectors of k passes over a clip, (columns_k, d) each, in order of time; some passes may lack the last."""
    filled = [vectors for vectors in passes if len(vectors)]
    merged = np.empty((sum(map(len, filled)), filled[0].shape[1] if filled else 0), np.float32)
    for index, vectors in enumerate(filled):
        merged[index :: len(passes)] = vectors
    return merged
