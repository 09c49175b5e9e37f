"""Statistics of a stream are numpy's on the whole, however it is cut, ordered and merged."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aasp_features.train.data import statistics
from aasp_features.train.data.statistics import RunningStatistics


def fed(pieces: list[np.ndarray]) -> RunningStatistics:
    result = RunningStatistics()
    for piece in pieces:
        result.add(torch.from_numpy(piece))
    return result


@given(
    lengths=st.lists(st.integers(0, 50), min_size=1, max_size=8),
    mean=st.floats(-1e3, 1e3),
    std=st.floats(1e-2, 1e2),
    seed=st.integers(0, 1000),
    places=st.data(),
)
def test_pieces_and_parts_give_the_whole(
    lengths: list[int], mean: float, std: float, seed: int, places: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    pieces = [mean + std * rng.normal(size=(length, 3)) for length in lengths]
    whole = np.concatenate(pieces)
    at = places.draw(st.integers(0, len(pieces)))
    merged = fed(pieces[:at])
    merged.merge(fed(pieces[at:]))
    for found in (fed(pieces), fed(pieces[::-1]), merged):
        assert found.count == whole.size
        if whole.size:
            assert found.mean == pytest.approx(whole.mean(), rel=1e-12, abs=1e-12 * std)
            assert found.std == pytest.approx(max(whole.std(), 1e-6), rel=1e-9)


def test_half_precision_and_long_pieces_are_summed_in_double(monkeypatch: pytest.MonkeyPatch) -> None:
    values = (np.random.default_rng(0).normal(size=(400, 128)) - 8).astype(np.float16)
    whole = fed([values])
    monkeypatch.setattr(statistics, "AT_ONCE", 1000)
    for found in (whole, fed([values])):
        assert found.mean == pytest.approx(values.astype(np.float64).mean(), rel=1e-12)
        assert found.std == pytest.approx(values.astype(np.float64).std(), rel=1e-12)


def test_nothing_and_constants() -> None:
    assert (RunningStatistics().mean, RunningStatistics().std) == (0.0, 1e-6)
    assert fed([np.full(5, 3.0)]) == RunningStatistics(5, 3.0, 0.0)
