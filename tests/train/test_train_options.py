"""Options of several commands."""

import pytest

from aasp_features.train.options import checked_device, seconds_of


def test_minutes() -> None:
    assert seconds_of("--max-time", None) is None
    assert seconds_of("--max-time", 1.5, above_zero=True) == 90
    assert seconds_of("--stop-after", 0) == 0
    for minutes in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="--stop-after is a number of minutes of at least 0"):
            seconds_of("--stop-after", minutes)
    with pytest.raises(ValueError, match="--max-time is above 0 minutes, got 0"):
        seconds_of("--max-time", 0, above_zero=True)


def test_devices() -> None:
    assert checked_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="--device is one that torch can use here, cpu or cuda; got 'gpu'"):
        checked_device("gpu")
