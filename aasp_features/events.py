"""Events: runs of frames in which a class is likely, found in probabilities along time; and their files.

The order is smooth, threshold, merge, drop: frame vectors are averaged, runs of frames above the class's threshold are
found, runs that a short gap separates are merged, and short ones are dropped.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aasp_features.errors import OptionError

THRESHOLD = 0.5  # of classes without one of their own
SMOOTH, MIN_DURATION, MERGE_GAP = 1.0, 0.5, 1.0  # seconds; measured by tests/benchmarks/events.py
BLOCK_FRAMES = 4096
TOLERANCE = 1e-9  # seconds, of sums of times
HIGHEST = 8000.0  # Hz that the network hears
# Columns and times of several files are those of Rraven's exp_raven: https://rdrr.io/cran/Rraven/src/R/exp_raven.R
RAVEN_COLUMNS = [
    *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"),
    *("Begin Path", "File Offset (s)", "Annotation", "Score"),
]


class Event(NamedTuple):
    """A stretch of a sound in which a class is likely.

    Attributes:
        start, end: seconds.
        label: of the class.
        probability: its mean over the frames of the stretch.
    """

    start: float
    end: float
    label: str
    probability: float


class EventOptions(NamedTuple):
    """How events are found.

    Attributes:
        threshold: Least probability of every class (default: the classifier's, one for each class).
        smooth: Seconds over which frame vectors are averaged; 0 turns it off.
        min_duration: Seconds; shorter events are dropped, unless they fill their sound.
        merge_gap: Seconds; events of a class that are at most this far apart become one.
    """

    threshold: float | None = None
    smooth: float = SMOOTH
    min_duration: float = MIN_DURATION
    merge_gap: float = MERGE_GAP

    def check(self) -> EventOptions:
        """Return the options if they are accepted; raise OptionError otherwise."""
        if self.threshold is not None:
            check_threshold(self.threshold)
        for name, value in zip(self._fields[1:], self[1:], strict=True):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
                raise OptionError(f"must be 0 or a number of seconds, got {value!r}.", option=name)
        return self


def check_threshold(threshold: float, name: str = "threshold") -> None:
    """Raise OptionError for anything but a probability above 0."""
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 < threshold <= 1:
        raise OptionError(f"must be a probability above 0 and at most 1, got {threshold!r}.", option=name)


def smoothed(
    vectors: NDArray[np.float32], times: NDArray[np.float64], seconds: float
) -> Iterator[NDArray[np.float64] | NDArray[np.float32]]:
    """Yield frame vectors averaged over time, block by block, in their order.

    Each is the mean of the frames whose centres are at most ``seconds / 2`` from its own. At the ends of a sound, these
    are fewer. A linear head gives the mean of the frames' logits for it.

    Args:
        vectors: (frames, d); may be memory-mapped.
        times: (frames,) seconds, the frames' centres.
        seconds: 0 leaves the vectors as they are.
    """
    firsts = np.searchsorted(times, times - seconds / 2 - TOLERANCE)
    lasts = np.searchsorted(times, times + seconds / 2 + TOLERANCE)
    for begin in range(0, max(1, len(times)), BLOCK_FRAMES):
        block = slice(begin, begin + BLOCK_FRAMES)
        if not seconds or not len(times):
            yield np.array(vectors[block])
            continue
        first, last = firsts[block], lasts[block]
        sums = np.cumsum(vectors[first[0] : last[-1]], axis=0, dtype=np.float64)
        sums = np.concatenate([np.zeros_like(sums[:1]), sums])
        yield (sums[last - first[0]] - sums[first - first[0]]) / (last - first)[:, None]


def find_events(
    probabilities: NDArray[np.float32],
    times: NDArray[np.float64],
    labels: Sequence[str],
    threshold: float | Sequence[float],
    hop: float,
    *,
    min_duration: float = 0.0,
    merge_gap: float = 0.0,
) -> list[Event]:
    """Return runs of frames whose probability reaches a threshold, class by class; in the order of their starts.

    An event begins and ends half-way between two frames; at the ends of the sound, at its start and where its last
    frame ends. Runs are merged before short ones are dropped.

    Args:
        probabilities: (frames, classes); see ``smoothed``.
        times: (frames,) seconds, the frames' centres.
        labels: of the classes.
        threshold: from which on a class counts as heard; one, or one for each class.
        hop: seconds from one frame to the next.
        min_duration, merge_gap: seconds, as of ``EventOptions``.

    Raises:
        OptionError: a threshold or a number of seconds that is not accepted.
    """
    thresholds = [threshold] * len(labels) if isinstance(threshold, (int, float)) else list(threshold)
    for one in thresholds:
        EventOptions(one, 0.0, min_duration, merge_gap).check()
    edges = frame_edges(times, hop)
    events = []
    for index, label in enumerate(labels):
        column = probabilities[:, index]
        for first, last in _merged(_runs(column >= thresholds[index]), edges, merge_gap):
            if edges[last] - edges[first] >= min(min_duration, edges[-1]) - TOLERANCE:
                mean = float(column[first:last].mean(dtype=np.float64))
                events.append(Event(float(edges[first]), float(edges[last]), label, mean))
    return sorted(events, key=lambda event: (event.start, event.end))


def _runs(heard: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the first frame of each run, and the one after its last."""
    padded = np.concatenate([[False], heard, [False]])
    changes = np.flatnonzero(padded[1:] != padded[:-1]).tolist()
    return list(zip(changes[::2], changes[1::2], strict=True))


def _merged(runs: Iterable[tuple[int, int]], edges: NDArray[np.float64], gap: float) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in runs:
        if merged and edges[first] - edges[merged[-1][1]] <= gap + TOLERANCE:
            first, _ = merged.pop()
        merged.append((first, last))
    return merged


def frame_edges(times: NDArray[np.float64], hop: float) -> NDArray[np.float64]:
    """Return the (frames + 1,) seconds between which frames of these (frames,) centres stand."""
    if not len(times):
        return np.zeros(1)
    last = 2 * times[-1] - (len(times) - 1) * hop  # its centre is the middle of what it holds
    return np.concatenate([[0.0], (times[1:] + times[:-1]) / 2, [last]])


def audacity_labels(events: Iterable[Event]) -> str:
    """Return a label track as Audacity imports it: start, end and label of an event a line, between tabs."""
    return "".join(f"{event.start:.6f}\t{event.end:.6f}\t{event.label}\n" for event in events)


def raven_table(rows: Iterable[tuple[str, float, float, str, float]], seconds: Mapping[str, float]) -> str:
    """Return a selection table for Raven: one for all files, opened with them or by itself.

    ``Begin Path`` and ``File Offset (s)`` place a row in its own file. ``Begin Time (s)`` counts from the start of the
    first file, as in Raven's window of several files.

    Args:
        rows: path, start and end (seconds of the file), label, and score, such as a probability.
        seconds: length of each file, in the order in which Raven opens them.
    """
    begins = dict(zip(seconds, np.cumsum([0.0, *seconds.values()]).tolist(), strict=False))
    text = io.StringIO()
    table = csv.writer(text, delimiter="\t", lineterminator="\n")
    table.writerow(RAVEN_COLUMNS)
    for number, (path, start, end, label, score) in enumerate(rows, start=1):
        times = [f"{begins[path] + time:.6f}" for time in (start, end)]
        place = [os.path.abspath(path), f"{start:.6f}"]
        table.writerow([number, "Spectrogram 1", 1, *times, 0.0, HIGHEST, *place, label, f"{score:.6f}"])
    return text.getvalue()
