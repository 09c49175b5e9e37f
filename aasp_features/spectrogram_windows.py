"""Blocks of samples -> windows of log-mel, at constant memory however long the recording is."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
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
    blocks: Iterable[NDArray[np.float32]], log_mel: LogMel, window: int, context: int, first_frame: int = 0
) -> Iterator[SpectrogramWindow]:
    """Cut one recording by the window plan.

    Args:
        blocks: (samples,) float32 mono at 16 kHz, in order.
        log_mel: the front end, which may be on any device.
        window, context: columns, from the config.
        first_frame: frames left out at the start, which shifts the grid of columns; a recording that has no more
            than these gives no window.
    """
    planner = WindowPlanner(window, context)
    held, held_from, frames = torch.empty(0), 0, -first_frame  # held_from: column of held's first frame
    for piece in log_mel_pieces(blocks, log_mel):
        skip = max(0, -frames)
        frames += len(piece)
        held = torch.cat([held, piece[skip:]]) if len(held) else piece[skip:]
        for plan in planner.advance(max(0, frames) // PATCH):
            yield _cut(held, held_from, plan)
        drop = planner.oldest_needed - held_from
        held, held_from = held[PATCH * drop :], held_from + drop
    if frames > 0:
        for plan in planner.finish(count_columns(frames)):
            yield _cut(held, held_from, plan)


def log_mel_pieces(blocks: Iterable[NDArray[np.float32]], log_mel: LogMel) -> Iterator[Tensor]:
    """Log-mel frames of a recording, block by block: (frames, mels) pieces whose concatenation is the whole.

    A recording shorter than one 25 ms frame is padded with zeros to one, with a warning.
    """
    tail, samples = np.empty(0, np.float32), 0
    for block in blocks:
        samples += len(block)
        tail = np.concatenate([tail, block])
        if len(tail) >= FRAME_LENGTH:
            frames = 1 + (len(tail) - FRAME_LENGTH) // FRAME_HOP
            with torch.inference_mode():
                yield log_mel(torch.from_numpy(tail).to(log_mel.window.device))
            tail = tail[frames * FRAME_HOP :]
    if 0 < samples < FRAME_LENGTH:
        warnings.warn(
            f"a recording of {samples} samples at 16 kHz is shorter than one 25 ms frame; padded with zeros.",
            stacklevel=2,
        )
        with torch.inference_mode():
            yield log_mel(torch.from_numpy(tail).to(log_mel.window.device))


def _cut(held: Tensor, held_from: int, plan: Window) -> SpectrogramWindow:
    start, stop = PATCH * (plan.start - held_from), PATCH * (plan.stop - held_from)
    return SpectrogramWindow(held[start:stop].clone(), plan)
