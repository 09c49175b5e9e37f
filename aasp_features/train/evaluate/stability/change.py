"""How much vectors change where they should not: another place of the patch grid, a slightly other speed."""

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
from aasp_features.train.evaluate.methods import Hearing, Method, Waveform
from aasp_features.train.evaluate.metrics import interval

FRAME = 0.01  # seconds
SHIFTS = tuple(range(1, 17))  # frames; 16 are a whole patch: the control
SPEEDS = (0.98, 1.02)
AT_ONCE = 32  # crops


class Change(NamedTuple):
    """What a change of the sound does to its vectors, on average over recordings.

    Attributes:
        cosine: between the vectors before and after.
        distance: between them, as a share of the mean distance between two recordings.
        interval: 95 % of that distance, recordings drawn again.
    """

    cosine: float
    distance: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Changes:
    """Of one method.

    Attributes:
        clips: by the shift in frames of 10 ms.
        frames: the same for vectors along time, each compared with the one nearest in time; empty if there are none.
        speeds: by the speed at which the sound is played.
    """

    clips: dict[int, Change]
    frames: dict[int, Change]
    speeds: dict[float, Change]


class Recordings(NamedTuple):
    """Sounds that are long enough, and how many were not or could not be read."""

    waveforms: list[Waveform]
    too_short: int
    unreadable: dict[str, str]


def read_recordings(sounds: Sequence[Sound], rate: int, seconds: float, most: int) -> Recordings:
    """The beginnings of sounds: as much as crops of ``seconds`` need, at ``rate``.

    Args:
        sounds: taken at equal distances, so that all kinds among them are heard.
        rate: Hz.
        seconds: of a crop.
        most: recordings.

    Raises:
        TrainError: fewer than two are long enough.
    """
    needed = round((max(SPEEDS) * seconds + max(SHIFTS) * FRAME) * rate) + 1
    waveforms, unreadable, too_short = [], {}, 0
    for sound in _spread(sounds, most):
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
            f"{len(waveforms)} of the sounds can be read and last {needed / rate:.2f} s, too few to compare; "
            "give other sounds, or shorter crops by --seconds."
        )
    return Recordings(waveforms, too_short, unreadable)


def _spread(sounds: Sequence[Sound], most: int) -> list[Sound]:
    places = np.linspace(0, len(sounds) - 1, min(most, len(sounds))).round().astype(int)
    return [sounds[place] for place in places]


def _beginning(sound: Sound, rate: int, count: int) -> Waveform:
    blocks, found = [], 0
    for block in sound.stream(rate):
        blocks.append(block)
        found += len(block)
        if found >= count:
            break
    return np.concatenate(blocks or [np.zeros(0, np.float32)])[:count]


def changes(method: Method, recordings: Sequence[Waveform], rate: int, seconds: float) -> Changes:
    """Crops of every recording, moved and played faster and slower, never rolled or padded.

    Args:
        method: hears the crops.
        recordings: (samples,) at ``rate``, as ``read_recordings`` gives them.
        rate: Hz.
        seconds: of a crop.
    """
    length = round(seconds * rate)
    crops = [recording[:length] for recording in recordings]
    moved = {
        shift: [one[(start := round(shift * FRAME * rate)) : start + length] for one in recordings] for shift in SHIFTS
    }
    whole = _hear(method.hear, crops, rate)
    clips = {shift: change(whole, _hear(method.hear, moved[shift], rate)) for shift in SHIFTS}
    speeds = {
        speed: change(whole, _hear(method.hear, [played(one, rate, speed, length) for one in recordings], rate))
        for speed in SPEEDS
    }
    frames: dict[int, Change] = {}
    if method.hear_frames is not None:
        still = _hear_frames(method, crops, rate)
        for shift in SHIFTS:
            frames[shift] = frame_change(still, _hear_frames(method, moved[shift], rate), shift * FRAME)
    return Changes(clips, frames, speeds)


def played(waveform: Waveform, rate: int, speed: float, length: int) -> Waveform:
    """A waveform at another speed (and so pitch), ``length`` samples of it."""
    return np.asarray(soxr.resample(waveform[: round(length * speed) + 1], rate * speed, rate), np.float32)[:length]


def change(before: NDArray[np.float32], after: NDArray[np.float32]) -> Change:
    """From (recordings, d) to (recordings, d)."""
    return _change(before[:, None], after[:, None])


def frame_change(before: Sequence[FrameEmbeddings], after: Sequence[FrameEmbeddings], shift: float) -> Change:
    """From crops to those that begin ``shift`` seconds later; each vector with the nearest in time."""
    times, later = before[0].times, after[0].times + shift
    nearest = np.abs(later[:, None] - times).argmin(axis=1)
    common = np.abs(later - times[nearest]) <= np.diff(times).mean() / 2 + 1e-9  # the last may have no partner
    pairs = [(one.embeddings[nearest[common]], two.embeddings[common]) for one, two in zip(before, after, strict=True)]
    return _change(np.stack([one for one, _ in pairs]), np.stack([two for _, two in pairs]))


def _change(before: NDArray[np.float32], after: NDArray[np.float32]) -> Change:
    """(recordings, T, d) both."""
    from sklearn.metrics import pairwise_distances

    one, other = before.astype(np.float64), after.astype(np.float64)
    lengths = np.linalg.norm(one, axis=2) * np.linalg.norm(other, axis=2)
    cosines = (one * other).sum(axis=2) / np.maximum(lengths, 1e-12)
    pairs = len(one) * (len(one) - 1)
    usual = float(np.mean([pairwise_distances(one[:, place]).sum() / pairs for place in range(one.shape[1])]))
    if usual == 0.0:
        raise TrainError("the vectors of all recordings are the same, so that nothing can be compared.")
    distances = np.linalg.norm(one - other, axis=2).mean(axis=1) / usual
    draws = np.random.default_rng(0).integers(len(distances), size=(1000, len(distances)))
    return Change(float(cosines.mean()), float(distances.mean()), interval(distances[draws].mean(axis=1).tolist()))


def _hear(hear: Hearing, crops: Sequence[Waveform], rate: int) -> NDArray[np.float32]:
    return np.concatenate([hear(crops[first : first + AT_ONCE], rate) for first in range(0, len(crops), AT_ONCE)])


def _hear_frames(method: Method, crops: Sequence[Waveform], rate: int) -> list[FrameEmbeddings]:
    assert method.hear_frames is not None
    parts = [method.hear_frames(crops[first : first + AT_ONCE], rate) for first in range(0, len(crops), AT_ONCE)]
    return [one for part in parts for one in part]
