"""Runs of frames, against a loop over frames; label tracks and Raven's tables, read back."""

import io

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aasp_features import OptionError
from aasp_features import events as events_module
from aasp_features.events import (
    Event,
    EventOptions,
    audacity_labels,
    check_threshold,
    find_events,
    frame_edges,
    raven_table,
    smoothed,
)
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


seconds = st.sampled_from([0.0, 0.16, 0.3, 0.5, 1.0, 10.0])


@given(st.lists(st.booleans(), min_size=1, max_size=40), seconds, seconds)
def test_close_runs_are_one_and_short_ones_none(heard: list[bool], min_duration: float, merge_gap: float) -> None:
    times = np.array(grid_times(16 * len(heard), 0.16))
    edges = frame_edges(times, 0.16)
    expected: list[list[float]] = []
    for first, last in runs(heard):
        if expected and edges[first] - expected[-1][1] <= merge_gap + 1e-9:
            expected[-1][1] = edges[last]
        else:
            expected.append([edges[first], edges[last]])
    least = min(min_duration, edges[-1]) - 1e-9
    expected = [[start, end] for start, end in expected if end - start >= least]
    column = np.array(heard, np.float32)[:, None]
    found = find_events(column, times, "a", 0.5, 0.16, min_duration=min_duration, merge_gap=merge_gap)
    assert [[event.start, event.end] for event in found] == expected


def test_each_class_has_its_own_threshold() -> None:
    rows, times = np.full((5, 2), 0.4, np.float32), np.array(grid_times(80, 0.16))
    assert [event.label for event in find_events(rows, times, "ab", [0.3, 0.5], 0.16)] == ["a"]


@given(st.integers(0, 40), st.sampled_from([0.0, 0.1, 0.33, 1.0, 100.0]), st.sampled_from([0.16, 0.04]))
def test_smoothing_is_the_mean_of_the_frames_near(frames: int, width: float, hop: float) -> None:
    vectors = np.random.default_rng(frames).normal(size=(frames, 3)).astype(np.float32)
    times = hop * (0.5 + np.arange(frames))
    near = [np.abs(times - time) <= width / 2 + 1e-9 for time in times]
    expected = np.array([vectors[one].mean(axis=0, dtype=np.float64) for one in near]).reshape(-1, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events_module, "BLOCK_FRAMES", 7)
        blocks = list(smoothed(vectors, times, width))
    np.testing.assert_allclose(np.concatenate(blocks), expected, atol=1e-6)


def test_pandas_reads_ravens_table() -> None:
    rows = [("b.wav", 1.5, 2.25, "a bell", 0.9), ("c/d.wav", 0.0, 1.0, "Regen, leise", 0.5)]
    text = raven_table(rows, {"a.wav": 10.0, "b.wav": 20.0, "c/d.wav": 3.0})
    table = pandas.read_csv(io.StringIO(text), sep="\t")
    assert table["Selection"].tolist() == [1, 2]
    assert table["File Offset (s)"].tolist() == [1.5, 0.0]
    assert table["Begin Time (s)"].tolist() == [11.5, 30.0]  # after the files before
    assert table["End Time (s)"].tolist() == [12.25, 31.0]
    assert table["Annotation"].tolist() == ["a bell", "Regen, leise"]
    assert [path.endswith("/c/d.wav") for path in table["Begin Path"]] == [False, True]


def test_options_of_events() -> None:
    assert EventOptions(smooth=0, min_duration=0, merge_gap=0).check().threshold is None
    for name in ("smooth", "min_duration", "merge_gap"):
        for wrong in (-1, float("inf"), float("nan"), True, "long"):
            with pytest.raises(OptionError, match=f"{name} must be 0 or a number of seconds"):
                EventOptions(**{name: wrong}).check()
