"""Runs of frames, against a loop over frames; label tracks, read back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aasp_features import OptionError
from aasp_features.events import Event, audacity_labels, check_threshold, find_events, frame_edges
from aasp_features.windows import grid_times


def runs(heard: list[bool]) -> list[tuple[int, int]]:
    """First frame and the one after the last, frame by frame."""
    found, begin = [], None
    for place, now in enumerate([*heard, False]):
        if now and begin is None:
            begin = place
        if not now and begin is not None:
            found.append((begin, place))
            begin = None
    return found


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)), min_size=1, max_size=30))
def test_events_are_the_runs_above_the_threshold(rows: list[tuple[float, float]]) -> None:
    probabilities = np.array(rows, np.float32)
    times = np.array(grid_times(16 * len(rows), 0.16))
    edges = frame_edges(times, 0.16)
    expected = []
    for index, label in enumerate("ab"):
        column = probabilities[:, index]
        for first, last in runs((column >= 0.5).tolist()):
            mean = float(column[first:last].astype(np.float64).mean())
            expected.append(Event(edges[first], edges[last], label, mean))
    found = find_events(probabilities, times, "ab", 0.5, 0.16)
    assert sorted(found) == sorted(expected)
    assert [event.start for event in found] == sorted(event.start for event in found)


@pytest.mark.parametrize("hop", [0.16, 0.04])
@pytest.mark.parametrize("frames", [1, 16, 17, 100])
def test_edges_cover_the_sound(frames: int, hop: float) -> None:
    edges = frame_edges(np.array(grid_times(frames, hop)), hop)
    assert edges[0] == 0
    assert edges[-1] == pytest.approx((frames - 1) * 0.01 + 0.025)  # where the last frame of the log-mel ends
    assert (np.diff(edges) > 0).all()


def test_no_frames_no_events() -> None:
    assert find_events(np.empty((0, 2), np.float32), np.empty(0), "ab", 0.5, 0.16) == []


def test_audacity_reads_its_labels_back() -> None:
    events = [Event(0.0, 1.25, "a bell", 0.9), Event(86400.123456, 86401.5, "Regen, leise", 0.5)]
    lines = audacity_labels(events).splitlines()
    read = [(float(start), float(end), label) for start, end, label in (line.split("\t") for line in lines)]
    assert read == [event[:3] for event in events]


def test_thresholds() -> None:
    check_threshold(1)
    for wrong in (0, -1, 2, True, None):
        with pytest.raises(OptionError, match="threshold must be"):
            check_threshold(wrong)
