"""A sound file -> mono float32 samples at the model's rate, whole or in blocks.

Channels are mixed down by their mean. Integers become floats in +-1. Other rates are resampled by soxr (HQ), whose
stream is bit-equal to the whole, so ``load_audio`` is the concatenation of ``stream_audio``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from aasp_features.errors import AaSPError, OptionError

AUDIO_SUFFIXES = frozenset(
    {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".au", ".snd", ".caf"}
    | {".w64", ".rf64", ".voc"}
)
AV_SUFFIXES = frozenset(  # in folders; a file that is named itself is tried with FFmpeg whatever its ending
    {".m4a", ".m4b", ".mp4", ".m4v", ".aac", ".wma", ".asf", ".webm", ".mka", ".mkv", ".mov", ".avi", ".3gp", ".mpg"}
    | {".ac3", ".eac3", ".amr", ".ape", ".dts", ".gsm", ".mp2", ".mpc", ".spx", ".tta", ".wv"}
)

LOWEST_RATE, HIGHEST_RATE = 100, 10_000_000  # Hz; 100 give one sample in each frame's 10 ms, and 160 come out for it
LARGEST_BLOCK = 2**23  # numbers decoded at once, all channels together

Source = str | os.PathLike[str] | BinaryIO
Opened = str | bytes | BinaryIO  # what the decoders are given


class AudioError(AaSPError, ValueError):
    """A file that cannot be read as sound; the sentence names it."""


@dataclass(frozen=True)
class AudioInfo:
    """What a file says of itself: duration in seconds, samples per second, channels."""

    seconds: float
    rate: int
    channels: int


class AudioStream:
    """An open file. Iterate once for (samples,) float32 mono blocks at ``sample_rate``; memory stays constant.

    Attributes:
        info: of the original file; ``seconds`` is exact once the stream has been read.
    """

    def __init__(
        self, source: Source, sample_rate: int, block_seconds: float, start: float = 0.0, end: float | None = None
    ) -> None:
        self.name = describe_source(source)
        self.sample_rate, self.block_seconds = sample_rate, block_seconds
        if start < 0 or (end is not None and end <= start):
            raise AudioError(f"{self.name}: a part runs from 0 or later to a later end, got {start}-{end} s.")
        self.start, self.end = start, end
        self._decoder = _open(source, self.name)
        self.info = self._decoder.info
        if not 1 <= self.info.rate <= HIGHEST_RATE or self.info.channels < 1:
            raise AudioError(
                f"{self.name}: its header says {self.info.rate} Hz, {self.info.channels} channels, which cannot be; "
                "it is damaged."
            )

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        rate = self.info.rate
        read = 0

        def mono() -> Iterator[NDArray[np.float32]]:
            nonlocal read
            for block in self._blocks(rate):  # (samples, channels)
                if not np.isfinite(block).all():
                    raise AudioError(f"{self.name}: holds NaN or infinite samples; repair the file or leave it out.")
                read += len(block)
                yield block.mean(axis=1, dtype=np.float32) if block.shape[1] > 1 else block[:, 0]

        yield from resample_blocks(mono(), rate, self.sample_rate)
        if read == 0:
            where = f" at {self.start}-{self.end} s" if self.start or self.end is not None else ""
            raise AudioError(f"{self.name}: holds no samples{where}; a sound has at least 1.")
        self.info = AudioInfo(read / rate, rate, self.info.channels)

    def _blocks(self, rate: int) -> Iterator[NDArray[np.float32]]:
        """The decoder's blocks between ``start`` and ``end``, rounded to samples."""
        first = round(self.start * rate)
        block_samples = max(1, min(int(self.block_seconds * rate), LARGEST_BLOCK // self.info.channels))
        left = None if self.end is None else max(0, round(self.end * rate) - first)
        for block in self._decoder.blocks(block_samples, first):
            if left is not None:
                block = block[:left]
                left -= len(block)
            if len(block):
                yield block
            if left == 0:
                return


def stream_audio(
    source: Source,
    sample_rate: int = 16000,
    block_seconds: float = 20.0,
    *,
    start: float = 0.0,
    end: float | None = None,
) -> AudioStream:
    """Open a file for reading in blocks of ``block_seconds``.

    Args:
        source: a path, or an open binary file.
        sample_rate: of the samples that come out, in Hz.
        block_seconds: decoded at once.
        start, end: seconds, to read a part; it equals the same part cut into a file of its own.

    Raises:
        OptionError: a sample rate that is not one.
        AudioError: no such file, a folder, not sound; while iterating: no samples, NaN, damaged data.
    """
    check_rate(sample_rate)
    return AudioStream(source, sample_rate, block_seconds, start, end)


def load_audio(source: Source, sample_rate: int = 16000) -> NDArray[np.float32]:
    """Read a whole file: (samples,) float32, mono, at ``sample_rate``, at least 1; errors as ``stream_audio``."""
    return np.concatenate(list(stream_audio(source, sample_rate)))


def audio_info(source: Source) -> AudioInfo:
    """Duration, rate and channels from a file's header; errors as ``stream_audio``."""
    return _open(source, describe_source(source)).info


class Resampler:
    """A mono sound in blocks -> the same at another rate; n > 0 samples in give at least 1 out.

    Args:
        rate, sample_rate: in and out, in Hz.
    """

    def __init__(self, rate: int, sample_rate: int) -> None:
        self._stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
        self._same = rate == sample_rate
        self._given, self._last = 0, np.empty(0, np.float32)

    def push(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """(samples,) float32 in, those that are ready out."""
        if self._same or len(block) == 0:
            return block
        out: NDArray[np.float32] = self._stream.resample_chunk(np.ascontiguousarray(block, np.float32))
        self._given, self._last = self._given + len(out), block[-1:]
        return out

    def finish(self) -> NDArray[np.float32]:
        """The rest."""
        if self._same or len(self._last) == 0:
            return np.empty(0, np.float32)
        rest: NDArray[np.float32] = self._stream.resample_chunk(np.empty(0, np.float32), last=True)
        if self._given + len(rest) == 0:  # fewer samples in than one sample out: keep the sound's last value
            rest = self._last.copy()
        return rest


def resample_blocks(
    blocks: Iterable[NDArray[np.float32]], rate: int, sample_rate: int
) -> Iterator[NDArray[np.float32]]:
    """Resample a mono sound block by block; see ``Resampler``."""
    resampler = Resampler(rate, sample_rate)
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


def describe_source(source: Source) -> str:
    """What messages call a file."""
    return str(source) if isinstance(source, (str, os.PathLike)) else str(getattr(source, "name", "open file"))


class _SoundfileDecoder:
    """libsndfile: wav, flac, ogg, opus, mp3, aiff, …"""

    def __init__(self, file: soundfile.SoundFile, name: str) -> None:
        self.file, self.name = file, name
        self.info = AudioInfo(file.frames / max(1, file.samplerate), file.samplerate, file.channels)

    def blocks(self, samples: int, first: int) -> Iterator[NDArray[np.float32]]:
        """(samples, channels) at a time, from sample ``first`` on."""
        with self.file as file:
            if first >= file.frames > 0:
                return
            try:
                if first:
                    file.seek(first)
                while len(block := file.read(samples, dtype="float32", always_2d=True)):
                    yield block
            except (soundfile.SoundFileError, RuntimeError) as error:
                raise AudioError(f"{self.name}: damaged, decoding stopped ({error}).") from error


class _AvDecoder:
    """PyAV (extra ``av``): whatever FFmpeg reads."""

    def __init__(self, source: Opened, name: str) -> None:
        import av

        self.name, self._av = name, av
        opened: Any = av.open(source if hasattr(source, "read") else os.fsdecode(source))
        self.container = opened
        if not self.container.streams.audio:
            raise AudioError(f"{name}: holds no audio track.")
        self.track = self.container.streams.audio[0]
        seconds = float((self.container.duration or 0) / 1_000_000)
        self.info = AudioInfo(seconds, int(self.track.rate), int(self.track.codec_context.channels))

    def blocks(self, samples: int, first: int) -> Iterator[NDArray[np.float32]]:
        """(samples, channels) as FFmpeg hands them out, from sample ``first`` on."""
        with self.container as container:
            # Interleaved: PyAV reads beyond the planes of frames with more than 8 channels.
            converter = self._av.AudioResampler(format="flt")
            try:
                for packet in container.decode(self.track):
                    for frame in converter.resample(packet):
                        block = frame.to_ndarray().reshape(-1, self.info.channels).astype(np.float32, copy=False)
                        skipped, first = min(first, len(block)), max(0, first - len(block))
                        yield block[skipped:]
            except (self._av.error.FFmpegError, ValueError) as error:  # a ValueError where the layout changes midway
                raise AudioError(f"{self.name}: damaged, decoding stopped ({error}).") from error


def _open(source: Source, name: str) -> _SoundfileDecoder | _AvDecoder:
    opened = _checked_path(source, name) if isinstance(source, (str, os.PathLike)) else source
    try:
        return _SoundfileDecoder(soundfile.SoundFile(opened), name)
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        return _open_with_av(opened, name, error)


def _checked_path(source: str | os.PathLike[str], name: str) -> str | bytes:
    path = Path(source)
    if path.is_dir():
        raise AudioError(f"{name}: a folder, not a sound file; give its files, or use aasp-embed for folders.")
    if not path.exists():
        raise AudioError(f"{name}: no such file.")
    if not os.access(path, os.R_OK):
        raise AudioError(f"{name}: may not be read; check its permissions.")
    if path.stat().st_size == 0:
        raise AudioError(f"{name}: an empty file; a sound has at least 1 sample.")
    return os.fsencode(path) if os.name == "posix" else str(path)  # names need not be UTF-8


def _open_with_av(source: Opened, name: str, error: Exception) -> _AvDecoder:
    """What libsndfile refuses; ``error`` is its reason."""
    suffix = Path(name).suffix.lower()
    if not isinstance(source, (str, bytes)):
        source.seek(0)
    try:
        return _AvDecoder(source, name)
    except ImportError:
        # libsndfile keeps its reason in a global that another thread's file may overwrite: not repeatable, so not told.
        needs = "not a sound file that libsndfile reads; if FFmpeg reads it,"
        if suffix in AV_SUFFIXES:
            needs = f"{suffix} needs FFmpeg:"
        raise AudioError(f'{name}: {needs} pip install "aasp-features[av]".') from error
    except AudioError:
        raise
    except Exception as failure:  # PyAV raises many kinds, and all mean that this is not sound
        raise AudioError(
            f"{name}: not a sound file that can be decoded ({getattr(failure, 'strerror', failure)})."
        ) from failure
