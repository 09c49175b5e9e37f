"""Sounds of a batch -> parts: rows, and what became of each sound; the work of every engine.

A part ends after ten minutes of sound, inside a sound or after one, and at the end of its batch. What waits to be
encoded is encoded then, so a part's bytes depend on where it begins, and on nothing that was computed before.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from aasp_features.audio.reading import AudioInfo
from aasp_features.contents import Content
from aasp_features.encoder import AaSPEncoder
from aasp_features.folder.options import RunSettings
from aasp_features.folder.parts import OpenSound, Outcome, Part
from aasp_features.folder.sound_rows import UNOPENED, ClipRow, FrameRows
from aasp_features.folder.spill_file import SpillFile
from aasp_features.inference import (
    ColumnVectors,
    VectorError,
    check_finite,
    equal_length_batches,
    log_mel_windows,
    run_network,
)
from aasp_features.sounds.read_ahead import ReadAhead
from aasp_features.sounds.sound import Sound
from aasp_features.windows import COLUMN_SECONDS, CutWindow

Round = list[tuple[int, CutWindow[Tensor]]]  # the n-th window of each pass over a sound, with the pass' offset
Placed = tuple[tuple[int, int], CutWindow[Tensor]]  # a window with its sound's place and its pass' offset


@dataclass
class PartInWork:
    """What a part holds while it is made.

    Attributes:
        spill: for rows along time.
        rows: of each sound that it has seen, by place.
        failures: of sounds, by place.
        ended: places of the sounds that ended, in order.
    """

    spill: SpillFile
    rows: dict[int, ClipRow | FrameRows] = field(default_factory=dict)
    failures: dict[int, Exception] = field(default_factory=dict)
    ended: list[int] = field(default_factory=list)


class BatchWork:
    """An encoder and settings, ready to do batches.

    Args:
        encoder: computes the vectors.
        sounds: that the batches count.
        stamps: of each, when the run was planned.
        settings: what to compute.
        folder: for temporary files; the system's unless given.
        on_seconds: called with the seconds of sound that were encoded, as they are.
    """

    def __init__(
        self,
        encoder: AaSPEncoder,
        sounds: Sequence[Sound],
        stamps: NDArray[np.int64],
        settings: RunSettings,
        folder: Path | None = None,
        on_seconds: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self.encoder, self.sounds, self.stamps, self.settings, self.folder = encoder, sounds, stamps, settings, folder
        self.columns, self.on_seconds = settings.embed.batch_size * encoder.config.window, on_seconds
        self.infos: dict[int, AudioInfo] = {}  # of sounds decoded to their end, by place
        self.contents: dict[int, Content] = {}  # of sounds before they were decoded

    def parts(
        self, batches: Sequence[range], threads: int, opened: OpenSound | None = None
    ) -> Generator[Part, None, None]:
        """Do batches in order; those that follow are decoded, by so many threads, while one is encoded.

        ``opened`` is what was done of the first sound, which is decoded from its beginning nevertheless: only so does a
        resampler give the same samples.
        """
        places = list(chain.from_iterable(batches))
        done = {places[0]: opened.rounds} if opened else {}
        with ReadAhead(lambda place: self._decode(place, done.get(place, 0)), places, threads) as decoded:
            sounds = iter(decoded)
            for batch in batches:
                yield from self._batch(batch, sounds, opened)
                opened = None

    def _decode(self, place: int, done: int) -> Generator[Round, None, None]:
        self.contents[place] = self.sounds[place].content()
        stream = self.sounds[place].stream(self.encoder.config.sample_rate, self.settings.max_hours)
        windows = log_mel_windows(stream, self.encoder.log_mel, self.settings.embed, self.settings.offsets)
        yield from islice(rounds_of(windows, len(self.settings.offsets)), done, None)
        self.infos[place] = stream.info

    def _batch(
        self, places: range, sounds: Iterator[Iterator[Round]], opened: OpenSound | None
    ) -> Generator[Part, None, None]:
        left = BatchLeft(places, sounds)
        while left.places:
            part = self._part(left, opened or UNOPENED)
            yield part
            opened = part.opened

    def _part(self, left: BatchLeft, before: OpenSound) -> Part:
        part = PartInWork(SpillFile(self.folder))
        for batch in equal_length_batches(self._windows(left, part, before), self.columns):
            vectors = run_network(self.encoder.network, self.settings.embed, [window for _, window in batch])
            for ((place, offset), _), columns in zip(batch, vectors, strict=True):
                self._take(part, place, offset, columns, before)
            self.on_seconds(sum(emitted_seconds(window) for (_, offset), window in batch if offset == 0))
        if left.rounds is not None and left.places[0] in part.failures:
            raise part.failures[left.places[0]]  # it goes on, and nothing that follows would make it whole
        outcomes = [self._outcome(place, part) for place in part.ended]
        rows = [part.rows[place].pieces() for place in part.ended if place not in part.failures]
        going_on = part.rows[left.places[0]] if left.rounds is not None else None
        return Part(
            outcomes,
            replace(going_on.opened(), sha256=self.contents[left.places[0]].sha256) if going_on else None,
            not left.places,
            map(self._finish, chain.from_iterable(rows)),
            map(self._finish, going_on.open_pieces() if going_on else ()),
            part.spill.close,
        )

    def _windows(self, left: BatchLeft, part: PartInWork, before: OpenSound) -> Iterator[Placed]:
        """The windows of a part; a sound that fails ends early and is noted."""
        seconds, settings = 0.0, self.settings
        while left.places and seconds < settings.part_seconds:
            place = left.places[0]
            part.rows[place] = (
                FrameRows(part.spill, settings.offsets, before)
                if settings.frames
                else ClipRow(settings.embed.pooling, before)
            )
            try:
                for windows in left.first():
                    yield from (((place, offset), window) for offset, window in windows)
                    seconds += emitted_seconds(windows[0][1])
                    if seconds >= settings.part_seconds and equally_far(windows, len(settings.offsets)):
                        return
                self._check_unchanged(place, before)
            except Exception as error:  # one sound's failure must not end the run, whatever it is
                part.failures[place] = error
            left.end_first()
            part.ended.append(place)
            if place in part.failures and before.rows:
                return  # its rows of earlier parts are dropped before others are written
            before = UNOPENED

    def _take(self, part: PartInWork, place: int, offset: int, columns: ColumnVectors, before: OpenSound) -> None:
        """Add a window's vectors to its sound's rows; a sound with NaN among them has none.

        Raises:
            VectorError: NaN in a sound that has rows in earlier parts; they cannot be taken back here.
        """
        try:
            part.rows[place].add(offset, check_finite(columns, self.sounds[place].name))
        except VectorError as error:
            if before.rows and place == min(part.rows):
                raise
            part.failures.setdefault(place, error)

    def _check_unchanged(self, place: int, before: OpenSound) -> None:
        """A size or mtime that is not the plan's tells a file that is still written, another content what was mixed."""
        read, now = self.contents[place], self.sounds[place].content(self.contents[place])
        if not now.sha256:  # it is gone, and was read to its end before
            return
        self.contents[place] = now
        planned = now.stamp[:2] == tuple(self.stamps[place][:2])
        if not planned or {read.sha256, before.sha256 or read.sha256} != {now.sha256}:
            raise OSError("it was changed during the run; when it is complete, run again with --overwrite.")

    def _outcome(self, place: int, part: PartInWork) -> Outcome:
        info, sha256 = self.infos.pop(place, None), self.contents.pop(place).sha256
        if place in part.failures:
            return Outcome(error=_reason(part.failures[place], self.sounds[place].name), sha256=sha256)
        assert info is not None  # a sound without failure was decoded to its end
        rows = part.rows[place]
        seconds, unheard = round(info.seconds, 6), round(info.unheard, 3)
        return Outcome(rows.rows, seconds, info.rate, info.channels, rows.frames, unheard=unheard, sha256=sha256)

    def _finish(self, rows: NDArray[np.float32]) -> NDArray[Any]:
        if self.settings.normalize:
            length = np.linalg.norm(rows, axis=1, keepdims=True)
            rows = rows / np.maximum(length, np.finfo(np.float32).tiny)
        with np.errstate(over="ignore"):  # said below
            rows = rows.astype(self.settings.dtype)
        if not np.isfinite(rows).all():
            raise VectorError("a vector's numbers lie beyond float16's; give --dtype float32.")
        return rows


