"""Log-mels of sound files, read ahead in threads and cached in limited memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from aasp_features.audio.reading import load_audio
from aasp_features.model.log_mel import LogMel

AHEAD = 64  # files read ahead


class LogMels:
    """Whole files' log-mels by their indices in a list.

    Args:
        files: Files that ``load_audio`` reads.
        front_end: The encoder's frontend, on the CPU.
        memory_gb: Size of the cache; log-mels beyond it are read again.
        threads: Reading threads (default: one per CPU).
    """

    def __init__(self, files: Sequence[Path], front_end: LogMel, memory_gb: float, threads: int | None = None) -> None:
        self.files, self.front_end = files, front_end
        self._room = memory_gb * 1e9
        self._kept: dict[int, Tensor] = {}
        self._coming: dict[int, Future[Tensor]] = {}
        self._pool = ThreadPoolExecutor(threads or os.cpu_count() or 1)

    def expect(self, indices: Sequence[int]) -> None:
        """Start to read files that will be needed."""
        for index in indices:
            if index not in self._kept and index not in self._coming:
                self._coming[index] = self._pool.submit(self._read, index)

    def of(self, indices: Sequence[int]) -> list[Tensor]:
        """Return the standardised log-mel of each file, (frames, mels) float32, on the CPU.

        Raises:
            AudioError: A file cannot be read; the message names it.
        """
        self.expect(indices)
        found = {index: self._kept[index] if index in self._kept else self._coming[index].result() for index in indices}
        for index, log_mel in found.items():
            coming = self._coming.pop(index, None)
            if coming is not None and (size := log_mel.element_size() * log_mel.numel()) <= self._room:
                self._kept[index] = log_mel
                self._room -= size
        return [found[index] for index in indices]

    def each(self, indices: Sequence[int]) -> Iterator[Tensor]:
        """Yield the log-mels of many files while the next ones are read; errors as for ``of``."""
        for number, index in enumerate(indices):
            self.expect(indices[number : number + AHEAD])
            yield self.of([index])[0]

    def close(self) -> None:
        """Stop reading."""
        self._pool.shutdown(cancel_futures=True)

    def _read(self, index: int) -> Tensor:
        with torch.no_grad():
            log_mel: Tensor = self.front_end(torch.from_numpy(load_audio(self.files[index])))
        return log_mel
