"""Stability of vectors: their change under shifts and speeds, and what they keep of modulations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import soxr
from numpy.typing import NDArray

from aasp_features.audio.reading import AudioError
from aasp_features.inference import FrameEmbeddings
from aasp_features.sounds.sound import Sound
from aasp_features.train import markdown
from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.classifier import standardise
from aasp_features.train.evaluate.methods import Embed, Method, Waveform
from aasp_features.train.evaluate.metrics import interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

T = TypeVar("T")
FRAME = 0.01  # seconds
SHIFTS = tuple(range(1, 17))  # frames; the control is 16, a whole patch
SPEEDS = (0.98, 1.02)
AT_ONCE = 32  # crops or clips
COLUMN_RATE = 6.25  # Hz: patches per second; one sample per patch cannot tell f from f + 6.25 Hz
MAX_RATE = 49.0  # Hz; the log-mel, with 100 frames per second, ends at 50
LOW_RATES = (3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
RATES = tuple(sorted(low + COLUMN_RATE * k for low in LOW_RATES for k in range(8) if low + COLUMN_RATE * k <= MAX_RATE))
TRAIN, TEST = 32, 16  # clips of each rate
SECONDS, LEVEL = 1.0, 0.05
PATCH_FRAMES = SHIFTS[-1]
DASHES = ("-", "--", ":")  # each for ten curves, the number of colours


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
    faster = {speed: [played(one, rate, speed, length) for one in recordings] for speed in SPEEDS}
    whole = np.stack(_in_batches(method.embed, crops, rate))

    def compared(others: Sequence[Waveform]) -> Change:
        return change(whole, np.stack(_in_batches(method.embed, others, rate)))

    clips = {shift: compared(moved[shift]) for shift in SHIFTS}
    speeds = {speed: compared(faster[speed]) for speed in SPEEDS}
    frames: dict[int, Change] = {}
    if method.embed_frames is not None:
        still = _in_batches(method.embed_frames, crops, rate)
        for shift in SHIFTS:
            frames[shift] = frame_change(still, _in_batches(method.embed_frames, moved[shift], rate), shift * FRAME)
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


def _in_batches(
    embed: Callable[[Sequence[Waveform], int], Iterable[T]], crops: Sequence[Waveform], rate: int
) -> list[T]:
    """Return the embedding of each crop."""
    return [one for first in range(0, len(crops), AT_ONCE) for one in embed(crops[first : first + AT_ONCE], rate)]


@dataclass(frozen=True)
class ModulationReading:
    """Results on held-out clips.

    Attributes:
        explained: Share of the rate's variance that a ridge regression explains (R², at most 1).
        told_apart: By f, how often f and f + 6.25 Hz are told apart, in %; 50 is chance.
        told_apart_mean: Mean over all f.
        interval: 95 % interval of that mean, bootstrapped over clips.
    """

    explained: float
    told_apart: dict[float, float]
    told_apart_mean: float
    interval: tuple[float, float]


def modulated_noise(modulation: float, rate: int, generator: np.random.Generator) -> Waveform:
    """Return 1 s of noise times 1 + m cos(2πft + φ).

    φ, the depth m (0.2 to 1), the slope of the spectrum (white to brown) and the level (±6 dB) are random, so neither
    the loudness nor its variance reveals f.
    """
    count = round(SECONDS * rate)
    envelope = 1.0 + generator.uniform(0.2, 1.0) * np.cos(
        2 * np.pi * (modulation * np.arange(count) / rate + generator.random())
    )
    spectrum = np.fft.rfft(generator.standard_normal(count))
    slope = np.maximum(np.arange(len(spectrum)), 20 * SECONDS) ** -generator.uniform(0.0, 1.0)  # flat below 20 Hz
    sound = np.fft.irfft(spectrum * slope, count) * envelope
    level = LEVEL * 10 ** (generator.uniform(-6.0, 6.0) / 20)
    return np.asarray(sound * (level / np.sqrt(np.mean(sound**2))), np.float32)


def read_modulation(embed: Embed, rate: int, train: int = TRAIN, test: int = TEST) -> ModulationReading:
    """Embed modulated noise, fit linear models to some clips, and test them on the others.

    There are ``train`` and ``test`` clips of each modulation rate, at a sample rate of ``rate`` Hz.
    """
    generator = np.random.default_rng(0)
    clips = [modulated_noise(f, rate, generator) for f in RATES for _ in range(train + test)]
    vectors = np.stack(_in_batches(embed, clips, rate)).reshape(len(RATES), train + test, -1)
    given, held = vectors[:, :train], vectors[:, train:]
    right = {f: _told_apart(given, held, index) for index, f in enumerate(RATES) if f + COLUMN_RATE in RATES}
    shares = np.stack(list(right.values())).astype(np.float64) * 100.0  # (pairs, 2 · test)
    draws = generator.integers(shares.shape[1], size=(1000, shares.shape[1]))
    return ModulationReading(
        _explained(given, held),
        {f: 100.0 * float(found.mean()) for f, found in right.items()},
        float(shares.mean()),
        interval(shares[:, draws].mean(axis=(0, 2)).tolist()),
    )


def _explained(given: NDArray[np.float32], held: NDArray[np.float32]) -> float:
    from sklearn.linear_model import RidgeCV
    from sklearn.metrics import r2_score

    flat = [part.reshape(-1, part.shape[2]) for part in (given, held)]
    train, test = standardise(*flat)
    model = RidgeCV(alphas=np.logspace(-1, 5, 13)).fit(train, np.repeat(RATES, given.shape[1]))
    return float(r2_score(np.repeat(RATES, held.shape[1]), model.predict(test)))


def _told_apart(given: NDArray[np.float32], held: NDArray[np.float32], index: int) -> NDArray[np.bool_]:
    """Return which held-out clips of a rate and of its alias are recognised, (2 · test,)."""
    from sklearn.linear_model import LogisticRegression

    alias = RATES.index(RATES[index] + COLUMN_RATE)
    train, test = standardise(*(np.concatenate([part[index], part[alias]]) for part in (given, held)))
    truth = np.repeat([0, 1], [given.shape[1], given.shape[1]])
    model = LogisticRegression(C=0.1, max_iter=1000).fit(train, truth)
    return np.asarray(model.predict(test) == np.repeat([0, 1], [held.shape[1], held.shape[1]]))


@dataclass(frozen=True)
class Stability:
    """Results of one method; ``changes`` is None without recordings."""

    changes: Changes | None
    modulation: ModulationReading


Results = Mapping[str, Stability]


def stability_report(results: Results, recordings: int, seconds: float) -> str:
    """Return the results in Markdown.

    Args:
        results: Results by method name.
        recordings: Number of recordings.
        seconds: Length of the crops.
    """
    parts = []
    if recordings:
        parts += [
            f"Distance to the vector of the same sound, shifted by 1 to {PATCH_FRAMES - 1} frames of 10 ms (mean), by "
            f"a whole patch ({PATCH_FRAMES} frames), or played 2 % slower or faster. Distances are in % of the mean "
            "between two recordings, with 95 % intervals; smaller is better. The cosine follows. Frame vectors are "
            f"compared with the nearest in time. {recordings} recordings, crops of {seconds:g} s.",
            _change_table({name: found.changes for name, found in results.items() if found.changes}),
        ]
    parts += [
        "Noise with an amplitude modulation of 3 to 49 Hz, held-out clips: the share of the rate's variance that a "
        f"linear model explains (R²), and how often it distinguishes f from f + {COLUMN_RATE} Hz, which one sample per "
        "patch cannot (50 % is chance).",
        _modulation_table(results),
    ]
    return "\n\n".join(parts) + "\n"


def _change_table(results: Mapping[str, Changes]) -> str:
    rows = [["", "shifted", "by a patch", "frames shifted", "frames by a patch", "other speed"]]
    for name, found in results.items():
        frames = [_moved(found.frames), _cell([found.frames[PATCH_FRAMES]])] if found.frames else ["–", "–"]
        clips = [_moved(found.clips), _cell([found.clips[PATCH_FRAMES]])]
        rows.append([name, *clips, *frames, _cell(list(found.speeds.values()))])
    return markdown.table(rows)


def _moved(changes: Mapping[int, Change]) -> str:
    return _cell([changes[shift] for shift in SHIFTS[:-1]])


def _cell(changes: list[Change]) -> str:
    low, high = (np.mean([change.interval[end] for change in changes]) for end in (0, 1))
    distance, cosine = (np.mean([change[index] for change in changes]) for index in (1, 0))
    return f"{100 * distance:.1f} % ({100 * low:.1f}–{100 * high:.1f}), {cosine:.4f}"


def _modulation_table(results: Results) -> str:
    rows = [["", "R² of the rate", "f from its alias, %"]]
    for name, found in results.items():
        low, high = found.modulation.interval
        told = f"{found.modulation.told_apart_mean:.1f} ({low:.1f}–{high:.1f})"
        rows.append([name, f"{found.modulation.explained:.2f}", told])
    return markdown.table(rows)


def as_json(results: Results, recordings: int, seconds: float) -> dict[str, Any]:
    """Return all results with keys that JSON can hold."""
    return {
        "recordings": recordings,
        "seconds": seconds,
        "methods": {
            name: {"changes": _plain(found.changes), "modulation": asdict(found.modulation)}
            for name, found in results.items()
        },
    }


def _plain(changes: Changes | None) -> dict[str, dict[str, dict[str, Any]]] | None:
    if changes is None:
        return None
    kinds: dict[str, Mapping[Any, Change]]
    kinds = {"clips": changes.clips, "frames": changes.frames, "speeds": changes.speeds}
    return {kind: {str(amount): change._asdict() for amount, change in found.items()} for kind, found in kinds.items()}


def draw(results: Results, file: Path) -> None:
    """Plot the results over the shift and over the modulation rate."""
    from matplotlib.figure import Figure

    moved = any(found.changes for found in results.values())
    figure = Figure(figsize=(13 if moved else 5, 4), layout="constrained")
    axes = figure.subplots(1, 3 if moved else 1, squeeze=False)[0]
    for index, (name, found) in enumerate(results.items()):
        colour, dashes = f"C{index % 10}", DASHES[index // 10 % len(DASHES)]
        if found.changes:
            _curve(axes[0], found.changes.clips, colour, dashes)
            _curve(axes[1], found.changes.frames, colour, dashes)
        told = found.modulation.told_apart
        axes[-1].plot(list(told), list(told.values()), color=colour, linestyle=dashes, label=name, marker=".")
    if moved:
        for ax, title in ((axes[0], "clip vectors"), (axes[1], "frame vectors, nearest in time")):
            ax.set(
                title=title, xlabel="shift, frames of 10 ms", ylabel="distance, % of that between recordings", ylim=0
            )
    axes[-1].axhline(50, color="0.6", linewidth=1)
    axes[-1].set(title=f"f told from f + {COLUMN_RATE} Hz", xlabel="modulation rate f, Hz", ylabel="held-out clips, %")
    figure.legend(*axes[-1].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize="small")
    figure.savefig(file, dpi=120)


def _curve(axes: Axes, changes: Mapping[int, Change], colour: str, dashes: str) -> None:
    shifts = [0, *changes]
    axes.plot(shifts, [0.0, *(100 * change.distance for change in changes.values())], color=colour, linestyle=dashes)
    low, high = ([0.0, *(100 * change.interval[end] for change in changes.values())] for end in (0, 1))
    axes.fill_between(shifts, low, high, color=colour, alpha=0.15)
