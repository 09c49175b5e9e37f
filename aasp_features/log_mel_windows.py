"""Blocks of samples -> windows of log-mel, at constant memory however long the clip is."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aasp_features.config import FRAME_HOP, FRAME_LENGTH
from aasp_features.model.log_mel import LogMel
from aasp_features.windows import CutWindow, WindowCutter


def log_mel_windows(
    blocks: Iterable[NDArray[np.float32] | Tensor],
    log_mel: LogMel,
    window: int,
    context: int,
    first_frames: Sequence[int] = (0,),
) -> Iterator[tuple[int, CutWindow[Tensor]]]:
    """Cut one clip by the window plan, at one or several offsets, as ``(first_frame, window)``.

    Args:
        blocks: (samples,) float32 mono at 16 kHz, in order.
        log_mel: the front end, which may be on any device; each frame is computed once.
        window, context: columns, from the options.
        first_frames: offsets of the grid of columns, in frames.
    """
    cutters = {first: WindowCutter[Tensor](window, context, torch.cat, first_frame=first) for first in first_frames}
    for piece in log_mel_pieces(blocks, log_mel):
        for first_frame, cutter in cutters.items():
            for cut in cutter.push(piece):
                yield first_frame, cut
    for first_frame, cutter in cutters.items():
        for cut in cutter.finish():
            yield first_frame, cut


def log_mel_pieces(blocks: Iterable[NDArray[np.float32] | Tensor], log_mel: LogMel) -> Iterator[Tensor]:
    """Log-mel frames of a clip, block by block: (frames, mels) pieces whose concatenation is the whole."""
    stream = LogMelStream(log_mel)
    for block in blocks:
        if (piece := stream.push(block)) is not None:
            yield piece
    if (piece := stream.finish()) is not None:
        yield piece


class LogMelStream:
    """Samples as they come -> log-mel frames; the concatenation equals that of the whole clip."""

    def __init__(self, log_mel: LogMel) -> None:
        self.log_mel, self.device = log_mel, log_mel.hann.device
        self._tail, self._samples = torch.empty(0, device=self.device), 0

    def push(self, block: NDArray[np.float32] | Tensor) -> Tensor | None:
        """Take (samples,) float32 mono at 16 kHz; the (frames, mels) that are complete, if any."""
        self._samples += len(block)
        self._tail = torch.cat([self._tail, to_device(block, self.device)])
        if len(self._tail) < FRAME_LENGTH:
            return None
        piece = self._compute()
        self._tail = self._tail[len(piece) * FRAME_HOP :]
        return piece

    def finish(self) -> Tensor | None:
        """A clip shorter than one 25 ms frame is padded with zeros to one, with a warning."""
        if not 0 < self._samples < FRAME_LENGTH:
            return None
        warnings.warn(
            f"a clip of {self._samples} samples at 16 kHz is shorter than one 25 ms frame; padded with zeros.",
            stacklevel=2,
        )
        return self._compute()

    def _compute(self) -> Tensor:
        with torch.inference_mode():
            piece: Tensor = self.log_mel(self._tail)
        return piece


def to_device(samples: NDArray[np.float32] | Tensor, device: torch.device) -> Tensor:
    """Samples as a tensor there; from the CPU to a GPU through pinned memory, so that this thread need not wait."""
    tensor = torch.from_numpy(np.array(samples, order="C")) if isinstance(samples, np.ndarray) else samples
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
