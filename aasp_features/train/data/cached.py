"""The log-mels of a corpus in memory, decoded once.

They are concatenated in one float16 tensor, so a step cuts its crops on the training device without decoding.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aasp_features.config import AaSPConfig
from aasp_features.model.log_mel import LogMel
from aasp_features.train.data.batch import Spans, send
from aasp_features.train.data.reading import contents, read_corpus
from aasp_features.train.data.statistics import RunningStatistics


class CachedCorpus(NamedTuple):
    """Log-mels of all sounds.

    Attributes:
        log_mel: (total frames, mels) float16, standardised.
        start: (sounds,) first frame of each, on the CPU.
        frame_lengths: (sounds,) frames of each, on the CPU.
        mean, std: Statistics that standardised the log-mels.
        sha256: Hash of the names and contents of the decoded files.
    """

    log_mel: Tensor
    start: Tensor
    frame_lengths: Tensor
    mean: float
    std: float
    sha256: str = ""

    def to(self, device: torch.device) -> CachedCorpus:
        """Send the log-mels to another device."""
        return self._replace(log_mel=self.log_mel.to(device))

    def cut(self, spans: Spans, length: int) -> Callable[[], Tensor]:
        """Return a function that cuts the spans; see ``PreparedCorpus.cut``."""

        def cut() -> Tensor:
            frames = torch.minimum(torch.arange(length), spans.frames[:, None] - 1)
            index = (self.start[spans.sound] + spans.first)[:, None] + frames
            return self.log_mel[send(index, self.log_mel.device)].float()

        return cut


def load_corpus(data: Path, config: AaSPConfig, workers: int | None = None) -> CachedCorpus:
    """Decode everything under ``data`` in threads. Broken files and sounds under 25 ms are logged and skipped.

    Args:
        data: See ``read_corpus``.
        config: Frontend config, whose mean and std are replaced by the corpus' own.
        workers: Number of threads (default: one per CPU).

    Raises:
        NothingFoundError: There is no sound.
        TrainError: No sound can be used.
    """
    raw = LogMel(config.replace(mean=0.0, std=1.0))
    statistics = RunningStatistics()

    def log_mel_of(waveform: NDArray[np.float32]) -> Tensor:
        return raw(torch.from_numpy(waveform)).half()  # type: ignore[no-any-return]

    pieces = []
    for piece in read_corpus(data, log_mel_of, workers):
        statistics.add(piece)
        pieces.append(piece)
    log_mel = torch.cat(pieces)
    frames = torch.tensor([len(piece) for piece in pieces])
    for part in torch.split(log_mel, 1 << 16):
        part.copy_((part.float() - statistics.mean) / statistics.std)
    return CachedCorpus(log_mel, frames.cumsum(0) - frames, frames, statistics.mean, statistics.std, contents(data))
