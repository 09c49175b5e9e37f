"""The window plan, against its definition."""

import numpy as np
import pytest
from helpers import plan_windows
from hypothesis import given
from hypothesis import strategies as st

from aasp_features.config import FRAME_HOP, FRAME_LENGTH
from aasp_features.windows import (
    WindowCutter,
    WindowPlanner,
    column_time,
    count_columns,
    count_frames,
    valid_frames,
)

shapes = st.tuples(st.integers(1, 64), st.integers(0, 20)).filter(lambda shape: 2 * shape[1] < shape[0])


@given(st.integers(1, 100_000))
def test_counts(samples: int) -> None:
    """A frame is where 25 ms of sound are left, every 10 ms, the first always; a column where a frame is left."""
    begins = [begin for begin in range(0, samples, 160) if begin == 0 or begin + 400 <= samples]
    assert count_frames(samples) == len(begins)
    columns = [begins[first : first + 16] for first in range(0, len(begins), 16)]
    assert count_columns(len(begins)) == len(columns)
    assert [valid_frames(len(begins), column) for column in range(len(columns))] == list(map(len, columns))


@given(st.integers(1, 500), shapes)
def test_every_column_is_emitted_once_in_order(columns: int, shape: tuple[int, int]) -> None:
    window, context = shape
    plan = plan_windows(columns, window, context)
    emitted = [column for part in plan for column in range(part.emit_start, part.emit_stop)]
    assert emitted == list(range(columns))
    for part in plan:
        assert 0 <= part.start <= part.emit_start < part.emit_stop <= part.stop <= columns
        assert part.stop - part.start == min(window, columns)


@given(st.integers(1, 500), shapes)
def test_a_column_comes_from_the_first_regular_window_that_emits_it(columns: int, shape: tuple[int, int]) -> None:
    window, context = shape
    hop = window - 2 * context
    for part in plan_windows(columns, window, context)[:-1]:
        assert part.start % hop == 0
        assert part.emit_stop == part.stop - context
        assert part.emit_start == (part.start + context if part.start else 0)


@given(st.lists(st.integers(0, 90), max_size=20), st.integers(1, 90), shapes)
def test_learning_the_length_late_changes_nothing(steps: list[int], rest: int, shape: tuple[int, int]) -> None:
    planner, known, parts = WindowPlanner(*shape), 0, []
    for step in steps:
        known += step
        parts += planner.advance(known)
        assert all(part.start >= 0 for part in parts)
    held_from = planner.oldest_needed
    last = list(planner.finish(known + rest))
    assert all(part.start >= held_from for part in last)
    assert parts + last == plan_windows(known + rest, *shape)


def test_planner_holds_at_most_two_windows() -> None:
    planner = WindowPlanner(64, 8)
    for columns in range(1, 5000):
        list(planner.advance(columns))
        assert columns - planner.oldest_needed <= 2 * 64


def test_times_are_centres_of_valid_frames() -> None:
    # Column 0 of a long recording: frames 0…15 span samples 0 … 15 * 160 + 400.
    assert column_time(100, 0) == pytest.approx((15 * 160 + 400) / 2 / 16000, abs=0)
    # 17 frames: column 1 holds one frame, samples 2560 … 2960.
    assert column_time(17, 1) == (2560 + 2960) / 2 / 16000
    assert column_time(1000, 3, first_frame=4) == (160 * (4 + 48) + (15 * 160 + 400) / 2) / 16000


def test_times_do_not_drift_over_a_day() -> None:
    frames = count_frames(24 * 3600 * 16000)
    last = count_columns(frames) - 2
    assert column_time(frames, last) == (last * 2560 + 1400) / 16000


@given(st.lists(st.integers(0, 40), max_size=30), shapes, st.integers(0, 15))
def test_cut_frames_are_those_of_the_plan(pieces: list[int], shape: tuple[int, int], first: int) -> None:
    """Of log-mel: one item a frame."""
    items = np.arange(sum(pieces), dtype=np.float32)
    cutter = WindowCutter(*shape, np.concatenate, first_frame=first)
    cut = [window for piece in np.split(items, np.cumsum(pieces)[:-1]) for window in cutter.push(piece)]
    cut += cutter.finish()
    own = items[first:]
    assert cutter.frames == len(own)
    assert [window.plan for window in cut] == (plan_windows(count_columns(len(own)), *shape) if len(own) else [])
    for window in cut:
        np.testing.assert_array_equal(window.items, own[16 * window.plan.start : 16 * window.plan.stop])


@given(st.lists(st.integers(0, 9000), max_size=12), shapes)
def test_cut_samples_give_the_frames_of_the_plan(pieces: list[int], shape: tuple[int, int]) -> None:
    """Of a waveform: frames of 400 samples, 160 apart."""
    items = np.arange(sum(pieces), dtype=np.float32)
    cutter = WindowCutter(*shape, np.concatenate, hop=FRAME_HOP, length=FRAME_LENGTH)
    cut = [window for piece in np.split(items, np.cumsum(pieces)[:-1]) for window in cutter.push(piece)]
    cut += cutter.finish()
    frames = count_frames(len(items)) if len(items) else 0
    assert cutter.frames == frames
    assert [window.plan for window in cut] == (plan_windows(count_columns(frames), *shape) if frames else [])
    for window in cut:
        begin, end = 2560 * window.plan.start, min(len(items), 2560 * window.plan.stop - 160 + 400)
        np.testing.assert_array_equal(window.items, items[begin:end])
        assert count_frames(len(window.items)) == min(16 * window.plan.stop, frames) - 16 * window.plan.start
