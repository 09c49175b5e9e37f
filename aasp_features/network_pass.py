"""Windows of one length -> their vectors, by the network: what ``WindowEncoder`` calls."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aasp_features.batching import Encoded
from aasp_features.config import PATCH, Pooling, Precision
from aasp_features.network import AaSPNetwork
from aasp_features.pooling import pool_frames
from aasp_features.spectrogram_windows import SpectrogramWindow


def network_pass(
    network: AaSPNetwork, pooling: Pooling, layers: int, precision: Precision = "float32"
) -> Callable[[list[SpectrogramWindow]], Encoded]:
    """A function from windows of one length to their columns' vectors, valid frames and [CLS], in numpy.

    ``bfloat16`` is that of the matrix products; what comes out is float32.
    """

    def encode(windows: list[SpectrogramWindow]) -> Encoded:
        frames = torch.tensor([len(window.log_mel) for window in windows])
        batch = stack_log_mels([window.log_mel for window in windows], PATCH * windows[0].columns)
        autocast = torch.autocast(batch.device.type, torch.bfloat16, enabled=precision == "bfloat16")
        with torch.inference_mode(), autocast:
            features = network(batch, frames, layers)
            vectors = pool_frames(features, pooling).float().cpu().numpy()
        return vectors, features.valid.cpu().numpy(), features.cls.float().cpu().numpy()

    return encode


def stack_log_mels(log_mels: list[Tensor], frames: int) -> Tensor:
    """(frames_i, mels) each -> (batch, frames, mels), zeros past each end."""
    batch = log_mels[0].new_zeros(len(log_mels), frames, log_mels[0].shape[1])
    for row, log_mel in zip(batch, log_mels, strict=True):
        row[: len(log_mel)] = log_mel
    return batch
