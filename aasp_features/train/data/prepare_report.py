"""Facts of a corpus' sounds, measured as they are stored, and the report over all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from aasp_features.config import AaSPConfig
from aasp_features.model.log_mel import ENERGY_FLOOR, LogMel, LogMelStream, band_of
from aasp_features.train.data.reading import SAMPLE_RATE
from aasp_features.train.data.statistics import RunningStatistics
from aasp_features.train.markdown import table
from aasp_features.windows import count_frames

BLOCK = 20 * SAMPLE_RATE  # samples in memory at once
FULL_SCALE = 32767  # of 16-bit samples
QUIET = 33  # -60 dB of full scale
BANDWIDTHS = 4000, 7000  # Hz
NOTHING = 1e-4  # of the energy, -40 dB: what coding leaves above the band of a telephone
QUANTISED = 4 * ENERGY_FLOOR  # a band's energy that the noise of 16 bits does not reach
SEGMENTS, BANDS = 17, 9  # whose differences in time and frequency make a signature of 128 bits
MIN_FRAMES = 2 * SEGMENTS  # of a sound with a signature
ORDERS, FLIPPED = 16, 18  # in which signatures are compared; bits that may differ
PERCENTILES = 0, 5, 50, 95, 100

MEASURED = np.dtype(
    [
        ("samples", "<i8"),
        ("frames", "<i8"),
        ("mean", "<f8"),
        ("squares", "<f8"),
        ("peak", "<i4"),
        ("clipped", "?"),
        ("digest", "<u8"),
        ("above", "<f4", len(BANDWIDTHS)),
        ("signature", "u1", 16),
        ("rate", "<i4"),
    ]
)


def measure(path: Path, rate: int) -> tuple[Any, ...]:
    """Measure a stored sound in blocks; return the fields of ``MEASURED``.

    ``mean`` and ``squares`` are the statistics of its log-mel, which is rounded to float16 as in ``cached.py``.
    ``above`` is the share of energy above each of ``BANDWIDTHS``.

    Args:
        path: File of one channel of 16 bits at 16 kHz, at least 25 ms.
        rate: Sample rate of its source, in Hz.
    """
    frontend = LogMel(AaSPConfig(mean=0.0, std=1.0))
    stream, statistics, digest = LogMelStream(frontend), RunningStatistics(), hashlib.blake2b(digest_size=8)
    energy = torch.zeros(SEGMENTS, frontend.filters.shape[1], dtype=torch.float64)
    peak, clipped, done = 0, False, 0
    with soundfile.SoundFile(path) as file:
        samples, frames = file.frames, count_frames(file.frames)
        for block in file.blocks(BLOCK, dtype="int16"):
            digest.update(block.astype("<i2").tobytes())
            level = np.abs(block.astype(np.int32))
            full = level >= FULL_SCALE
            peak, clipped = max(peak, int(level.max())), clipped or bool((full[2:] & full[1:-1] & full[:-2]).any())
            if len(log_mel := stream.push(block.astype(np.float32) / (FULL_SCALE + 1))):
                statistics.add(log_mel.half())
                segment = torch.arange(done, done + len(log_mel)) * SEGMENTS // frames
                energy.index_add_(0, segment, log_mel.double().exp())
                done += len(log_mel)
    facts = samples, frames, statistics.mean, statistics.squares, peak, clipped
    above = shares_above(energy.sum(0).numpy() / frames)
    return *facts, int.from_bytes(digest.digest(), "little"), above, signature(energy.numpy()), rate


def shares_above(energy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of energy above each of ``BANDWIDTHS``, without the noise of 16 bits.

    The band that contains a frequency's edge counts as below it.

    Args:
        energy: (mels,) mean energy of each band, after pre-emphasis.
    """
    used = np.maximum(energy - QUANTISED, 0.0)
    first = [int(np.ceil(band_of(torch.tensor(float(hertz)), len(energy)).item())) + 1 for hertz in BANDWIDTHS]
    shares: NDArray[np.float64] = np.array([used[band:].sum() for band in first]) / max(used.sum(), ENERGY_FLOOR)
    return shares


