"""Clips, or a batch of their windows -> what comes out of each window, by the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from aasp_features.audio.resampling import warn_unheard
from aasp_features.batching import equal_length_batches
from aasp_features.config import PATCH
from aasp_features.inputs import Clip
from aasp_features.log_mel_windows import log_mel_windows
from aasp_features.model.log_mel import LogMel
from aasp_features.model.network import AaSPNetwork
from aasp_features.model.pooling import pool_frames
from aasp_features.options import EmbedOptions
from aasp_features.vectors import ColumnVectors, finite_columns
from aasp_features.windows import CutWindow

Key = TypeVar("Key")


def encode_clips(
    log_mel: LogMel,
    network: AaSPNetwork,
    clips: Iterable[Clip],
    options: EmbedOptions,
    offsets: Sequence[int] = (0,),
) -> Iterator[tuple[tuple[int, int], ColumnVectors]]:
    """The vectors of all windows of clips, each with the number of its clip and its offset; a clip's are in order.

    Args:
        log_mel, network: of the encoder.
        clips: read one after the other, each when it is needed.
        options: window, context, batch size; and those of ``encode_batch``.
        offsets: of the grid of columns, in frames.

    Raises:
        VectorError: NaN or infinite numbers; the sentence names the clip.

    Warns:
        UserWarning: clips whose energy lies mostly above 8 kHz.
    """
    names: list[str] = []
    unheard: list[tuple[str, float]] = []

    def windows() -> Iterator[tuple[tuple[int, int], CutWindow[Tensor]]]:
        for number, clip in enumerate(clips):
            names.append(clip.name)
            for offset, window in log_mel_windows(clip.blocks(), log_mel, options.window, options.context, offsets):
                yield (number, offset), window
            unheard.append((clip.name, clip.unheard))

    for batch in equal_length_batches(windows(), options.batch_size * network.config.window):
        for key, columns in encode_batch(network, batch, options):
            yield key, finite_columns(columns, names[key[0]])
    warn_unheard(unheard, stacklevel=3)


def encode_batch(
    network: AaSPNetwork,
    batch: Sequence[tuple[Key, CutWindow[Tensor]]],
    options: EmbedOptions,
) -> Iterator[tuple[Key, ColumnVectors]]:
    """The vectors of the columns that each window emits, in the batch's order; numpy float32.

    Args:
        network: on the windows' device.
        batch: windows of log-mel of one length, each with the key of its clip.
        options: pooling, last layers, precision.

    They are as the network gives them; see ``finite_columns``.
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
