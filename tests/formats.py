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

import numpy as np
import soundfile
from helpers import encode, ffmpeg_decode, sound_bytes

from aasp_features.audio.reading import audio_info, stream_audio

RATES, OPUS_RATES = [8000, 16000, 22050, 44100, 48000], [8000, 16000, 48000]
KINDS = {  # by libsndfile: format and subtype; by FFmpeg: container and codec; rates
    "wav": ("WAV", "PCM_16", RATES),
    "aiff": ("AIFF", "PCM_24", RATES),
    "flac": ("FLAC", "PCM_24", RATES),
    "ogg": ("OGG", "VORBIS", RATES),
    "au": ("AU", "ULAW", RATES),
    "mp3": ("mp3", "libmp3lame", RATES),
    "opus": ("ogg", "libopus", OPUS_RATES),
    "m4a": ("ipod", "aac", RATES),
    "mov": ("mov", "alac", RATES),
    "wma": ("asf", "wmav2", [22050, 44100, 48000]),
    "webm": ("webm", "libopus", OPUS_RATES),
    "mka": ("matroska", "flac", RATES),
    "amr": ("amr", "libopencore_amrnb", [8000]),
    "wv": ("wv", "wavpack", RATES),
    "ac3": ("ac3", "ac3", [44100, 48000]),
    "aac": ("adts", "aac", RATES),
}


def random_sound(rng: np.random.Generator, rate: int, channels: int) -> np.ndarray:
    """(samples, channels): a tone in noise whose loudness changes."""
    samples = int(rate * rng.uniform(0.3, 8.0))
    time_axis = np.arange(samples) / rate
    tone = np.sin(2 * np.pi * rng.uniform(80, rate / 6, channels) * time_axis[:, None])
    hiss = rng.normal(size=(samples, channels)) * (1 + np.sin(2 * np.pi * rng.uniform(0.5, 4) * time_axis))[:, None]
    return (0.2 * tone + 0.05 * hiss).astype(np.float32)


def compare(kind: str, rng: np.random.Generator) -> tuple[int, float]:
    """Of a random file of a kind: samples more than PyAV's, and the correlation with them."""
    container, codec, rates = KINDS[kind]
    rate = int(rng.choice(rates))
    sound = random_sound(rng, rate, 1 if kind == "amr" else int(rng.integers(1, 3)))
    make = sound_bytes if container.isupper() else encode
    content = make(sound, rate, container, codec, **({"bit_rate": 128_000} if kind == "wma" else {}))
    expected, own_rate = by_pyav(content)
    read = np.concatenate(list(stream_audio(io.BytesIO(content), own_rate)))
    shared = min(len(read), len(expected))
    return len(read) - len(expected), float(np.corrcoef(read[:shared], expected[:shared])[0, 1])


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
        difference, lowest = max(abs(samples) for samples, _ in results), min(likeness for _, likeness in results)
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
