"""The decoded sounds of a corpus, found and read as by ``aasp-embed``."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from aasp_features.audio.reading import AudioError
from aasp_features.config import FRAME_LENGTH
from aasp_features.sounds.discovery import find_sounds
from aasp_features.sounds.read_ahead import ReadAhead
from aasp_features.sounds.sound import Sound
from aasp_features.train.errors import TrainError

logger = logging.getLogger(__name__)
SAMPLE_RATE = 16000
Made = TypeVar("Made")


def corpus_files(data: Path) -> dict[str, Path]:
    """Return the audio files under ``data`` in order, by their relative names.

    Raises:
        NothingFoundError: There are none.
    """
    base = data if data.is_dir() else data.parent
    paths = dict.fromkeys(sound.path for sound in find_sounds([data]).sounds)
    return {Path(os.path.relpath(path, base)).as_posix(): path for path in paths}


def contents(data: Path) -> str:
    """Return the sha256 of the names and bytes of the audio files under ``data``.

    Raises:
        NothingFoundError: There are none.
    """
    digest = hashlib.sha256()
    for name, path in corpus_files(data).items():
        digest.update(f"{name}\0{path.stat().st_size}\n".encode("utf-8", "surrogateescape"))
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def read_corpus(data: Path, make: Callable[[NDArray[np.float32]], Made], threads: int | None = None) -> Iterator[Made]:
    """Yield ``make`` of each sound under ``data``. Broken sounds and those under 25 ms are logged and skipped.

    Args:
        data: Folder that is searched recursively for sounds and ``.tar`` shards of them, or one such file.
        make: Function of (samples,) float32 mono at 16 kHz, called in threads.
        threads: Number of threads (default: one per CPU).

    Raises:
        NothingFoundError: There is no sound.
        TrainError: No sound can be used.
    """
    found = find_sounds([data])
    for name, reason in found.problems.items():
        logger.warning("left out: %s: %s", name, reason)

    def work(sound: Sound) -> Generator[Made, None, None]:
        waveform = np.concatenate(list(sound.stream(SAMPLE_RATE)))
        if len(waveform) < FRAME_LENGTH:
            raise AudioError(f"{len(waveform)} samples, under 25 ms.")
        yield make(waveform)

    usable = 0
    with ReadAhead(work, found.sounds, threads or os.cpu_count() or 1) as sounds:
        for sound, made in zip(found.sounds, sounds, strict=True):
            try:
                yield from made
                usable += 1
            except AudioError as error:
                logger.warning("left out: %s: %s", sound.name, str(error).removeprefix(f"{sound.name}: "))
    if not usable:
        raise TrainError(f"none of the sounds in {data} can be used; see the log for the reasons.")
