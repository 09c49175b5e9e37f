"""A folder of audio or tar shards -> sounds to decode, in order, few of them ahead."""

from __future__ import annotations

import io
import logging
import tarfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from aasp_features.audio import AUDIO_SUFFIXES, AudioError, load_audio
from aasp_features.config import FRAME_LENGTH

logger = logging.getLogger(__name__)

Decoded = TypeVar("Decoded")


class Sound(NamedTuple):
    """A sound yet to be decoded: a path, or a shard member's bytes."""

    name: str
    source: Path | bytes


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


def decode(sound: Sound) -> NDArray[np.float32] | None:
    """Its samples, (samples,) at 16 kHz; None, with a line in the log, for what is broken or shorter than 25 ms."""
    source = io.BytesIO(sound.source) if isinstance(sound.source, bytes) else sound.source
    try:
        waveform = load_audio(source)
    except AudioError as error:
        logger.warning("left out: %s: %s", sound.name, error)
        return None
    if len(waveform) < FRAME_LENGTH:
        logger.warning("left out: %s: %d samples, under 25 ms", sound.name, len(waveform))
        return None
    return waveform
