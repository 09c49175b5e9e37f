"""A sound file -> mono float32 samples at the model's rate, whole or in blocks.

Channels are mixed down by their mean. Integers become floats in +-1. Other rates are resampled by soxr (HQ), whose
stream is bit-equal to the whole, so ``load_audio`` is the concatenation of ``stream_audio``.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from reprlib import repr as short
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from aasp_features.audio import AudioError as AudioError  # users find them here
from aasp_features.audio import AudioInfo as AudioInfo
from aasp_features.audio import Blocks
from aasp_features.audio.decoders import open_decoder
from aasp_features.audio.resampling import Resampler
from aasp_features.errors import OptionError

AUDIO_SUFFIXES = frozenset(  # in folders; a file that is named itself is tried whatever its ending
    {".wav", ".wave", ".bwf", ".rf64", ".bw64", ".w64", ".flac", ".aiff", ".aif", ".aifc", ".au", ".snd", ".caf"}
    | {".ogg", ".oga", ".ogx", ".ogv", ".opus", ".spx", ".mp3", ".mp2", ".mpga", ".aac", ".ac3", ".eac3", ".dts"}
    | {".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".wma", ".wmv", ".asf", ".webm", ".mka", ".mkv"}
    | {".avi", ".flv", ".mpg", ".mpeg", ".amr", ".awb", ".gsm", ".ape", ".mpc", ".tta", ".wv", ".tak", ".shn"}
    | {".voc", ".sph", ".nist"}
)

MIN_RATE, MAX_RATE = 100, 10_000_000  # Hz; 100 give one sample in each frame's 10 ms, and 160 come out for it
MAX_BLOCK = 2**23  # numbers decoded at once, all channels together
MAX_HOURS = 100.0

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
        max_hours: float = MAX_HOURS,
    ) -> None:
        self.name = _name(source)
        self.sample_rate, self.block_seconds, self.max_hours = sample_rate, block_seconds, max_hours
        if start < 0 or (end is not None and end <= start):
            raise AudioError(f"{self.name}: a part runs from 0 or later to a later end, got {start}-{end} s.")
        self.start, self.end = start, end
        self._owned = isinstance(source, (str, os.PathLike))
        self._file: BinaryIO = open_path(source, self.name) if self._owned else source  # type: ignore[arg-type, assignment]
        try:
            self._decoder = open_decoder(self._file, self.name)
            self.info = self._decoder.info
            self._check_header(self.info.rate)
            if self._decoder.exact:
                self._check_hours(min(self.info.seconds, end or self.info.seconds) - start)
        except BaseException:
            self._close_file()
            raise

    def close(self) -> None:
        """Close what was opened here; iterating to the end does so, too."""
        self._decoder.close()
        self._close_file()

    def _close_file(self) -> None:
        if self._owned:
            self._file.close()

    def _check_header(self, rate: int) -> None:
        channels = self.info.channels
        if not MIN_RATE <= rate <= MAX_RATE or channels < 1:
            raise AudioError(
                f"{self.name}: its header says {rate} Hz, {channels} channels, which cannot be; a sound has "
                f"{MIN_RATE} Hz to 10 MHz."
            )

    def _check_hours(self, seconds: float) -> None:
        if seconds > 3600 * self.max_hours:
            raise AudioError(
                f"{self.name}: longer than {self.max_hours:g} hours; if it really is, allow more hours (--max-hours)."
            )

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        seconds, unheard, first_rate = 0.0, 0.0, 0
        try:
            for rate, blocks in groupby(self.blocks(), key=itemgetter(0)):  # another rate where files were joined
                resampler, samples = Resampler(rate, self.sample_rate), 0
                for _, block in blocks:  # (samples, channels)
                    samples += len(block)
                    if len(out := resampler.push(self._mono(block))):
                        yield out
                if len(rest := resampler.finish()):
                    yield rest
                seconds, first_rate = seconds + samples / rate, first_rate or rate
                unheard = max(unheard, resampler.unheard)
        finally:
            self.close()
        if not first_rate:
            where = f" at {self.start}-{self.end} s" if self.start or self.end is not None else ""
            raise AudioError(f"{self.name}: holds no samples{where}; a sound has at least 1.")
        self.info = AudioInfo(seconds, first_rate, self.info.channels, unheard)

    def _mono(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        if not np.isfinite(block).all():
            raise AudioError(f"{self.name}: holds NaN or infinite samples; repair the file or leave it out.")
        return block.mean(axis=1, dtype=np.float32) if block.shape[1] > 1 else block[:, 0]

    def blocks(self) -> Blocks:
        """Yield rate and (samples, channels) as decoded between ``start`` and ``end``, rounded to samples."""
        rate, before = self.info.rate, 0.0  # seconds at other rates
        index = round(self.start * rate) if self._decoder.exact else 0
        skipped = index / rate
        block_samples = max(1, min(int(self.block_seconds * rate), MAX_BLOCK // self.info.channels))
        for own_rate, block in self._decoder.blocks(block_samples, index):
            if own_rate != rate:
                self._check_header(own_rate)
                before, index, rate = before + index / rate, 0, own_rate
            first = max(0, round((self.start - before) * rate) - index)
            last = len(block) if self.end is None else max(0, round((self.end - before) * rate) - index)
            index += len(block)
            self._check_hours(before + index / rate - skipped)
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
    max_hours: float = MAX_HOURS,
) -> AudioStream:
    """Open a file for reading in blocks of ``block_seconds``.

    Args:
        source: a path, or an open binary file.
        sample_rate: of the samples that come out, in Hz.
        block_seconds: decoded at once.
        start: seconds, to read a part; it equals the same part cut into a file of its own.
        end: seconds; None for the end of the file.
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


