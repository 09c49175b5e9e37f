"""Questions about lengths are answered as counting frames would, and a batch's rows stay together."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from train_helpers import random_batch

from aasp_features.train.data.batch import Batch, Share, draw


@given(lengths=st.lists(st.integers(1, 80), min_size=1, max_size=5), frames=st.integers(1, 80))
def test_columns_are_counted(lengths: list[int], frames: int) -> None:
    frames = max(frames, *lengths) if len(lengths) > 1 else max(frames, lengths[0])
    rows = torch.zeros(len(lengths), dtype=torch.long)
    batch = Batch(torch.zeros(len(lengths), frames, 128), torch.tensor(lengths), rows, rows)
    counted = [
        [sum(column * 16 <= frame < (column + 1) * 16 for frame in range(length)) for column in range(batch.columns)]
        for length in lengths
    ]
    assert batch.column_frames.tolist() == counted
    assert batch.padded == any(0 in row for row in counted)
    assert batch.inside.squeeze(-1).sum(dim=1).tolist() == lengths


def test_lengths_stay_on_the_cpu() -> None:
    batch = random_batch([64, 40], 4)._replace(features={"levels": torch.randn(2, 3)})
    there = batch.to(torch.device("meta"))
    moved = (there.log_mel, there.first_column, there.sound, there.features["levels"])
    assert all(tensor.device.type == "meta" for tensor in moved)
    assert there.frame_lengths is batch.frame_lengths
    assert there.padded == batch.padded


@given(st.integers(1, 6), st.integers(1, 3), st.data())
def test_numbers_of_a_share_are_those_of_the_whole_batch(total: int, each: int, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, total - 1), min_size=1, unique=True))
    for sample in (torch.rand, torch.randn):
        whole = draw((total * each, 5), torch.Generator().manual_seed(1), None, sample)
        shape, share = (len(rows) * each, 5), Share(torch.tensor(rows), total)
        part = draw(shape, torch.Generator().manual_seed(1), share, sample)
        assert torch.equal(part, whole.view(total, each, 5)[rows].flatten(0, 1))


@pytest.mark.parametrize("rows", [slice(0, 1), slice(1, 3), slice(0, 4)])
def test_rows(rows: slice) -> None:
    batch = random_batch([64, 40, 30, 64], 4)._replace(waveform=torch.randn(4, 9), features={"a": torch.randn(4, 3)})
    part = batch.rows(rows)
    assert torch.equal(part.waveform, batch.waveform[rows])
    assert torch.equal(part.features["a"], batch.features["a"][rows])
    for name in ("log_mel", "frame_lengths", "first_column", "sound"):
        assert torch.equal(getattr(part, name), getattr(batch, name)[rows])
    assert part.share.rows.tolist() == list(range(4))[rows]
    assert part.rows(slice(0, 1)).share.rows.tolist() == [rows.start]
