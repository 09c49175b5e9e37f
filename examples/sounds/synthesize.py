"""Synthesize the sounds in this folder: ``python examples/sounds/synthesize.py [FOLDER]``.

Every clip is computed from formulas in float64 and from integers of a seeded generator. Any machine gives the same
samples, within one least significant bit. CC0 1.0: no rights reserved.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

Sound = Callable[[int], np.ndarray]  # rate -> (samples,) or (samples, channels) in +-1


def seconds(rate: int, duration: float) -> np.ndarray:
    return np.arange(round(rate * duration)) / rate


def noise(samples: int, seed: int) -> np.ndarray:
    """Return white noise from integers, equal on every platform."""
    return np.random.Generator(np.random.PCG64(seed)).integers(-32767, 32768, samples) / 32768


def tone(frequency: np.ndarray | float, rate: int, duration: float) -> np.ndarray:
    """Return a sine whose frequency may change from sample to sample."""
    t = seconds(rate, duration)
    return np.sin(2 * np.pi * np.cumsum(np.broadcast_to(frequency, t.shape)) / rate)


def fade(sound: np.ndarray, rate: int, duration: float = 0.01) -> np.ndarray:
    """Add ramps at both ends, which prevent clicks."""
    ramp = np.minimum(1, seconds(rate, len(sound) / rate) / duration)
    shape = np.minimum(ramp, ramp[::-1])
    return sound * (shape if sound.ndim == 1 else shape[:, None])


def plucked_string(rate: int) -> np.ndarray:
    """Karplus-Strong: a burst of noise in a delay line that loses its highs. 220 Hz."""
    line = list(noise(round(rate / 220), seed=1))
    samples = []
    for index in range(round(1.5 * rate)):
        place = index % len(line)
        samples.append(line[place])
        line[place] = 0.498 * (line[place] + line[(place + 1) % len(line)])
    return 0.7 * np.array(samples)


def drum_hits(rate: int) -> np.ndarray:
    """Four hits at 4 a second, low drum and snare in turn."""
    t = seconds(rate, 0.25)
    low = tone(50 + 110 * np.exp(-30 * t), rate, 0.25) * np.exp(-14 * t)
    snare = (0.6 * noise(len(t), seed=2) + 0.4 * tone(190.0, rate, 0.25)) * np.exp(-22 * t)
    return 0.8 * np.concatenate([low, snare, low, snare])


def bell(rate: int) -> np.ndarray:
    """Inharmonic partials, the high ones fading first."""
    t = seconds(rate, 1.2)
    ratios = [0.5, 1.0, 1.183, 1.506, 2.0, 2.514, 3.011]
    return sum(0.12 * np.exp(-(1 + ratio) * t) * tone(440 * ratio, rate, 1.2) for ratio in ratios)


def chord(rate: int) -> np.ndarray:
    """C major with three harmonics a note, in stereo: low notes left, high notes right."""
    t = seconds(rate, 1.5)
    left, right = np.zeros_like(t), np.zeros_like(t)
    for place, note in enumerate([261.63, 329.63, 392.0, 523.25]):
        voice = sum(tone(note * harmonic, rate, 1.5) / harmonic**2 for harmonic in (1, 2, 3))
        left, right = left + (3 - place) * voice / 18, right + place * voice / 18
    return np.stack([left, right], axis=1)


def siren(rate: int) -> np.ndarray:
    """Up and down between 500 and 1,200 Hz, once a second."""
    return 0.6 * tone(850 - 350 * np.cos(2 * np.pi * seconds(rate, 2.0)), rate, 2.0)


def modulated_noise(rate: int) -> np.ndarray:
    """Noise whose level swings 12 times a second, far above the Nyquist rate of 160 ms patches."""
    t = seconds(rate, 1.5)
    return 0.4 * noise(len(t), seed=3) * (1 + np.sin(2 * np.pi * 12 * t))


def engine(rate: int) -> np.ndarray:
    """A buzz at 90 Hz with uneven strokes."""
    t = seconds(rate, 1.5)
    buzz = sum(tone(90.0 * harmonic, rate, 1.5) / harmonic for harmonic in range(1, 20))
    return 0.25 * buzz * (1 + 0.4 * np.sin(2 * np.pi * 22.5 * t)) + 0.03 * noise(len(t), seed=4)


def footsteps(rate: int) -> np.ndarray:
    """Four steps that walk around six channels (5.1)."""
    step_time = seconds(rate, 0.25)
    step = noise(len(step_time), seed=5) * np.exp(-40 * step_time)
    sound = np.zeros((4 * len(step), 6))
    for place, channel in enumerate([0, 1, 5, 4]):
        sound[place * len(step) : (place + 1) * len(step), channel] = 0.9 * step
    return sound


def bird_chirps(rate: int) -> np.ndarray:
    """Six falling chirps from 5 to 3 kHz."""
    t = seconds(rate, 0.12)
    chirp = tone(5000 - 2000 * t / 0.12, rate, 0.12) * np.sin(np.pi * t / 0.12) ** 2
    return 0.6 * np.concatenate([np.pad(chirp, (0, round(0.08 * rate))) for _ in range(6)])


def rain(rate: int) -> np.ndarray:
    """Soft noise with drops, each ear its own."""
    ears = []
    for seed in (6, 7):
        hiss = noise(rate, seed)
        drops = np.where(noise(rate, seed + 10) > 0.997, 1.0, 0.0)
        ring = seconds(rate, 0.01)
        drops = np.convolve(drops, np.exp(-500 * ring) * np.sin(2 * np.pi * 2500 * ring))[:rate]
        ears.append(0.08 * (hiss + np.roll(hiss, 1)) + 0.5 * drops)
    return np.stack(ears, axis=1)


def vowels(rate: int) -> np.ndarray:
    """A, I, U: harmonics of a 120 Hz voice under three formants each."""
    formants = {"a": (730, 1090, 2440), "i": (270, 2290, 3010), "u": (300, 870, 2240)}
    spoken = []
    for peaks in formants.values():
        harmonics = 120.0 * np.arange(1, 40)
        gains = sum(1 / (1 + ((harmonics - peak) / (50 + 0.05 * peak)) ** 2) for peak in peaks) / np.sqrt(harmonics)
        voice = sum(gain * tone(harmonic, rate, 0.33) for gain, harmonic in zip(gains, harmonics, strict=True))
        spoken.append(fade(0.5 * voice / np.abs(voice).max(), rate, 0.03))
    return np.concatenate(spoken)


def whistle(rate: int) -> np.ndarray:
    """A glide from 800 to 2,400 Hz with vibrato."""
    t = seconds(rate, 1.0)
    return 0.5 * tone(800 * 3**t + 15 * np.sin(2 * np.pi * 6 * t), rate, 1.0)


class Clip(NamedTuple):
    """One file: its sound and storage format."""

    path: str
    sound: Sound
    rate: int
    subtype: str


CLIPS = [
    Clip("music/plucked_string.wav", plucked_string, 22050, "PCM_16"),
    Clip("music/drum_hits.flac", drum_hits, 44100, "PCM_16"),
    Clip("music/bell.flac", bell, 32000, "PCM_24"),
    Clip("music/chord.wav", chord, 16000, "PCM_16"),
    Clip("effects/siren.wav", siren, 8000, "PCM_U8"),
    Clip("effects/modulated_noise.flac", modulated_noise, 16000, "PCM_16"),
    Clip("effects/engine.wav", engine, 11025, "PCM_16"),
    Clip("effects/footsteps_5.1.wav", footsteps, 8000, "PCM_16"),
    Clip("nature/bird_chirps.flac", bird_chirps, 48000, "PCM_16"),
    Clip("nature/rain.flac", rain, 16000, "PCM_16"),
    Clip("voice/vowels.wav", vowels, 16000, "FLOAT"),
    Clip("voice/whistle.aiff", whistle, 22050, "PCM_16"),
]


def synthesize(folder: Path) -> None:
    """Write every clip below ``folder``."""
    for clip in CLIPS:
        path = folder / clip.path
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, fade(clip.sound(clip.rate), clip.rate), clip.rate, subtype=clip.subtype)


if __name__ == "__main__":
    synthesize(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
