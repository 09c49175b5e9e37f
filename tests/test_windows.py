"""Counts and times of frames and columns, against their definition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aasp_features.windows import column_time, count_columns, count_frames, valid_frames


@given(st.integers(1, 100_000))
def test_counts(samples: int) -> None:
    """A frame is where 25 ms of sound are left, every 10 ms, the first always; a column where a frame is left."""
    begins = [begin for begin in range(0, samples, 160) if begin == 0 or begin + 400 <= samples]
    assert count_frames(samples) == len(begins)
    columns = [begins[first : first + 16] for first in range(0, len(begins), 16)]
    assert count_columns(len(begins)) == len(columns)
    assert [valid_frames(len(begins), column) for column in range(len(columns))] == list(map(len, columns))


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
