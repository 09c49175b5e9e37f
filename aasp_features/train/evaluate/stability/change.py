"""Changes of vectors under shifts against the patch grid and small changes of speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from aasp_features.audio.reading import AudioError
from aasp_features.inference import FrameEmbeddings
from aasp_features.sounds.sound import Sound
from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.methods import Embed, Method, Waveform
from aasp_features.train.evaluate.metrics import interval

FRAME = 0.01  # seconds
SHIFTS = tuple(range(1, 17))  # frames; the control is 16, a whole patch
SPEEDS = (0.98, 1.02)
AT_ONCE = 32  # crops


class Change(NamedTuple):
    """Effect of a change of the sound on its vectors, averaged over recordings.

    Attributes:
        cosine: Cosine between the vectors before and after.
        distance: Distance between them, as a share of the mean distance between two recordings.
        interval: 95 % interval of that distance, bootstrapped over recordings.
    """

    cosine: float
    distance: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Changes:
    """Effects on one method's vectors.

    Attributes:
        clips: Effect on clip vectors, by the shift in frames of 10 ms.
        frames: Effect on vectors along time, each compared with the nearest in time; empty if there are none.
        speeds: Effect on clip vectors, by playback speed.
    """

    clips: dict[int, Change]
    frames: dict[int, Change]
    speeds: dict[float, Change]


class Recordings(NamedTuple):
    """Sounds that are long enough, and the numbers of short and unreadable ones."""

    waveforms: list[Waveform]
    too_short: int
    unreadable: dict[str, str]


def read_recordings(sounds: Sequence[Sound], rate: int, seconds: float, limit: int) -> Recordings:
    """Read the beginnings of sounds, as long as crops of ``seconds`` need, at ``rate``.

    Args:
        sounds: Sounds, of which equally spaced ones are used.
        rate: Sample rate, Hz.
        seconds: Length of a crop.
        limit: Largest number of recordings.

    Raises:
        TrainError: Fewer than two sounds are long enough.
    """
    needed = round((max(SPEEDS) * seconds + max(SHIFTS) * FRAME) * rate) + 1
    waveforms, unreadable, too_short = [], {}, 0
    for sound in _spread(sounds, limit):
        try:
            waveform = _beginning(sound, rate, needed)
        except AudioError as error:
            unreadable[sound.name] = str(error)
            continue
        if len(waveform) < needed:
            too_short += 1
        else:
            waveforms.append(waveform)
    if len(waveforms) < 2:
        raise TrainError(
            f"only {len(waveforms)} readable sounds last {needed / rate:.2f} s, too few to compare; give other sounds, "
            "or shorter crops by --seconds."
        )
    return Recordings(waveforms, too_short, unreadable)


def _spread(sounds: Sequence[Sound], limit: int) -> list[Sound]:
    indices = np.linspace(0, len(sounds) - 1, min(limit, len(sounds))).round().astype(int)
    return [sounds[index] for index in indices]


def _beginning(sound: Sound, rate: int, count: int) -> Waveform:
    blocks, found = [], 0
    for block in sound.stream(rate):
        blocks.append(block)
        found += len(block)
        if found >= count:
            break
    return np.concatenate(blocks or [np.zeros(0, np.float32)])[:count]


def changes(method: Method, recordings: Sequence[Waveform], rate: int, seconds: float) -> Changes:
    """Measure the effects of shifts and speeds on crops of every recording, without rolling or padding.

    Args:
        method: Source of the vectors.
        recordings: (samples,) at ``rate``, from ``read_recordings``.
        rate: Sample rate, Hz.
        seconds: Length of a crop.
    """
    length = round(seconds * rate)
    crops = [recording[:length] for recording in recordings]
    moved = {
        shift: [one[(start := round(shift * FRAME * rate)) : start + length] for one in recordings] for shift in SHIFTS
    }
    whole = _embed(method.embed, crops, rate)
    clips = {shift: change(whole, _embed(method.embed, moved[shift], rate)) for shift in SHIFTS}
    speeds = {
        speed: change(whole, _embed(method.embed, [played(one, rate, speed, length) for one in recordings], rate))
        for speed in SPEEDS
    }
    frames: dict[int, Change] = {}
    if method.embed_frames is not None:
        still = _embed_frames(method, crops, rate)
        for shift in SHIFTS:
            frames[shift] = frame_change(still, _embed_frames(method, moved[shift], rate), shift * FRAME)
    return Changes(clips, frames, speeds)


def played(waveform: Waveform, rate: int, speed: float, length: int) -> Waveform:
    """Return ``length`` samples of a waveform at another speed and pitch."""
    return np.asarray(soxr.resample(waveform[: round(length * speed) + 1], rate * speed, rate), np.float32)[:length]


def change(before: NDArray[np.float32], after: NDArray[np.float32]) -> Change:
    """Compare vectors, both (recordings, d)."""
    return _change(before[:, None], after[:, None])


def frame_change(before: Sequence[FrameEmbeddings], after: Sequence[FrameEmbeddings], shift: float) -> Change:
    """Compare crops with those that begin ``shift`` seconds later, each vector with the nearest in time."""
    times, later = before[0].times, after[0].times + shift
    nearest = np.abs(later[:, None] - times).argmin(axis=1)
    common = np.abs(later - times[nearest]) <= np.diff(times).mean() / 2 + 1e-9  # the last may be unpaired
    pairs = [(one.embeddings[nearest[common]], two.embeddings[common]) for one, two in zip(before, after, strict=True)]
    return _change(np.stack([one for one, _ in pairs]), np.stack([two for _, two in pairs]))


def _change(before: NDArray[np.float32], after: NDArray[np.float32]) -> Change:
    from sklearn.metrics import pairwise_distances

    one, other = before.astype(np.float64), after.astype(np.float64)
    lengths = np.linalg.norm(one, axis=2) * np.linalg.norm(other, axis=2)
    cosines = (one * other).sum(axis=2) / np.maximum(lengths, 1e-12)
    pairs = len(one) * (len(one) - 1)
    usual = float(np.mean([pairwise_distances(one[:, index]).sum() / pairs for index in range(one.shape[1])]))
    if usual == 0.0:
        raise TrainError("the vectors of all recordings are the same, so they cannot be compared.")
    distances = np.linalg.norm(one - other, axis=2).mean(axis=1) / usual
    draws = np.random.default_rng(0).integers(len(distances), size=(1000, len(distances)))
    return Change(float(cosines.mean()), float(distances.mean()), interval(distances[draws].mean(axis=1).tolist()))


def _embed(embed: Embed, crops: Sequence[Waveform], rate: int) -> NDArray[np.float32]:
    return np.concatenate([embed(crops[first : first + AT_ONCE], rate) for first in range(0, len(crops), AT_ONCE)])


def _embed_frames(method: Method, crops: Sequence[Waveform], rate: int) -> list[FrameEmbeddings]:
    assert method.embed_frames is not None
    parts = [method.embed_frames(crops[first : first + AT_ONCE], rate) for first in range(0, len(crops), AT_ONCE)]
    return [one for part in parts for one in part]
