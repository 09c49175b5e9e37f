"""A sound file -> mono float32 samples at the model's rate, whole or in blocks.

Channels are mixed down by their mean. Integers become floats in +-1. Other rates are resampled by soxr (HQ), whose
stream is bit-equal to the whole, so ``load_audio`` is the concatenation of ``stream_audio``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from reprlib import repr as short
from typing import Any, BinaryIO

import numpy as np
import soxr
from numpy.typing import NDArray

from aasp_features.audio import AudioError as AudioError  # users find them here
from aasp_features.audio import AudioInfo as AudioInfo
from aasp_features.audio import Blocks
from aasp_features.audio.opening import open_decoder, open_path
from aasp_features.audio.unheard import UnheardEnergy
from aasp_features.errors import OptionError

AUDIO_SUFFIXES = frozenset(  # in folders; a file that is named itself is tried whatever its ending
    {".wav", ".wave", ".bwf", ".rf64", ".bw64", ".w64", ".flac", ".aiff", ".aif", ".aifc", ".au", ".snd", ".caf"}
    | {".ogg", ".oga", ".ogx", ".ogv", ".opus", ".spx", ".mp3", ".mp2", ".mpga", ".aac", ".ac3", ".eac3", ".dts"}
    | {".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".wma", ".wmv", ".asf", ".webm", ".mka", ".mkv"}
    | {".avi", ".flv", ".mpg", ".mpeg", ".amr", ".awb", ".gsm", ".ape", ".mpc", ".tta", ".wv", ".tak", ".shn"}
    | {".voc", ".sph", ".nist"}
)

LOWEST_RATE, HIGHEST_RATE = 100, 10_000_000  # Hz; 100 give one sample in each frame's 10 ms, and 160 come out for it
LARGEST_BLOCK = 2**23  # numbers decoded at once, all channels together
MOST_HOURS = 100.0

Source = str | os.PathLike[str] | BinaryIO


class AudioStream:
    """An open file. Iterate once for (samples,) float32 mono blocks at ``sample_rate``; memory stays constant.

    Attributes:
        info: of the original file; ``seconds`` and ``unheard`` are exact once the stream has been read.
    """

    def __init__(
        self,
        source: Source,
        sample_rate: int,
        block_seconds: float,
        start: float = 0.0,
        end: float | None = None,
        max_hours: float = MOST_HOURS,
    ) -> None:
        self.name = describe_source(source)
        self.sample_rate, self.block_seconds, self.max_hours = sample_rate, block_seconds, max_hours
        if start < 0 or (end is not None and end <= start):
            raise AudioError(f"{self.name}: a part runs from 0 or later to a later end, got {start}-{end} s.")
        self.start, self.end = start, end
        self._file, self._close_file = _open_source(source, self.name)
        try:
            self._decoder = open_decoder(self._file, self.name)
            self.info = self._decoder.info
            self._check_header(self.info.rate)
        except BaseException:
            self._close_file()
            raise

    def _check_header(self, rate: int) -> None:
        channels = self.info.channels
        if not LOWEST_RATE <= rate <= HIGHEST_RATE or channels < 1:
            raise AudioError(
                f"{self.name}: its header says {rate} Hz, {channels} channels, which cannot be; a sound has "
                f"{LOWEST_RATE} Hz to 10 MHz."
            )
        if self._decoder.exact:
            self._check_hours(min(self.info.seconds, self.end or self.info.seconds) - self.start)

    def _check_hours(self, seconds: float) -> None:
        if seconds > 3600 * self.max_hours:
            raise AudioError(
                f"{self.name}: longer than {self.max_hours:g} hours; if it really is, allow more hours (--max-hours)."
            )

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        read: dict[int, int] = {}  # rate -> samples
        unheard = 0.0

        def mono(blocks: Blocks) -> Iterator[NDArray[np.float32]]:
            for rate, block in blocks:  # (samples, channels)
                if not np.isfinite(block).all():
                    raise AudioError(f"{self.name}: holds NaN or infinite samples; repair the file or leave it out.")
                read[rate] = read.get(rate, 0) + len(block)
                yield block.mean(axis=1, dtype=np.float32) if block.shape[1] > 1 else block[:, 0]

        try:
            for rate, blocks in groupby(self._blocks(), key=itemgetter(0)):  # another rate where files were joined
                resampler = Resampler(rate, self.sample_rate)
                yield from resample_blocks(mono(blocks), resampler)
                unheard = max(unheard, resampler.unheard)
        finally:
            self._decoder.close()
            self._close_file()
        if not read:
            where = f" at {self.start}-{self.end} s" if self.start or self.end is not None else ""
            raise AudioError(f"{self.name}: holds no samples{where}; a sound has at least 1.")
        seconds = sum(samples / rate for rate, samples in read.items())
        self.info = AudioInfo(seconds, next(iter(read)), self.info.channels, unheard)

    def _blocks(self) -> Blocks:
        """The decoder's blocks between ``start`` and ``end``, rounded to samples."""
        rate, before = self.info.rate, 0.0  # seconds at other rates
        place = round(self.start * rate) if self._decoder.exact else 0
        skipped = place / rate
        block_samples = max(1, min(int(self.block_seconds * rate), LARGEST_BLOCK // self.info.channels))
        for own_rate, block in self._decoder.blocks(block_samples, place):
            if own_rate != rate:
                self._check_header(own_rate)
                before, place, rate = before + place / rate, 0, own_rate
            first = max(0, round((self.start - before) * rate) - place)
            last = len(block) if self.end is None else max(0, round((self.end - before) * rate) - place)
            place += len(block)
            self._check_hours(before + place / rate - skipped)
            if len(cut := block[first:last]):
                yield rate, cut
            if self.end is not None and last <= len(block):
                return


def stream_audio(
    source: Source,
    sample_rate: int = 16000,
    block_seconds: float = 20.0,
    *,
    start: float = 0.0,
    end: float | None = None,
    max_hours: float = MOST_HOURS,
) -> AudioStream:
    """Open a file for reading in blocks of ``block_seconds``.

    Args:
        source: a path, or an open binary file.
        sample_rate: of the samples that come out, in Hz.
        block_seconds: decoded at once.
        start, end: seconds, to read a part; it equals the same part cut into a file of its own.
        max_hours: that may be decoded; a small file can claim to be endless.

    Raises:
        OptionError: a sample rate or number of hours that is not one.
        AudioError: no such file, a folder, not sound, too long; while iterating: no samples, NaN, damaged data, files
            that were joined and cannot be told apart.

    Warns:
        UserWarning: what a damaged header says is not what there is; the whole file is read.
    """
    check_rate(sample_rate)
    check_hours(max_hours)
    return AudioStream(source, sample_rate, block_seconds, start, end, max_hours)


def load_audio(source: Source, sample_rate: int = 16000, *, max_hours: float = MOST_HOURS) -> NDArray[np.float32]:
    """Read a whole file: (samples,) float32, mono, at ``sample_rate``, at least 1; errors as ``stream_audio``."""
    return np.concatenate(list(stream_audio(source, sample_rate, max_hours=max_hours)))


def audio_info(source: Source) -> AudioInfo:
    """Duration, rate and channels from a file's header; errors as ``stream_audio``."""
    name = describe_source(source)
    file, close = _open_source(source, name)
    try:
        decoder = open_decoder(file, name)
        decoder.close()
    finally:
        close()
    return decoder.info


class Resampler:
    """A mono sound in blocks -> the same at another rate; n > 0 samples in give at least 1 out.

    Args:
        rate, sample_rate: in and out, in Hz.
    """

    def __init__(self, rate: int, sample_rate: int) -> None:
        self._stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
        self._same = rate == sample_rate
        self._given, self._last = 0, np.empty(0, np.float32)
        self._energy = UnheardEnergy() if rate > sample_rate else None

    @property
    def unheard(self) -> float:
        """The share of the energy so far that lies above half of ``sample_rate``; see ``UnheardEnergy``."""
        return self._energy.share if self._energy else 0.0

    def push(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """(samples,) float32 in, those that are ready out."""
        if self._same or len(block) == 0:
            return block
        out: NDArray[np.float32] = self._stream.resample_chunk(np.ascontiguousarray(block, np.float32))
        self._given, self._last = self._given + len(out), block[-1:]
        if self._energy:
            self._energy.add(block, out)
        return out

    def finish(self) -> NDArray[np.float32]:
        """The rest."""
        if self._same or len(self._last) == 0:
            return np.empty(0, np.float32)
        rest: NDArray[np.float32] = self._stream.resample_chunk(np.empty(0, np.float32), last=True)
        if self._given + len(rest) == 0:  # fewer samples in than one sample out: keep the sound's last value
            rest = self._last.copy()
        if self._energy:
            self._energy.add(self._last[:0], rest)
        return rest


def resample_blocks(blocks: Iterable[NDArray[np.float32]], resampler: Resampler) -> Iterator[NDArray[np.float32]]:
    """Resample a mono sound block by block; see ``Resampler``."""
    for block in blocks:
        if len(out := resampler.push(block)):
            yield out
    if len(rest := resampler.finish()):
        yield rest


def check_rate(rate: Any) -> int:
    """A sample rate as an int; raises OptionError for anything but a whole number of Hz, 100 to 10 million."""
    whole = isinstance(rate, (int, np.integer)) or (isinstance(rate, float) and rate.is_integer())
    if isinstance(rate, bool) or not whole or rate <= 0:
        raise OptionError(f"a sample rate is a positive whole number of Hz, got {short(rate)}.")
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise OptionError(f"a sample rate is {LOWEST_RATE} to {HIGHEST_RATE} Hz, got {short(rate)}.")
    return int(rate)


def check_hours(hours: float) -> None:
    """Raises OptionError for what is no bound on hours."""
    if not hours > 0:  # NaN neither
        raise OptionError(f"must be above 0, got {hours!r}.", option="max_hours")


def describe_source(source: Source) -> str:
    """What messages call a file."""
    return str(source) if isinstance(source, (str, os.PathLike)) else str(getattr(source, "name", "open file"))


def _open_source(source: Source, name: str) -> tuple[BinaryIO, Callable[[], None]]:
    """An open file, and what closes it if it was opened here."""
    if isinstance(source, (str, os.PathLike)):
        file = open_path(source, name)
        return file, file.close
    return source, lambda: None
