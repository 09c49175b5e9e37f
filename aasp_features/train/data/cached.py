"""A folder of audio or tar shards -> every recording's log-mel in memory, decoded once.

Log-mels are kept as float16 in one tensor, back to back, so that a step cuts its crops on the training device and
never waits for a decoder.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from aasp_features.config import AaSPConfig
from aasp_features.log_mel import LogMel
from aasp_features.train.data.reading import Sound, decode, find_sounds, in_order


class Corpus(NamedTuple):
    """Log-mels of all recordings.

    Attributes:
        log_mel: (total frames, mels) float16, standardised.
        start: (recordings,) first frame of each.
        frames: (recordings,) frames of each.
        mean, std: the two numbers that standardised it.
    """

    log_mel: Tensor
    start: Tensor
    frames: Tensor
    mean: float
    std: float

    def to(self, device: torch.device) -> Corpus:
        """The same on another device."""
        return Corpus(self.log_mel.to(device), self.start.to(device), self.frames.to(device), self.mean, self.std)


def load_corpus(data: Path, config: AaSPConfig, workers: int | None = None) -> Corpus:
    """Decode everything under ``data`` in threads; broken files are logged and left out.

    Args:
        data: a folder (searched recursively) of audio files or of ``.tar`` shards, or one of these files.
        config: of the front end; its mean and std are replaced by the corpus' own.

    Raises:
        ValueError: nothing that can be read.
    """
    raw = LogMel(config.replace(mean=0.0, std=1.0))

    def log_mel_of(sound: Sound) -> Tensor | None:
        waveform = decode(sound)
        return None if waveform is None else raw(torch.from_numpy(waveform)).half()

    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        pieces = [piece for piece in in_order(pool, log_mel_of, find_sounds(data)) if piece is not None]
    if not pieces:
        raise ValueError(f"no audio found in {data}; a folder of audio files or of .tar shards is wanted.")
    log_mel = torch.cat(pieces)
    frames = torch.tensor([len(piece) for piece in pieces])
    mean, std = _statistics(log_mel)
    for part in torch.split(log_mel, 1 << 16):
        part.copy_((part.float() - mean) / std)
    return Corpus(log_mel, frames.cumsum(0) - frames, frames, mean, std)


def _statistics(log_mel: Tensor) -> tuple[float, float]:
    total, squares = 0.0, 0.0
    for part in torch.split(log_mel, 1 << 16):
        values = part.double()
        total, squares = total + values.sum().item(), squares + values.square().sum().item()
    mean = total / log_mel.numel()
    return mean, max(squares / log_mel.numel() - mean**2, 1e-12) ** 0.5