class BatchLeft:
    """What is left of a batch.

    Attributes:
        places: of the sounds that have not ended.
        rounds: that are left of the first of these, where it has begun.
    """

    def __init__(self, places: range, sounds: Iterator[Iterator[Round]]) -> None:
        self.places, self._sounds = places, sounds
        self.rounds: Iterator[Round] | None = None

    def first(self) -> Iterator[Round]:
        """The rounds that are left of the first sound."""
        if self.rounds is None:
            self.rounds = next(self._sounds)
        return self.rounds

    def end_first(self) -> None:
        """It has ended."""
        self.rounds, self.places = None, self.places[1:]


def rounds_of(windows: Iterator[tuple[int, CutWindow[Tensor]]], passes: int) -> Iterator[Round]:
    """The windows of one sound -> the first of each pass, the second of each, …; the last of these may lack some."""
    waiting: list[Round] = []
    seen: dict[int, int] = {}
    gone = 0
    for offset, window in windows:
        number = seen[offset] = seen.get(offset, 0) + 1
        if number - gone > len(waiting):
            waiting.append([])
        waiting[number - gone - 1].append((offset, window))
        if len(waiting[0]) == passes:
            gone += 1
            yield waiting.pop(0)
    yield from waiting


def equally_far(windows: Round, passes: int) -> bool:
    """Have all passes emitted as many columns, up to these windows?"""
    return len(windows) == passes and len({window.plan.emit_stop for _, window in windows}) == 1


def emitted_seconds(window: CutWindow[Tensor]) -> float:
    """Of sound, that a window's vectors stand for."""
    return (window.plan.emit_stop - window.plan.emit_start) * COLUMN_SECONDS


def _reason(error: Exception, name: str) -> str:
    """The error's sentence without the name in front, which has a column of its own."""
    return (str(error) or type(error).__name__).removeprefix(f"{name}: ")
