"""A folder of audio or tar shards -> every recording's log-mel in memory, decoded once.

Log-mels are kept as float16 in one tensor, back to back, so that a step cuts its crops on the training device and
never waits for a decoder.
"""

from __future__ import annotations

import io
import logging
import os
import tarfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from aasp_features.audio import AUDIO_SUFFIXES, AudioError, load_audio
from aasp_features.config import FRAME_LENGTH, AaSPConfig
from aasp_features.log_mel import LogMel

logger = logging.getLogger(__name__)
Decoded = TypeVar("Decoded")


class Sound(NamedTuple):
    """A recording yet to be decoded: a path, or a shard member's bytes."""

    name: str
    source: Path | bytes


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

    def decode(sound: Sound) -> Tensor | None:
        try:
            source = io.BytesIO(sound.source) if isinstance(sound.source, bytes) else sound.source
            waveform = torch.from_numpy(load_audio(source, config.sample_rate))
        except AudioError as error:
            logger.warning("left out: %s: %s", sound.name, error)
            return None
        return raw(waveform).half() if len(waveform) >= FRAME_LENGTH else None

    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        pieces = [piece for piece in in_order(pool, decode, find_sounds(data)) if piece is not None]
    if not pieces:
        raise ValueError(f"no audio found in {data}; a folder of audio files or of .tar shards is wanted.")
    log_mel = torch.cat(pieces)
    frames = torch.tensor([len(piece) for piece in pieces])
    mean, std = _statistics(log_mel)
    for part in torch.split(log_mel, 1 << 16):
        part.copy_((part.float() - mean) / std)
    return Corpus(log_mel, frames.cumsum(0) - frames, frames, mean, std)


def find_sounds(data: Path) -> Iterator[Sound]:
    """Everything decodable under ``data``, in sorted order; shards are read one member at a time."""
    paths = sorted(data.rglob("*")) if data.is_dir() else [data]
    for path in paths:
        if path.suffix == ".tar":
            yield from _read_shard(path)
        elif path.suffix.lower() in AUDIO_SUFFIXES and path.is_file():
            yield Sound(str(path), path)


def _read_shard(path: Path) -> Iterator[Sound]:
    with tarfile.open(path) as shard:
        for member in shard:
            if member.isfile() and Path(member.name).suffix.lower() in AUDIO_SUFFIXES:
                content = shard.extractfile(member)
                if content is not None:
                    yield Sound(f"{path}/{member.name}", content.read())


def in_order(
    pool: ThreadPoolExecutor, work: Callable[[Sound], Decoded | None], items: Iterable[Sound]
) -> Iterator[Decoded | None]:
    """``pool.map`` that reads few items ahead, so that undecoded shards never pile up in memory."""
    ahead: deque[Future[Decoded | None]] = deque()
    for item in items:
        ahead.append(pool.submit(work, item))
        if len(ahead) > 64:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def _statistics(log_mel: Tensor) -> tuple[float, float]:
    total, squares = 0.0, 0.0
    for part in torch.split(log_mel, 1 << 16):
        values = part.double()
        total, squares = total + values.sum().item(), squares + values.square().sum().item()
    mean = total / log_mel.numel()
    return mean, max(squares / log_mel.numel() - mean**2, 1e-12) ** 0.5
