"""The sounds of a corpus, decoded in threads, in order: what ``aasp-embed`` finds, with the same errors."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from aasp_features.audio import AudioError
from aasp_features.config import FRAME_LENGTH
from aasp_features.sounds.discovery import find_sounds
from aasp_features.sounds.read_ahead import ReadAhead
from aasp_features.sounds.sound import Sound

logger = logging.getLogger(__name__)
SAMPLE_RATE = 16000
Made = TypeVar("Made")


def read_corpus(data: Path, make: Callable[[NDArray[np.float32]], Made], threads: int | None = None) -> Iterator[Made]:
    """What ``make`` makes of each sound under ``data``; broken ones and those under 25 ms are logged and left out.

    Args:
        data: a folder, searched to any depth for sounds and ``.tar`` shards of them; or one of these files.
        make: called in the threads, with (samples,) float32 mono at 16 kHz.
        threads: one a CPU unless given.

    Raises:
        NothingFoundError: there is no sound.
    """
    found = find_sounds([data])
    for name, reason in found.problems.items():
        logger.warning("left out: %s: %s", name, reason)

    def work(sound: Sound) -> Generator[Made, None, None]:
        waveform = np.concatenate(list(sound.stream(SAMPLE_RATE)))
        if len(waveform) < FRAME_LENGTH:
            raise AudioError(f"{len(waveform)} samples, under 25 ms.")
        yield make(waveform)

    with ReadAhead(work, found.sounds, threads or os.cpu_count() or 1) as sounds:
        for sound, made in zip(found.sounds, sounds, strict=True):
            try:
                yield from made
            except AudioError as error:
                logger.warning("left out: %s: %s", sound.name, str(error).removeprefix(f"{sound.name}: "))
