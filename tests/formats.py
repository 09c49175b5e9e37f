"""Files of many kinds, as this package decodes them and as PyAV alone does.

``python tests/formats.py [--files 400]`` prints, for each kind, the largest difference in length and the lowest
correlation, at each file's own rate. The files are made by FFmpeg and libsndfile: noise and tones, 0.3 to 8 s.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from helpers import encode, ffmpeg_decode, sound_bytes

from aasp_features.audio import stream_audio

Encoder = Callable[[np.ndarray, int], bytes]
RATES = [8000, 16000, 22050, 44100, 48000]
OPUS_RATES = [8000, 16000, 48000]


def by_libsndfile(kind: str, subtype: str) -> Encoder:
    return lambda sound, rate: sound_bytes(sound, rate, kind, subtype)


def by_ffmpeg(container: str, codec: str, **options: object) -> Encoder:
    return partial(encode, container=container, codec=codec, **options)


KINDS: dict[str, tuple[Encoder, list[int], int]] = {  # how it is made, its rates, its most channels
    "wav": (by_libsndfile("WAV", "PCM_16"), RATES, 2),
    "aiff": (by_libsndfile("AIFF", "PCM_24"), RATES, 2),
    "flac": (by_libsndfile("FLAC", "PCM_24"), RATES, 2),
    "mp3": (by_ffmpeg("mp3", "libmp3lame"), RATES, 2),
    "ogg": (by_libsndfile("OGG", "VORBIS"), RATES, 2),
    "opus": (by_ffmpeg("ogg", "libopus"), OPUS_RATES, 2),
    "m4a": (by_ffmpeg("ipod", "aac"), RATES, 2),
    "mov (alac)": (by_ffmpeg("mov", "alac"), RATES, 2),
    "wma": (by_ffmpeg("asf", "wmav2", bit_rate=128_000), [22050, 44100, 48000], 2),
    "webm": (by_ffmpeg("webm", "libopus"), OPUS_RATES, 2),
    "mka": (by_ffmpeg("matroska", "flac"), RATES, 2),
    "amr": (by_ffmpeg("amr", "libopencore_amrnb"), [8000], 1),
    "wv": (by_ffmpeg("wv", "wavpack"), RATES, 2),
    "ac3": (by_ffmpeg("ac3", "ac3"), [44100, 48000], 2),
    "aac": (by_ffmpeg("adts", "aac"), RATES, 2),
    "au": (by_libsndfile("AU", "ULAW"), RATES, 2),
}


@dataclass
class Comparison:
    """Of one file: samples more than PyAV's, and the correlation with them."""

    samples: int
    correlation: float


def random_sound(rng: np.random.Generator, rate: int, channels: int) -> np.ndarray:
    """(samples, channels): a tone in noise whose loudness changes."""
    samples = int(rate * rng.uniform(0.3, 8.0))
    time_axis = np.arange(samples) / rate
    tone = np.sin(2 * np.pi * rng.uniform(80, rate / 6, channels) * time_axis[:, None])
    hiss = rng.normal(size=(samples, channels)) * (1 + np.sin(2 * np.pi * rng.uniform(0.5, 4) * time_axis))[:, None]
    return (0.2 * tone + 0.05 * hiss).astype(np.float32)


def compare(kind: str, rng: np.random.Generator) -> Comparison:
    """A random file of a kind, decoded by both."""
    make, rates, most_channels = KINDS[kind]
    rate = int(rng.choice(rates))
    content = make(random_sound(rng, rate, int(rng.integers(1, most_channels + 1))), rate)
    samples, own_rate = ffmpeg_decode(content)
    expected = samples.mean(axis=1)
    read = np.concatenate(list(stream_audio(io.BytesIO(content), own_rate)))
    shared = min(len(read), len(expected))
    return Comparison(len(read) - len(expected), float(np.corrcoef(read[:shared], expected[:shared])[0, 1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=400, help="of all kinds together")
    arguments = parser.parse_args()
    print("| kind | files | samples more or less than PyAV | lowest correlation | seconds |\n|---|---|---|---|---|")
    for number, kind in enumerate(KINDS):
        count, began = len(range(number, arguments.files, len(KINDS))), time.monotonic()
        results = [compare(kind, np.random.default_rng([number, case])) for case in range(count)]
        difference = max(abs(result.samples) for result in results)
        lowest = min(result.correlation for result in results)
        print(f"| {kind} | {count} | {difference} | {lowest:.6f} | {time.monotonic() - began:.0f} |", flush=True)


if __name__ == "__main__":
    main()
