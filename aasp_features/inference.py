"""Clips → windows → batches of equal length → network → vectors: the one path of every embed call.

``embed``, ``embed_frames``, a folder run, the scoring of fine-tuning, streams and ONNX all use these functions. Each
gives ``encode_windows`` its windows and a ``run`` that computes them. torch is imported where it is used, because ONNX
runs without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Generic

import numpy as np
from numpy.typing import NDArray
from typing_extensions import NamedTuple, TypeVar  # a generic tuple, and defaults of type variables

from aasp_features.config import PATCH, VARIANCE_FLOOR, AaSPConfig, Pooling, pooled_dim
from aasp_features.errors import AaSPError
from aasp_features.windows import Items, Window, count_columns, grid_offsets, grid_times

if TYPE_CHECKING:
    from torch import Tensor

    from aasp_features.inputs import Clip
    from aasp_features.model.log_mel import LogMel
    from aasp_features.model.network import AaSPNetwork
    from aasp_features.options import EmbedOptions

Vectors = TypeVar("Vectors", default=NDArray[np.float32])
Times = TypeVar("Times", default=NDArray[np.float64])
Key = TypeVar("Key")
Run = Callable[[list[Window[Items]]], "list[ColumnVectors]"]  # computes windows of one length

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


class FrameEmbeddings(NamedTuple, Generic[Vectors, Times]):
    """Vectors along time, as numpy arrays or, for tensors, as tensors.

    Attributes:
        embeddings: (T, d) float32.
        times: (T,) float64, seconds at the centre of each vector's valid frames.
    """

    embeddings: Vectors
    times: Times


# Clips → windows


def clip_windows(
    clips: Iterable[Clip], log_mel: LogMel, options: EmbedOptions, offsets: Sequence[int] = (0,)
) -> Iterator[tuple[tuple[int, int], Window[Tensor]]]:
    """Cut clips one after the other; return each window with the index of its clip and its offset."""
    for index, clip in enumerate(clips):
        for offset, window in log_mel_windows(clip.blocks(), log_mel, options, offsets):
            yield (index, offset), window


def log_mel_windows(
    blocks: Iterable[NDArray[np.float32] | Tensor],
    log_mel: LogMel,
    options: EmbedOptions,
    offsets: Sequence[int] = (0,),
) -> Iterator[tuple[int, Window[Tensor]]]:
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


class WindowCutter(Generic[Items]):
    """Windows of a clip that comes in pieces, each as soon as it is complete.

    Regular windows start every ``window - 2 * context`` columns and emit all but their context. The last window is
    shifted back to end with the clip, and emits only the columns that are left. A window is handed out as soon as it
    cannot be the last one, so memory stays constant however long the clip is.

    Args:
        window, context: columns of a window, and of its overlap on each side.
        join: copies pieces into one: ``torch.cat`` or ``numpy.concatenate``.
        hop, length: items of a piece from one frame to the next, and in a frame: 1 and 1 for frames of log-mel, 160 and
            400 for samples.
        first_frame: frames left out at the start, which shifts the grid of columns. A clip that has no more frames than
            these gives no window.
    """

    def __init__(
        self,
        window: int,
        context: int,
        join: Callable[[list[Items]], Items],
        *,
        hop: int = 1,
        length: int = 1,
        first_frame: int = 0,
    ) -> None:
        self.window, self.context = window, context
        self._join: Callable[[list[Items]], Items] = join
        self._hop, self._length = hop, length
        self._left_out, self._items = hop * first_frame, 0  # items still to be left out; taken so far
        self._next_start, self._emitted = 0, 0  # columns
        self._held: Items | None = None
        self._held_from = 0  # column of the first item held

    @property
    def frames(self) -> int:
        """Number of frames taken so far."""
        return 0 if self._items == 0 else 1 + (max(self._items, self._length) - self._length) // self._hop

    @property
    def _columns(self) -> int:
        return count_columns(self.frames)

    def push(self, piece: Items) -> Iterator[Window[Items]]:
        """Take the next piece; cut the windows that are complete and not the last."""
        own = piece[self._left_out :]
        self._left_out -= len(piece) - len(own)
        self._items += len(own)
        self._held = own if self._held is None else self._join([self._held, own])
        columns = self._columns
        while self._next_start + self.window < columns:
            start, stop = self._next_start, self._next_start + self.window
            yield self._cut(self._held, start, stop, stop - self.context)
            self._next_start += self.window - 2 * self.context
        # The last window starts at columns - window, where columns is at least one more than was emitted.
        first_needed = max(0, min(self._next_start, self._emitted - self.window + 1))
        self._held = self._held[PATCH * self._hop * (first_needed - self._held_from) :]
        self._held_from = first_needed

    def finish(self) -> Iterator[Window[Items]]:
        """Cut the last window of the clip, unless it has no frames."""
        columns = self._columns
        if self._held is not None and self._emitted < columns:
            yield self._cut(self._held, max(0, columns - self.window), columns, columns)

    def _cut(self, held: Items, start: int, stop: int, emit_stop: int) -> Window[Items]:
        step = PATCH * self._hop
        first, last = step * (start - self._held_from), step * (stop - self._held_from)
        items = self._join([held[first : last - self._hop + self._length]])
        window, self._emitted = Window(items, start, stop, self._emitted, emit_stop), emit_stop
        return window


# Windows → vectors of their columns


def encode_windows(
    windows: Iterable[tuple[Key, Window[Items]]], run: Run[Items], columns: int
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
    windows: Iterable[tuple[Key, Window[Items]]], columns: int
) -> Iterator[list[tuple[Key, Window[Items]]]]:
    """Group windows by length as they come; arguments as in ``encode_windows``.

    All windows of a batch have the same number of columns. So nothing is padded, and no vector depends on its batch.
    A clip's windows stay in order, because a clip of several windows has windows of one length.
    """
    waiting: dict[int, list[tuple[Key, Window[Items]]]] = {}
    held = 0
    for key, window in windows:
        length = window.columns
        group = waiting.setdefault(length, [])
        group.append((key, window))
        held += length
        if (len(group) + 1) * length > columns:
            ready = length
        elif held >= max(COLUMNS_HELD, BATCHES_HELD * columns):
            ready = max(waiting, key=lambda columns: columns * len(waiting[columns]))
        else:
            continue
        batch = waiting.pop(ready)
        held -= ready * len(batch)
        yield batch
    yield from waiting.values()


def run_network(network: AaSPNetwork, options: EmbedOptions, windows: list[Window[Tensor]]) -> list[ColumnVectors]:
    """Compute windows of log-mel of one length with the network, on its device: the ``run`` of an ``AaSPEncoder``."""
    import torch

    from aasp_features.model.pooling import pool_frames

    frame_lengths = torch.tensor([len(window.items) for window in windows])
    columns = count_columns(int(frame_lengths.max()))
    log_mel = stack_log_mels([window.items for window in windows], PATCH * columns)
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
    windows: list[Window[Items]], vectors: NDArray[np.float32], frames: NDArray[np.int64], cls: NDArray[np.float32]
) -> list[ColumnVectors]:
    """Keep the columns that each window emits, of arrays (batch, columns, …); ``cls`` is (batch, dim)."""
    emitted = [window.emitted for window in windows]
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
    windows: Iterable[tuple[tuple[int, int], Window[Items]]],
    run: Run[Items],
    config: AaSPConfig,
    options: EmbedOptions,
) -> NDArray[np.float32]:
    """Encode all windows of clips and pool each clip: (clips, d) float32.

    Args:
        names: of the clips, for messages.
        windows: each with the index of its clip and its offset, as ``clip_windows`` gives them.
        run: as of ``encode_windows``.
        config: of the encoder.
        options: of the call.

    Raises:
        VectorError: NaN or infinite numbers; the sentence names the clip.
    """
    pooled = [ClipVector(options.pooling) for _ in names]
    for (index, _), vectors in encode_windows(windows, run, options.batch_size * config.window):
        pooled[index].add(check_finite(vectors, names[index]))
    nothing = np.empty((0, pooled_dim(config.dim, config.rows, options.pooling)), np.float32)
    return np.stack([one.vector() for one in pooled]) if pooled else nothing


def encode_frames(
    names: Sequence[str],
    windows: Iterable[tuple[tuple[int, int], Window[Items]]],
    run: Run[Items],
    config: AaSPConfig,
    options: EmbedOptions,
    hop: float,
) -> list[FrameEmbeddings]:
    """Encode all windows of clips and put each clip's vectors in order of time.

    ``windows`` are cut at the offsets of ``hop``. Other arguments and errors are those of ``encode_clips``.
    """
    clips: list[dict[int, list[ColumnVectors]]] = [{offset: [] for offset in grid_offsets(hop)} for _ in names]
    for (index, offset), vectors in encode_windows(windows, run, options.batch_size * config.window):
        clips[index][offset].append(check_finite(vectors, names[index]))
    return [join_passes(list(passes.values()), hop) for passes in clips]


def join_passes(passes: Sequence[Sequence[ColumnVectors]], hop: float) -> FrameEmbeddings:
    """Put the vectors of all passes over a clip in order of time; the first pass begins with the clip."""
    nothing = np.empty((0, 0), np.float32)
    vectors = [np.concatenate([one.vectors for one in windows]) if windows else nothing for windows in passes]
    frames = sum(int(one.frames.sum()) for one in passes[0])
    return FrameEmbeddings(interleave(vectors), np.asarray(grid_times(frames, hop), np.float64))


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


def interleave(passes: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Put the vectors of k passes over a clip, (columns_k, d) each, in order of time; some passes may lack the last."""
    filled = [vectors for vectors in passes if len(vectors)]
    merged = np.empty((sum(map(len, filled)), filled[0].shape[1] if filled else 0), np.float32)
    for index, vectors in enumerate(filled):
        merged[index :: len(passes)] = vectors
    return merged
