"""Files of many kinds, as this package decodes them and as PyAV and libsndfile do.

``python tests/formats.py [--files 400]`` prints, for each kind, the largest difference in length and the lowest
correlation, at each file's own rate. The files are made by FFmpeg and libsndfile: noise and tones, 0.3 to 8 s. A second
table has the containers and codecs that libsndfile and PyAV decode differently: how well each, and this package, gives
back the tones that went in, as the highest cross-correlation.
"""

from __future__ import annotations

import argparse
import io
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import soundfile
from helpers import encode, ffmpeg_decode, sound_bytes

from aasp_features.audio.reading import audio_info, stream_audio

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


TONES_RATE, LEFT_OUT = 16000, {"RAW", "SD2", "XI"}  # without a header; of two files; an instrument's, without a rate
LIKE = 0.001  # what cross-correlations of equally good decoders may differ by
CONTAINERS = ["wav", "w64", "aiff", "caf", "au", "flac", "ogg", "mp3", "voc", "sox", "mov", "matroska", "avi"]
CODECS = [f"pcm_{kind}" for kind in ("u8", "s8", "mulaw", "alaw")] + ["flac", "alac", "libmp3lame", "mp2", "g722"]
CODECS += [f"pcm_{kind}{order}" for kind in ("s16", "s24", "s32", "f32", "f64") for order in ("le", "be")]
CODECS += [f"adpcm_{kind}" for kind in ("ima_wav", "ima_qt", "ms", "yamaha")]


def tones(rate: int) -> np.ndarray:
    """Half a second that every decoder's output is compared with; no two places of it are alike."""
    time_axis = np.arange(rate // 2) / rate
    return sum(0.2 * np.sin(2 * np.pi * (start * time_axis + 600 * time_axis**2)) for start in (200, 900)).astype("f4")


def files_of_tones() -> dict[str, bytes]:
    """The tones in every container, codec and byte order that libsndfile or FFmpeg writes."""
    made = {}
    for kind in sorted(set(soundfile.available_formats()) - LEFT_OUT):
        for subtype in soundfile.available_subtypes(kind):
            for order in ("FILE", "LITTLE", "BIG"):
                content = io.BytesIO()
                try:
                    soundfile.write(content, tones(TONES_RATE), TONES_RATE, subtype, order, kind)
                    soundfile.read(io.BytesIO(content.getvalue()))
                except (soundfile.LibsndfileError, ValueError):
                    continue  # no such combination
                made[f"libsndfile {kind} {subtype} {order}"] = content.getvalue()
    for container in CONTAINERS:
        for codec in CODECS:
            try:
                made[f"FFmpeg {container} {codec}"] = encode(tones(TONES_RATE), TONES_RATE, container, codec)
            except Exception:  # PyAV's, of many kinds: no such combination
                continue
    return made


def by_pyav(content: bytes) -> tuple[np.ndarray, int]:
    samples, rate = ffmpeg_decode(content)
    return samples.mean(axis=1), rate


def by_this_package(content: bytes) -> tuple[np.ndarray, int]:
    rate = audio_info(io.BytesIO(content)).rate
    return np.concatenate(list(stream_audio(io.BytesIO(content), rate))), rate


DECODERS: dict[str, Callable[[bytes], tuple[np.ndarray, int]]] = {
    "libsndfile": lambda content: soundfile.read(io.BytesIO(content), dtype="float32"),
    "PyAV": by_pyav,
    "this package": by_this_package,
}


def likeness(content: bytes) -> dict[str, float]:
    """How well each decoder gives the tones back, 0 to 1; 0 where it refuses the file."""
    scores = {}
    for name, decode in DECODERS.items():
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                samples, rate = decode(content)
                wanted, size = tones(rate), len(samples) + rate
                shifts = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(wanted, size).conj(), size)
                best = shifts.max() / np.linalg.norm(samples.astype("f8")) / np.linalg.norm(wanted)
                scores[name] = float(np.nan_to_num(best))
        except Exception:  # each library's own
            scores[name] = 0.0
    return scores


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
    scores = {name: list(likeness(content).values()) for name, content in files_of_tones().items()}
    both = {name: own for name, own in scores.items() if min(own[:2]) > 0}
    worse = sum(own[2] < max(own) - LIKE for own in scores.values())
    print(f"\n{len(scores)} containers and codecs, {len(both)} read by both; {worse} decoded worse here than there.\n")
    print("| read by both, but differently | libsndfile | PyAV | this package |\n|---|---|---|---|")
    for name, own in both.items():
        if max(own) - min(own) > LIKE:
            print(f"| {name} | {' | '.join(f'{score:.4f}' for score in own)} |")


if __name__ == "__main__":
    main()
