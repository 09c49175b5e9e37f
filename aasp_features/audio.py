"""A sound file -> mono float32 samples at the model's rate, whole or in blocks.

Channels are mixed down by their mean. Integers become floats in +-1. Other rates are resampled by soxr (HQ), whose
stream is bit-equal to the whole, so ``load_audio`` is the concatenation of ``stream_audio``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

AUDIO_SUFFIXES = frozenset(
    {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".au", ".snd", ".caf"}
    | {".w64", ".rf64", ".voc"}
)
AV_SUFFIXES = frozenset({".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka", ".mkv", ".mov", ".ac3", ".amr"})

Source = str | os.PathLike[str] | BinaryIO


class AudioError(ValueError):
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

    def __init__(self, source: Source, sample_rate: int, block_seconds: float) -> None:
        self.name = describe_source(source)
        self.sample_rate, self.block_seconds = sample_rate, block_seconds
        self._decoder = _open(source, self.name)
        self.info = self._decoder.info

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        rate = self.info.rate
        read = 0

        def mono() -> Iterator[NDArray[np.float32]]:
            nonlocal read
            for block in self._decoder.blocks(max(1, int(self.block_seconds * rate))):  # (samples, channels)
                if not np.isfinite(block).all():
                    raise AudioError(f"{self.name}: holds NaN or infinite samples; repair the file or leave it out.")
                read += len(block)
                yield block.mean(axis=1, dtype=np.float32) if block.shape[1] > 1 else block[:, 0]

        yield from resample_blocks(mono(), rate, self.sample_rate)
        if read == 0:
            raise AudioError(f"{self.name}: holds no samples; a sound has at least 1.")
        self.info = AudioInfo(read / rate, rate, self.info.channels)


def stream_audio(source: Source, sample_rate: int = 16000, block_seconds: float = 20.0) -> AudioStream:
    """Open a file for reading in blocks of ``block_seconds``.

    Args:
        source: a path, or an open binary file.
        sample_rate: of the samples that come out, in Hz.
        block_seconds: decoded at once.

    Raises:
        AudioError: no such file, a folder, not sound; while iterating: no samples, NaN, damaged data.
    """
    check_rate(sample_rate)
    return AudioStream(source, sample_rate, block_seconds)


def load_audio(source: Source, sample_rate: int = 16000) -> NDArray[np.float32]:
    """Read a whole file: (samples,) float32, mono, at ``sample_rate``, at least 1; errors as ``stream_audio``."""
    return np.concatenate(list(stream_audio(source, sample_rate)))


def audio_info(source: Source) -> AudioInfo:
    """Duration, rate and channels from a file's header; errors as ``stream_audio``."""
    return _open(source, describe_source(source)).info


def resample_blocks(
    blocks: Iterable[NDArray[np.float32]], rate: int, sample_rate: int
) -> Iterator[NDArray[np.float32]]:
    """Resample a mono recording block by block; n > 0 samples in give at least 1 sample out.

    Args:
        blocks: (samples,) float32 in order.
        rate, sample_rate: in and out, in Hz.
    """
    if rate == sample_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
    samples, given, last = 0, 0, np.zeros(1, np.float32)
    for block in blocks:
        if len(block) == 0:
            continue
        samples, last = samples + len(block), block[-1:]
        out = stream.resample_chunk(np.ascontiguousarray(block, np.float32))
        given += len(out)
        if len(out):
            yield out
    if samples == 0:
        return
    rest = stream.resample_chunk(np.empty(0, np.float32), last=True)
    if given + len(rest) == 0:  # fewer samples in than one sample out: keep the sound's last value
        rest = last.copy()
    if len(rest):
        yield rest


def check_rate(rate: Any) -> int:
    """A sample rate as an int; raises AudioError for anything but a positive whole number of Hz."""
    whole = isinstance(rate, (int, np.integer)) or (isinstance(rate, float) and rate.is_integer())
    if isinstance(rate, bool) or not whole or rate <= 0:
        raise AudioError(f"a sample rate is a positive whole number of Hz, got {rate!r}.")
    return int(rate)


def describe_source(source: Source) -> str:
    """What messages call a file."""
    return str(source) if isinstance(source, (str, os.PathLike)) else str(getattr(source, "name", "open file"))


class _SoundfileDecoder:
    """libsndfile: wav, flac, ogg, opus, mp3, aiff, …"""

    def __init__(self, file: soundfile.SoundFile, name: str) -> None:
        self.file, self.name = file, name
        self.info = AudioInfo(file.frames / file.samplerate, file.samplerate, file.channels)

    def blocks(self, samples: int) -> Iterator[NDArray[np.float32]]:
        with self.file as file:
            while True:
                try:
                    block = file.read(samples, dtype="float32", always_2d=True)
                except (soundfile.SoundFileError, RuntimeError) as error:
                    raise AudioError(f"{self.name}: damaged, decoding stopped ({error}).") from error
                if len(block) == 0:
                    return
                yield block


class _AvDecoder:
    """PyAV (extra ``av``): whatever FFmpeg reads."""

    def __init__(self, source: Source, name: str) -> None:
        import av

        self.name, self._av = name, av
        opened: Any = av.open(source if hasattr(source, "read") else str(source))
        self.container = opened
        if not self.container.streams.audio:
            raise AudioError(f"{name}: holds no audio track.")
        self.track = self.container.streams.audio[0]
        seconds = float((self.container.duration or 0) / 1_000_000)
        self.info = AudioInfo(seconds, int(self.track.rate), int(self.track.codec_context.channels))

    def blocks(self, samples: int) -> Iterator[NDArray[np.float32]]:
        with self.container as container:
            converter = self._av.AudioResampler(format="fltp")
            try:
                for packet in container.decode(self.track):
                    for frame in converter.resample(packet):
                        yield frame.to_ndarray().T.astype(np.float32, copy=False)
            except self._av.error.FFmpegError as error:
                raise AudioError(f"{self.name}: damaged, decoding stopped ({error}).") from error


def _open(source: Source, name: str) -> _SoundfileDecoder | _AvDecoder:
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if path.is_dir():
            raise AudioError(f"{name}: a folder, not a sound file; give its files, or use aasp-embed for folders.")
        if not path.exists():
            raise AudioError(f"{name}: no such file.")
        if not os.access(path, os.R_OK):
            raise AudioError(f"{name}: may not be read; check its permissions.")
        if path.stat().st_size == 0:
            raise AudioError(f"{name}: an empty file; a sound has at least 1 sample.")
        source = str(path)
    try:
        return _SoundfileDecoder(soundfile.SoundFile(source), name)
    except (soundfile.SoundFileError, RuntimeError, TypeError) as error:
        return _open_with_av(source, name, error)


def _open_with_av(source: Source, name: str, error: Exception) -> _AvDecoder:
    suffix = Path(name).suffix.lower()
    if suffix not in AV_SUFFIXES:
        raise AudioError(f"{name}: not a sound file that can be decoded ({error}).") from error
    try:
        return _AvDecoder(source, name)
    except ImportError:
        raise AudioError(f'{name}: {suffix} needs FFmpeg: pip install "aasp-features[av]".') from error
    except AudioError:
        raise
    except Exception as failure:  # PyAV raises many kinds, and all mean that this is not sound
        raise AudioError(f"{name}: not a sound file that can be decoded ({failure}).") from failure
