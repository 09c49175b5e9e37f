"""A folder of audio or tar shards -> every sound's log-mel in memory, decoded once.

Log-mels are kept as float16 in one tensor, back to back, so that a step cuts its clips on the training device and
never waits for a decoder.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aasp_features.config import AaSPConfig
from aasp_features.model.log_mel import LogMel
from aasp_features.train.data.reading import contents, read_corpus
from aasp_features.train.data.statistics import RunningStatistics
from aasp_features.train.errors import TrainError


class CachedCorpus(NamedTuple):
    """Log-mels of all sounds.

    Attributes:
        log_mel: (total frames, mels) float16, standardised.
        start: (sounds,) first frame of each, on the CPU.
        frame_lengths: (sounds,) frames of each, on the CPU.
        mean, std: the two numbers that standardised it.
        sha256: of the files that it was decoded from, and their names.
    """

    log_mel: Tensor
    start: Tensor
    frame_lengths: Tensor
    mean: float
    std: float
    sha256: str = ""

    def to(self, device: torch.device) -> CachedCorpus:
        """The same, with the log-mels on another device."""
        return self._replace(log_mel=self.log_mel.to(device))


def load_corpus(data: Path, config: AaSPConfig, workers: int | None = None) -> CachedCorpus:
    """Decode everything under ``data`` in threads; broken files and sounds of under 25 ms are logged and left out.

    Args:
        data: as for ``read_corpus``.
        config: of the front end; its mean and std are replaced by the corpus' own.

    Raises:
        NothingFoundError: there is no sound.
        TrainError: none can be used.
    """
    raw = LogMel(config.replace(mean=0.0, std=1.0))
    statistics = RunningStatistics()

    def log_mel_of(waveform: NDArray[np.float32]) -> Tensor:
        return raw(torch.from_numpy(waveform)).half()  # type: ignore[no-any-return]

    pieces = []
    for piece in read_corpus(data, log_mel_of, workers):
        statistics.add(piece)
        pieces.append(piece)
    if not pieces:
        raise TrainError(f"none of the sounds in {data} can be used; the log says why.")
    log_mel = torch.cat(pieces)
    frames = torch.tensor([len(piece) for piece in pieces])
    for part in torch.split(log_mel, 1 << 16):
        part.copy_((part.float() - statistics.mean) / statistics.std)
    return CachedCorpus(log_mel, frames.cumsum(0) - frames, frames, statistics.mean, statistics.std, contents(data))
