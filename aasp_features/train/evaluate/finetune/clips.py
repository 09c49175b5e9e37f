"""Sound files -> their log-mels, read ahead in threads and kept while there is room."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from aasp_features.audio.reading import load_audio
from aasp_features.model.log_mel import LogMel

AHEAD = 64  # files under way while others are used


class LogMels:
    """Whole files' log-mels by their places in a list.

    Args:
        files: any that ``load_audio`` reads.
        front_end: the encoder's, on the CPU.
        memory_gb: of log-mels that are kept; what goes beyond is read again when it is asked for again.
        threads: that read; one a CPU unless given.
    """

    def __init__(self, files: Sequence[Path], front_end: LogMel, memory_gb: float, threads: int | None = None) -> None:
        self.files, self.front_end = files, front_end
        self._room = memory_gb * 1e9
        self._kept: dict[int, Tensor] = {}
        self._coming: dict[int, Future[Tensor]] = {}
        self._pool = ThreadPoolExecutor(threads or os.cpu_count() or 1)

    def expect(self, places: Sequence[int]) -> None:
        """Begin to read what will be asked for."""
        for place in places:
            if place not in self._kept and place not in self._coming:
                self._coming[place] = self._pool.submit(self._read, place)

    def of(self, places: Sequence[int]) -> list[Tensor]:
        """(frames, mels) float32 standardised of each file, on the CPU.

        Raises:
            AudioError: a file that cannot be read; the sentence names it.
        """
        self.expect(places)
        found = {place: self._kept[place] if place in self._kept else self._coming[place].result() for place in places}
        for place, log_mel in found.items():
            coming = self._coming.pop(place, None)
            if coming is not None and (size := log_mel.element_size() * log_mel.numel()) <= self._room:
                self._kept[place] = log_mel
                self._room -= size
        return [found[place] for place in places]

    def each(self, places: Sequence[int]) -> Iterator[Tensor]:
        """Of many files, one after the other, while the next are read; errors as of ``of``."""
        for number, place in enumerate(places):
            self.expect(places[number : number + AHEAD])
            yield self.of([place])[0]

    def close(self) -> None:
        """Stop reading."""
        self._pool.shutdown(cancel_futures=True)

    def _read(self, place: int) -> Tensor:
        with torch.no_grad():
            log_mel: Tensor = self.front_end(torch.from_numpy(load_audio(self.files[place])))
        return log_mel
