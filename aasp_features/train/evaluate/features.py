"""Where vectors come from: a checkpoint, the same network untrained, external teachers, or log-mel statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from aasp_features.audio import load_audio
from aasp_features.config import AaSPConfig, Pooling
from aasp_features.encoder import AaSPEncoder
from aasp_features.log_mel import LogMel
from aasp_features.train.pretrain.external_teachers import ExternalTeacher, read_descriptions

Vectoriser = Callable[[Sequence[Path]], NDArray[np.float32]]
UNTRAINED_SEEDS = (0, 1, 2)


def encoder_vectors(encoder: AaSPEncoder, pooling: Pooling | None, last_layers: int | None) -> Vectoriser:
    """(clips, d) by ``AaSPEncoder.embed``."""
    return lambda files: np.asarray(encoder.embed(list(files), pooling=pooling, last_layers=last_layers))


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


def teacher_methods(places: Sequence[Path], graphs: str) -> Iterator[tuple[str, Vectoriser]]:
    """Each external teacher by name, and all of them side by side.

    Raises:
        TeacherError: see ``read_descriptions`` and ``ExternalTeacher``.
    """
    found = [ExternalTeacher(description) for description in read_descriptions(places, graphs)] if places else []
    for teacher in found:
        yield f"teacher {teacher.description.name}", teacher_vectors([teacher])
    if len(found) > 1:
        names = ", ".join(teacher.description.name for teacher in found)
        yield f"teachers {names} side by side", teacher_vectors(found)


def encoder_methods(
    models: Sequence[str],
    poolings: Sequence[str | None],
    last_layers: Sequence[int | None],
    untrained: bool,
    log_mel: bool,
) -> Iterator[tuple[str, Vectoriser]]:
    """Checkpoints under each pooling; before them, log-mel statistics and the same networks untrained.

    Raises:
        CheckpointError, InputError: no such checkpoint, or pooling.
    """
    encoders = [AaSPEncoder.from_pretrained(name or None) for name in models]
    if log_mel:
        for fft_length in sorted({encoder.config.fft_length for encoder in encoders}):
            yield f"log-mel mean and std ({fft_length} points)", log_mel_statistics(fft_length)
    for encoder in encoders:
        for pooling in poolings:
            for count in last_layers:
                options = encoder.options(pooling=pooling, last_layers=count)
                read = options.pooling, options.last_layers
                label = f"`{read[0]}`" + (f", last {read[1]} blocks" if read[1] > 1 else "")
                for seed in UNTRAINED_SEEDS if untrained else ():
                    other = untrained_encoder(encoder.config, seed)
                    yield f"untrained, seed {seed}, {label}", encoder_vectors(other, *read)
                yield f"{encoder.config.name}, {label}", encoder_vectors(encoder, *read)
