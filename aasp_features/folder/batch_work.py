"""A batch of sounds -> its rows and what became of each sound; the unit of work of every engine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from aasp_features.audio import AudioInfo
from aasp_features.batching import equal_length_batches
from aasp_features.encoder import AaSPEncoder
from aasp_features.folder.options import RunSettings
from aasp_features.folder.sound_rows import ClipRow, FrameRows
from aasp_features.folder.spill_file import SpillFile
from aasp_features.folder.state import Outcome
from aasp_features.network_pass import encode_batch
from aasp_features.sounds.read_ahead import ReadAhead
from aasp_features.sounds.sound import Sound
from aasp_features.windows import CutWindow

Windows = Iterator[tuple[int, CutWindow[Tensor]]]  # of one sound, with the offset of the grid of columns


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
    """An encoder and settings, ready to do batches.

    Args:
        encoder: computes the vectors.
        sounds: that the batches count.
        stamps: of each, when the run was planned.
        settings: what to compute.
        folder: for temporary files; the system's unless given.
    """

    def __init__(
        self,
        encoder: AaSPEncoder,
        sounds: Sequence[Sound],
        stamps: NDArray[np.int64],
        settings: RunSettings,
        folder: Path | None = None,
    ) -> None:
        self.encoder, self.sounds, self.stamps, self.settings, self.folder = encoder, sounds, stamps, settings, folder
        self.columns = settings.embed.batch_size * encoder.config.window
        self.infos: dict[int, AudioInfo] = {}  # of sounds decoded to their end, by place

    def batches(self, batches: Sequence[range], threads: int) -> Generator[BatchResult, None, None]:
        """Do batches in order; those that follow are decoded, by so many threads, while one is encoded."""
        with ReadAhead(self._decode, chain.from_iterable(batches), threads) as decoded:
            sounds = iter(decoded)
            for places in batches:
                yield self._batch(sounds, places)

    def _decode(self, place: int) -> Generator[tuple[int, CutWindow[Tensor]], None, None]:
        stream = self.sounds[place].stream(self.encoder.config.sample_rate, self.settings.max_hours)
        yield from self.encoder.windows(stream, self.settings.embed, self.settings.hop)
        self.infos[place] = stream.info

    def _batch(self, sounds: Iterator[Windows], places: range) -> BatchResult:
        settings, spill = self.settings, SpillFile(self.folder)
        rows = {
            place: FrameRows(spill, settings.offsets) if settings.frames else ClipRow(settings.embed.pooling)
            for place in places
        }
        failures: dict[int, Exception] = {}
        for batch in equal_length_batches(self._windows(sounds, places, failures), self.columns):
            for (place, offset), columns in encode_batch(self.encoder.network, batch, settings.embed):
                rows[place].add(offset, columns)
        for place in places:
            if place not in failures and self.sounds[place].stamp() not in (tuple(self.stamps[place]), (0, 0)):
                failures[place] = OSError(
                    "it was changed during the run; when it is complete, run again with --overwrite."
                )
        outcomes = [self._outcome(place, rows[place], failures.get(place)) for place in places]
        pieces = (piece for place in places if place not in failures for piece in rows[place].pieces())
        return BatchResult(outcomes, map(self._finish, pieces), spill.close)

    def _windows(
        self, sounds: Iterator[Windows], places: range, failures: dict[int, Exception]
    ) -> Iterator[tuple[tuple[int, int], CutWindow[Tensor]]]:
        """The windows of all sounds, with place and offset; a sound that fails ends early and is noted."""
        for place, windows in zip(places, sounds, strict=False):
            try:
                for offset, window in windows:
                    yield (place, offset), window
            except Exception as error:  # one sound's failure must not end the run, whatever it is
                failures[place] = error

    def _outcome(self, place: int, rows: ClipRow | FrameRows, failure: Exception | None) -> Outcome:
        info = self.infos.pop(place, None)
        if failure is not None:
            return Outcome(error=_reason(failure, self.sounds[place].name))
        assert info is not None  # a sound without failure was decoded to its end
        return Outcome(rows.rows, round(info.seconds, 6), info.rate, info.channels, rows.frames)

    def _finish(self, rows: NDArray[np.float32]) -> NDArray[Any]:
        if self.settings.normalize:
            length = np.linalg.norm(rows, axis=1, keepdims=True)
            rows = rows / np.maximum(length, np.finfo(np.float32).tiny)
        return rows.astype(self.settings.dtype)


def _reason(error: Exception, name: str) -> str:
    """The error's sentence without the name in front, which has a column of its own."""
    return (str(error) or type(error).__name__).removeprefix(f"{name}: ")
