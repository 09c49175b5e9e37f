"""A batch of windows -> what comes out of each, by the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from aasp_features.config import PATCH
from aasp_features.network import AaSPNetwork
from aasp_features.options import EmbedOptions
from aasp_features.pooling import pool_frames
from aasp_features.vectors import ColumnVectors
from aasp_features.windows import CutWindow

Key = TypeVar("Key")


def encode_batch(
    network: AaSPNetwork, batch: Sequence[tuple[Key, CutWindow[Tensor]]], options: EmbedOptions
) -> Iterator[tuple[Key, ColumnVectors]]:
    """The vectors of the columns that each window emits, in the batch's order; numpy float32.

    Args:
        network: on the windows' device.
        batch: windows of log-mel of one length, each with the key of its clip.
        options: pooling, last layers, precision.
    """
    windows = [window for _, window in batch]
    frame_lengths = torch.tensor([len(window.items) for window in windows])
    log_mel = stack_log_mels([window.items for window in windows], PATCH * windows[0].columns)
    autocast = torch.autocast(log_mel.device.type, torch.bfloat16, enabled=options.precision == "bfloat16")
    with torch.inference_mode(), autocast:
        features = network(log_mel, frame_lengths, options.last_layers)  # (batch, columns, rows, dim)
        vectors = pool_frames(features, options.pooling).float().cpu().numpy()  # (batch, columns, d)
    frames, cls = features.column_frames.cpu().numpy(), features.cls.float().cpu().numpy()
    for row, (key, window) in enumerate(batch):
        emitted = window.plan.emitted
        yield key, ColumnVectors(vectors[row, emitted], frames[row, emitted], cls[row])


def stack_log_mels(log_mels: list[Tensor], frames: int) -> Tensor:
    """(frames_i, mels) each -> (batch, frames, mels), zeros past each end."""
    batch = log_mels[0].new_zeros(len(log_mels), frames, log_mels[0].shape[1])
    for row, log_mel in zip(batch, log_mels, strict=True):
        row[: len(log_mel)] = log_mel
    return batch