def signature(energy: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return 128 bits, (16,), of a sound: whether the step between neighbouring bands grows from segment to segment.

    A gain changes none of them, and coding few (after Haitsma and Kalker, 2002).

    Args:
        energy: (segments, mels) summed energy of each band.
    """
    width = energy.shape[1] // BANDS
    level = np.log(energy[:, : BANDS * width].reshape(SEGMENTS, BANDS, width).sum(-1) + ENERGY_FLOOR)
    return np.packbits(np.diff(np.diff(level, axis=1), axis=0) > 0)


def near_duplicates(sounds: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which sounds resemble an earlier one, (sounds,), in time proportional to n log n.

    Signatures are sorted by their bits in ``ORDERS`` random orders (after Charikar, 2002). Neighbours of like length
    that differ in at most ``FLIPPED`` bits are near duplicates. Silent sounds and those under 0.37 s have no signature.
    """
    rng, near = np.random.default_rng(0), np.zeros(len(sounds), bool)
    (index,) = np.nonzero((sounds["frames"] >= MIN_FRAMES) & (sounds["peak"] >= QUIET))
    signatures, samples = sounds["signature"][index], sounds["samples"][index]
    bits = np.unpackbits(signatures, axis=1)
    ones = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.uint8)  # in a byte
    for _ in range(ORDERS):
        chosen = np.ascontiguousarray(bits[:, rng.permutation(bits.shape[1])[:64]])
        key = np.packbits(chosen, axis=1).view(">u8")[:, 0]
        order = np.argsort(key, kind="stable")
        pairs = np.sort([order[:-1], order[1:]], axis=0)
        short, long = np.sort(samples[pairs], axis=0)
        pairs = pairs[:, long - short <= 0.05 * long + 0.1 * SAMPLE_RATE]
        alike = ones[signatures[pairs[0]] ^ signatures[pairs[1]]].sum(axis=1) <= FLIPPED
        near[index[pairs[1, alike]]] = True
    return near


def corpus_statistics(sounds: NDArray[Any]) -> RunningStatistics:
    """Return the statistics of all log-mels, merged as ``RunningStatistics`` merges two."""
    count = sounds["frames"].astype(np.float64) * AaSPConfig().mels
    mean = float(sounds["mean"] @ count / count.sum())
    squares = float(sounds["squares"].sum() + count @ (sounds["mean"] - mean) ** 2)
    return RunningStatistics(int(count.sum()), mean, squares)


def corpus_report(sounds: NDArray[Any], left_out: int) -> dict[str, Any]:
    """Return the report of a corpus as JSON values.

    Args:
        sounds: (sounds,) of a dtype with the fields of ``MEASURED``, in order.
        left_out: Number of broken and too short sounds.
    """
    seconds = sounds["samples"] / SAMPLE_RATE
    rates, counts = np.unique(sounds["rate"], return_counts=True)
    _, original = np.unique(sounds["digest"], return_index=True)
    exact = np.ones(len(sounds), bool)
    exact[original] = False
    silent = sounds["peak"] < QUIET
    narrow = {
        f"little_above_{hertz // 1000}_khz": (sounds["above"][:, at] < NOTHING) & ~silent
        for at, hertz in enumerate(BANDWIDTHS)
    }
    found = {
        **narrow,
        "silent": silent,
        "clipped": sounds["clipped"],
        "exact_duplicates": exact,
        "near_duplicates": near_duplicates(sounds) & ~exact,
    }
    return {
        "clips": len(sounds),
        "hours": round(float(seconds.sum()) / 3600, 4),
        "left_out": left_out,
        "source_rates": {str(rate): count for rate, count in zip(rates.tolist(), counts.tolist(), strict=True)},
        "seconds": {f"{at} %": round(float(np.percentile(seconds, at)), 3) for at in PERCENTILES},
        **{name: _found(chosen) for name, chosen in found.items()},
    }


def _found(chosen: NDArray[np.bool_]) -> dict[str, Any]:
    return {"clips": int(chosen.sum()), "first": np.flatnonzero(chosen)[:5].tolist()}


def report_table(corpus: dict[str, Any]) -> str:
    """Return the report of a prepared corpus, the content of its ``corpus.json``, as a table."""
    report = dict(corpus["report"])
    clips, rates, seconds = report.pop("clips"), report.pop("source_rates"), report.pop("seconds")
    rows = [["", "clips", "share", "such as"], ["all", f"{clips:,}", f"{report.pop('hours'):,.2f} h", ""]]
    rows.append(["left out", f"{report.pop('left_out'):,}", "", ""])
    rows += [[f"source at {int(rate):,} Hz", *_share(count, clips), ""] for rate, count in rates.items()]
    for name, found in report.items():
        numbers = " ".join(f"{number:09}" for number in found["first"][:2])
        rows.append([name.replace("_", " ").replace("khz", "kHz"), *_share(found["clips"], clips), numbers])
    lengths: Iterable[str] = (f"{length:,.2f} s ({at})" for at, length in seconds.items())
    return (
        f"{table(rows, aligned=True)}\n\nLengths: {', '.join(lengths)}.\n"
        f"Log-mel: mean {corpus['mean']:.4f}, standard deviation {corpus['std']:.4f}.\n"
    )


def _share(count: int, clips: int) -> list[str]:
    return [f"{count:,}", f"{100 * count / clips:.1f} %"]
