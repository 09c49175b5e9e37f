"""Blocks of samples -> windows of log-mel, at constant memory however long the recording is."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aasp_features.config import FRAME_HOP, FRAME_LENGTH, PATCH
from aasp_features.log_mel import LogMel
from aasp_features.windows import Window, WindowPlanner, count_columns


@dataclass(frozen=True)
class SpectrogramWindow:
    """A piece of a recording, ready for the network.

    Attributes:
        log_mel: (frames, mels) standardised, on the front end's device; only a recording's last window can end inside
            a column.
        plan: which columns these are, and which of them come out.
    """

    log_mel: Tensor
    plan: Window

    @property
    def columns(self) -> int:
        return self.plan.stop - self.plan.start


def spectrogram_windows(
    blocks: Iterable[NDArray[np.float32]],
    log_mel: LogMel,
    window: int,
    context: int,
    first_frames: Sequence[int] = (0,),
) -> Iterator[tuple[int, SpectrogramWindow]]:
    """Cut one recording by the window plan, at one or several offsets, as ``(first_frame, window)``.

    Args:
        blocks: (samples,) float32 mono at 16 kHz, in order.
        log_mel: the front end, which may be on any device; each frame is computed once.
        window, context: columns, from the config.
        first_frames: offsets of the grid of columns, in frames.
    """
    cutters = {first_frame: WindowCutter(window, context, first_frame) for first_frame in first_frames}
    for piece in log_mel_pieces(blocks, log_mel):
        for first_frame, cutter in cutters.items():
            for cut in cutter.push(piece):
                yield first_frame, cut
    for first_frame, cutter in cutters.items():
        for cut in cutter.finish():
            yield first_frame, cut


class WindowCutter:
    """Log-mel pieces of one recording, as they come -> windows, each as soon as it is complete.

    Args:
        window, context: columns, from the config.
        first_frame: frames left out at the start, which shifts the grid of columns; a recording that has no more
            than these gives no window.
    """

    def __init__(self, window: int, context: int, first_frame: int = 0) -> None:
        self._planner = WindowPlanner(window, context)
        self._held, self._held_from = torch.empty(0), 0  # frames, and the column of the first of them
        self.frames = -first_frame

    def push(self, piece: Tensor) -> Iterator[SpectrogramWindow]:
        """Take the next (frames, mels)."""
        skip = max(0, -self.frames)
        self.frames += len(piece)
        self._held = torch.cat([self._held, piece[skip:]]) if len(self._held) else piece[skip:]
        for plan in self._planner.advance(count_columns(max(0, self.frames))):
            yield self._cut(plan)
        drop = self._planner.oldest_needed - self._held_from
        self._held, self._held_from = self._held[PATCH * drop :], self._held_from + drop

    def finish(self) -> Iterator[SpectrogramWindow]:
        """What is left at the end of the recording."""
        if self.frames > 0:
            for plan in self._planner.finish(count_columns(self.frames)):
                yield self._cut(plan)

    def _cut(self, plan: Window) -> SpectrogramWindow:
        start, stop = PATCH * (plan.start - self._held_from), PATCH * (plan.stop - self._held_from)
        return SpectrogramWindow(self._held[start:stop].clone(), plan)


def log_mel_pieces(blocks: Iterable[NDArray[np.float32]], log_mel: LogMel) -> Iterator[Tensor]:
    """Log-mel frames of a recording, block by block: (frames, mels) pieces whose concatenation is the whole."""
    stream = LogMelStream(log_mel)
    for block in blocks:
        if (piece := stream.push(block)) is not None:
            yield piece
    if (piece := stream.finish()) is not None:
        yield piece


class LogMelStream:
    """Samples as they come -> log-mel frames; the concatenation equals that of the whole recording."""

    def __init__(self, log_mel: LogMel) -> None:
        self.log_mel = log_mel
        self._tail, self._samples = np.empty(0, np.float32), 0

    def push(self, block: NDArray[np.float32]) -> Tensor | None:
        """Take (samples,) float32 mono at 16 kHz; the (frames, mels) that are complete, if any."""
        self._samples += len(block)
        self._tail = np.concatenate([self._tail, block])
        if len(self._tail) < FRAME_LENGTH:
            return None
        piece = self._compute()
        self._tail = self._tail[len(piece) * FRAME_HOP :]
        return piece

    def finish(self) -> Tensor | None:
        """A recording shorter than one 25 ms frame is padded with zeros to one, with a warning."""
        if not 0 < self._samples < FRAME_LENGTH:
            return None
        warnings.warn(
            f"a recording of {self._samples} samples at 16 kHz is shorter than one 25 ms frame; padded with zeros.",
            stacklevel=2,
        )
        return self._compute()

    def _compute(self) -> Tensor:
        with torch.inference_mode():
            piece: Tensor = self.log_mel(to_device(self._tail, self.log_mel.window.device))
        return piece


def to_device(samples: NDArray[np.float32], device: torch.device) -> Tensor:
    """Samples as a tensor there; to a GPU through pinned memory, so that this thread need not wait for the copy."""
    tensor = torch.from_numpy(samples)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
