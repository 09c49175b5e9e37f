"""A folder of audio or tar shards -> every sound's log-mel in memory, decoded once.

Log-mels are kept as float16 in one tensor, back to back, so that a step cuts its clips on the training device and
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
from aasp_features.train.data.statistics import RunningStatistics


class CachedCorpus(NamedTuple):
    """Log-mels of all sounds.

    Attributes:
        log_mel: (total frames, mels) float16, standardised.
        start: (sounds,) first frame of each, on the CPU.
        frame_lengths: (sounds,) frames of each, on the CPU.
        mean, std: the two numbers that standardised it.
    """

    log_mel: Tensor
    start: Tensor
    frame_lengths: Tensor
    mean: float
    std: float

    def to(self, device: torch.device) -> CachedCorpus:
        """The same, with the log-mels on another device."""
        return self._replace(log_mel=self.log_mel.to(device))


def load_corpus(data: Path, config: AaSPConfig, workers: int | None = None) -> CachedCorpus:
    """Decode everything under ``data`` in threads; broken files and sounds of under 25 ms are logged and left out.

    Args:
        data: a folder (searched recursively) of audio files or of ``.tar`` shards, or one of these files.
        config: of the front end; its mean and std are replaced by the corpus' own.

    Raises:
        ValueError: nothing that can be read.
    """
    raw = LogMel(config.replace(mean=0.0, std=1.0))
    statistics = RunningStatistics()

    def log_mel_of(sound: Sound) -> Tensor | None:
        waveform = decode(sound)
        return None if waveform is None else raw(torch.from_numpy(waveform)).half()

    pieces = []
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        for piece in in_order(pool, log_mel_of, find_sounds(data)):
            if piece is not None:
                statistics.add(piece)
                pieces.append(piece)
    if not pieces:
        raise ValueError(f"no audio found in {data}; a folder of audio files or of .tar shards is wanted.")
    log_mel = torch.cat(pieces)
    frames = torch.tensor([len(piece) for piece in pieces])
    for part in torch.split(log_mel, 1 << 16):
        part.copy_((part.float() - statistics.mean) / statistics.std)
    return CachedCorpus(log_mel, frames.cumsum(0) - frames, frames, statistics.mean, statistics.std)
