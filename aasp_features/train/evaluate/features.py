"""Where vectors come from: a checkpoint, the same network untrained, external teachers, or log-mel statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from aasp_features.audio import load_audio
from aasp_features.config import AaSPConfig, Pooling
from aasp_features.encoder import AaSPEncoder
from aasp_features.log_mel import LogMel
from aasp_features.train.pretrain.external_teachers import ExternalTeacher

Vectoriser = Callable[[Sequence[Path]], NDArray[np.float32]]


def encoder_vectors(encoder: AaSPEncoder, pooling: Pooling | None, layers: int | None) -> Vectoriser:
    """(clips, d) by ``AaSPEncoder.embed``."""
    return lambda files: np.asarray(encoder.embed(list(files), pooling=pooling, layers=layers))


def untrained_encoder(config: AaSPConfig, seed: int) -> AaSPEncoder:
    """The same network with random weights."""
    torch.manual_seed(seed)
    return AaSPEncoder(config)


def log_mel_statistics(fft_length: int) -> Vectoriser:
    """Mean and standard deviation of each log-mel band over time, (clips, 256)."""
    front_end = LogMel(AaSPConfig(fft_length=fft_length, mean=0.0, std=1.0))

    def vectors(files: Sequence[Path]) -> NDArray[np.float32]:
        rows = []
        for path in files:
            log_mel = front_end(torch.from_numpy(load_audio(path))).numpy()
            rows.append(np.concatenate([log_mel.mean(axis=0), log_mel.std(axis=0)]))
        return np.stack(rows).astype(np.float32)

    return vectors


def teacher_vectors(teachers: Sequence[ExternalTeacher]) -> Vectoriser:
    """(clips, d): what external teachers say of each whole clip, side by side."""

    def vectors(files: Sequence[Path]) -> NDArray[np.float32]:
        sounds = (load_audio(path)[None] for path in files)
        return np.stack([np.concatenate([teacher.hear(sound)[0] for teacher in teachers]) for sound in sounds])

    return vectors
