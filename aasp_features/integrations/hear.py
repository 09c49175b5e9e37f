"""The HEAR benchmark's API: ``heareval aasp_features.integrations.hear``.

HEAR asks for n = max(1, round(duration / 40 ms)) frames at (i + ½) · 40 ms. The encoder's frames are 40 ms apart on
another grid, and are interpolated linearly.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from aasp_features.config import frame_dim
from aasp_features.encoder import AaSPEncoder

HOP = 0.04  # seconds; the benchmark asks for at most 0.05


class HearModel(nn.Module):
    """An encoder with the attributes that HEAR looks for.

    Attributes:
        sample_rate: 16,000 Hz.
        scene_embedding_size, timestamp_embedding_size: numbers in a vector.
    """

    def __init__(self, encoder: AaSPEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        config = encoder.config
        self.sample_rate = config.sample_rate
        self.scene_embedding_size = config.embedding_dim
        self.timestamp_embedding_size = frame_dim(config.dim, config.rows, config.pooling)


def load_model(model_file_path: str = "", **_: object) -> HearModel:
    """Load a checkpoint, from a folder or by Hub name (default: the bundled one).

    Raises:
        CheckpointError: the checkpoint is missing or incomplete.
    """
    return HearModel(AaSPEncoder.from_pretrained(model_file_path or None))


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """Return one vector for each sound.

    Args:
        audio: (sounds, samples) float in +-1 at 16 kHz.
        model: the model from ``load_model``.

    Returns:
        (sounds, scene_embedding_size) float32, on the audio's device.
    """
    vectors: Tensor = model.encoder.embed(audio)
    return vectors


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Return vectors along time, 40 ms apart.

    Args:
        audio: (sounds, samples) float in +-1 at 16 kHz.
        model: the model from ``load_model``.

    Returns:
        (sounds, n, timestamp_embedding_size) float32 and (sounds, n) their centres in milliseconds.
    """
    samples = audio.shape[1]
    times = (np.arange(max(1, round(samples / model.sample_rate / HOP))) + 0.5) * HOP
    framed = model.encoder.embed_frames(audio.detach().cpu().numpy(), hop=HOP)
    vectors = np.stack([interpolate(frames.embeddings, frames.times, times) for frames in framed])
    stamps = torch.from_numpy(1000 * times).to(audio.device, torch.float32)
    return torch.from_numpy(vectors).to(audio.device), stamps.expand(len(audio), -1)


def interpolate(vectors: np.ndarray, at: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Interpolate (T, d) vectors at rising times linearly to (n, d) at other times; constant outside."""
    right = np.searchsorted(at, times).clip(1, max(1, len(at) - 1))
    left = right - 1
    right = np.minimum(right, len(at) - 1)
    span = np.where(right > left, at[right] - at[left], 1.0)
    weight = ((times - at[left]) / span).clip(0, 1)[:, None]
    result: np.ndarray = ((1 - weight) * vectors[left] + weight * vectors[right]).astype(np.float32)
    return result