def load_audio(source: Source, sample_rate: int = 16000, *, max_hours: float = MAX_HOURS) -> NDArray[np.float32]:
    """Read a whole file: (samples,) float32, mono, at ``sample_rate``, at least 1; errors as ``stream_audio``."""
    return np.concatenate(list(stream_audio(source, sample_rate, max_hours=max_hours)))


def audio_info(source: Source) -> AudioInfo:
    """Return duration, rate and channels from a file's header; errors as ``stream_audio``."""
    stream = AudioStream(source, 16000, 1.0, max_hours=np.inf)
    stream.close()
    return stream.info


def check_rate(rate: Any) -> int:
    """Return a sample rate as an int; raise OptionError for anything but a whole number of Hz, 100 to 10 million."""
    whole = isinstance(rate, (int, np.integer)) or (isinstance(rate, float) and rate.is_integer())
    if isinstance(rate, bool) or not whole or rate <= 0:
        raise OptionError(f"a sample rate is a positive whole number of Hz, got {short(rate)}.")
    if not MIN_RATE <= rate <= MAX_RATE:
        raise OptionError(f"a sample rate is {MIN_RATE} to {MAX_RATE} Hz, got {short(rate)}.")
    return int(rate)


def check_hours(hours: float) -> None:
    """Raise OptionError unless ``hours`` is above 0."""
    if not hours > 0:  # NaN neither
        raise OptionError(f"must be above 0, got {hours!r}.", option="max_hours")


def _name(source: Source) -> str:
    return str(source) if isinstance(source, (str, os.PathLike)) else str(getattr(source, "name", "open file"))


def open_path(path: str | os.PathLike[str], name: str) -> BinaryIO:
    """Open a regular file; unbuffered, as decoders have buffers.

    Raises:
        AudioError: no such file, a folder, a FIFO or device, or one that may not be read.
    """
    path = on_disk(path)
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise AudioError(f"{name}: a folder, not a sound file; give its files, or use aasp-embed for folders.")
        if not stat.S_ISREG(status.st_mode):  # before it is opened, which may wait for ever, or start a device
            raise AudioError(f"{name}: a pipe, socket or device; a regular file is needed, so write it to one.")
        return open(path, "rb", buffering=0)
    except (FileNotFoundError, NotADirectoryError) as error:
        more = "; several names look like it and differ in how their accents are encoded; rename them"
        raise AudioError(f"{name}: no such file{more if len(_alike(*os.path.split(path))) > 1 else ''}.") from error
    except PermissionError as error:
        raise AudioError(f"{name}: may not be read; check its permissions.") from error
    except (OSError, ValueError) as error:  # a ValueError for names that no file can have
        if isinstance(error, AudioError):
            raise
        raise AudioError(f"{name}: cannot be opened ({getattr(error, 'strerror', None) or error}).") from error


def on_disk(path: str | os.PathLike[str]) -> str:
    """Return the path with its names as they are on the disk, where they differ in Unicode normalisation alone.

    An accented letter is one character or two, which look the same: macOS and Linux write names in different ways.
    """
    given = os.fspath(path)
    if given.isascii() or os.path.lexists(given):
        return given
    found = ""
    for name in Path(given).parts:
        alike = _alike(found, name)
        found = os.path.join(found, alike[0] if len(alike) == 1 else name)
    return found


def _alike(folder: str, name: str) -> list[str]:
    """Return the name if it is in the folder; else those that are there composed or decomposed."""
    if os.path.lexists(os.path.join(folder, name)):
        return [name]
    forms = {unicodedata.normalize(form, name) for form in ("NFC", "NFD")}
    return [form for form in forms if os.path.lexists(os.path.join(folder, form))]
