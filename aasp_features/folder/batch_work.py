"""A batch of sounds -> its rows and what became of each sound; the unit of work of every engine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aasp_features.batching import ClipVector
from aasp_features.encoder import AaSPEncoder
from aasp_features.folder.decode_pool import DecodePool
from aasp_features.folder.options import RunOptions
from aasp_features.folder.results import SpilledFrames, SpillFile, interleaved_chunks
from aasp_features.folder.sounds import Sound
from aasp_features.folder.state import Outcome
from aasp_features.windows import COLUMN_SECONDS, grid_offsets

Collected = NDArray[np.float32] | list[SpilledFrames] | Exception  # of one sound


@dataclass(frozen=True)
class BatchResult:
    """What a batch gave; a context manager, as its rows may lie in a temporary file.

    Attributes:
        outcomes: of its sounds, in order.
        rows: (n, width) pieces in order, read as they are asked for.
        close: lets the temporary file go.
    """

    outcomes: list[Outcome]
    rows: Iterator[NDArray[Any]]
    close: Callable[[], None] = lambda: None

    def __enter__(self) -> BatchResult:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BatchWork:
    """An encoder and options, ready to do batches.

    Args:
        encoder: computes the vectors.
        sounds: that the batches count.
        stamps: of each, when the run was planned.
        options: what to compute.
        folder: for temporary files; the system's unless given.
    """

    def __init__(
        self,
        encoder: AaSPEncoder,
        sounds: Sequence[Sound],
        stamps: NDArray[np.int64],
        options: RunOptions,
        folder: Path | None = None,
    ) -> None:
        self.encoder, self.sounds, self.stamps, self.options, self.folder = encoder, sounds, stamps, options, folder
        self.offsets = grid_offsets(options.hop) if options.frames else range(1)
        self.pooling, self.layers, _ = encoder.check_options(options.pooling, options.layers, options.batch_size)

    def batches(self, batches: Sequence[range], workers: int) -> Generator[BatchResult, None, None]:
        """Do batches in order; those that follow are decoded, by ``workers`` threads, while one is encoded."""
        hop = self.options.hop if self.options.frames else COLUMN_SECONDS
        with DecodePool(self.sounds, self.encoder, workers, chain.from_iterable(batches), hop) as pool:
            for places in batches:
                yield self._batch(pool, places)

    def _batch(self, pool: DecodePool, places: range) -> BatchResult:
        spill = SpillFile(self.folder)
        new = partial(SpilledFrames, spill) if self.options.frames else partial(ClipVector, self.pooling)
        passes: dict[tuple[int, int], Any] = dict(
            self.encoder.embed_windows(pool.events(places), new, self.options.batch_size, self.pooling, self.layers)
        )
        collected = [self._collect(place, [passes[place, offset] for offset in self.offsets]) for place in places]
        outcomes = [self._outcome(pool, place, one) for place, one in zip(places, collected, strict=True)]
        return BatchResult(outcomes, self._rows(collected), spill.close)

    def _collect(self, place: int, results: list[Any]) -> Collected:
        failed = next((result for result in results if isinstance(result, Exception)), None)
        if failed is None and self.sounds[place].stamp() not in (tuple(self.stamps[place]), (0, 0)):
            failed = OSError("it was changed during the run; when it is complete, run again with --overwrite.")
        return failed or (results if self.options.frames else results[0])

    def _outcome(self, pool: DecodePool, place: int, collected: Collected) -> Outcome:
        if isinstance(collected, Exception):
            pool.infos.pop(place, None)
            return Outcome(error=_reason(collected, self.sounds[place].name))
        info = pool.infos.pop(place)
        rows, frames = 1, 0
        if isinstance(collected, list):
            rows, frames = sum(one.rows for one in collected), collected[0].frames
        return Outcome(rows, round(info.seconds, 6), info.rate, info.channels, frames)

    def _rows(self, collected: list[Collected]) -> Iterator[NDArray[Any]]:
        for vectors in collected:
            if isinstance(vectors, np.ndarray):
                yield self._finish(vectors[None])
            elif isinstance(vectors, list):
                yield from map(self._finish, interleaved_chunks(vectors))

    def _finish(self, rows: NDArray[np.float32]) -> NDArray[Any]:
        if self.options.normalize:
            length = np.linalg.norm(rows, axis=1, keepdims=True)
            rows = rows / np.maximum(length, np.finfo(np.float32).tiny)
        return rows.astype(self.options.dtype)


def _reason(error: Exception, name: str) -> str:
    """The error's sentence without the name in front, which has a column of its own."""
    return (str(error) or type(error).__name__).removeprefix(f"{name}: ")
