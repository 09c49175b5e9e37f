"""Events: runs of frames in which a class is likely, found in probabilities along time; and their files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aasp_features.errors import OptionError

THRESHOLD = 0.5  # probability from which on a class counts as heard, unless another is given


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


def check_threshold(threshold: float) -> None:
    """Raise OptionError for anything but a probability above 0."""
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 < threshold <= 1:
        raise OptionError(f"must be a probability above 0 and at most 1, got {threshold!r}.", option="threshold")


def find_events(
    probabilities: NDArray[np.float32], times: NDArray[np.float64], labels: Sequence[str], threshold: float, hop: float
) -> list[Event]:
    """Return runs of frames whose probability reaches a threshold, class by class; in the order of their starts.

    An event begins and ends half-way between two frames; at the ends of the sound, at its start and where its last
    frame ends.

    Args:
        probabilities: (frames, classes).
        times: (frames,) seconds, the frames' centres.
        labels: of the classes.
        threshold: from which on a class counts as heard.
        hop: seconds from one frame to the next.

    Raises:
        OptionError: a threshold that is not accepted.
    """
    check_threshold(threshold)
    edges = frame_edges(times, hop)
    events = []
    for index, label in enumerate(labels):
        heard = np.concatenate([[False], probabilities[:, index] >= threshold, [False]])
        changes = np.flatnonzero(heard[1:] != heard[:-1])
        for first, last in zip(changes[::2], changes[1::2], strict=True):
            mean = float(probabilities[first:last, index].mean(dtype=np.float64))
            events.append(Event(float(edges[first]), float(edges[last]), label, mean))
    return sorted(events, key=lambda event: (event.start, event.end))


def frame_edges(times: NDArray[np.float64], hop: float) -> NDArray[np.float64]:
    """Return the (frames + 1,) seconds between which frames of these (frames,) centres stand."""
    if not len(times):
        return np.zeros(1)
    last = 2 * times[-1] - (len(times) - 1) * hop  # its centre is the middle of what it holds
    return np.concatenate([[0.0], (times[1:] + times[:-1]) / 2, [last]])


def audacity_labels(events: Iterable[Event]) -> str:
    """Return a label track as Audacity imports it: start, end and label of an event a line, between tabs."""
    return "".join(f"{event.start:.6f}\t{event.end:.6f}\t{event.label}\n" for event in events)
