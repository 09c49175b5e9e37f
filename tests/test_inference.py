"""Windows, batches and vectors: a clip alone against itself in a batch, and everything against its definition."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from helpers import noise, plan_windows
from hypothesis import given, settings
from hypothesis import strategies as st

from aasp_features import AaSPConfig, AaSPEncoder, VectorError
from aasp_features.config import FRAME_HOP, FRAME_LENGTH
from aasp_features.inference import (
    BATCHES_HELD,
    COLUMNS_HELD,
    ColumnVectors,
    WindowCutter,
    check_finite,
    clip_windows,
    encode_windows,
    equal_length_batches,
    interleave,
    log_mel_windows,
    run_network,
    stack_log_mels,
)
from aasp_features.inputs import read_inputs
from aasp_features.model.pooling import pool_frames
from aasp_features.windows import Window, count_columns

SHAPES = st.tuples(st.integers(1, 64), st.integers(0, 20)).filter(lambda shape: 2 * shape[1] < shape[0])


@pytest.mark.parametrize(("hop", "length"), [(1, 1), (FRAME_HOP, FRAME_LENGTH)])  # frames of log-mel, and samples
@given(frames=st.lists(st.integers(0, 40), max_size=30), shape=SHAPES, first=st.integers(0, 15))
def test_windows_are_those_of_the_plan(
    hop: int, length: int, frames: list[int], shape: tuple[int, int], first: int
) -> None:
    """A clip in pieces has the windows of the whole, and no more than two windows are ever held."""
    items = np.arange(hop * sum(frames), dtype=np.float32)
    cutter = WindowCutter(*shape, np.concatenate, hop=hop, length=length, first_frame=first)
    cut = []
    for piece in np.split(items, hop * np.cumsum(frames)[:-1]):
        cut += cutter.push(piece)
        assert len(cutter._held) <= hop * (2 * 16 * shape[0] + 40)
    cut += cutter.finish()
    own = items[hop * first :]
    count = 0 if len(own) == 0 else 1 + (max(len(own), length) - length) // hop
    assert cutter.frames == count
    assert [replace(window, items=None) for window in cut] == (
        plan_windows(count_columns(count), *shape) if count else []
    )
    for window in cut:
        begin, end = hop * 16 * window.start, hop * 16 * window.stop - hop + length
        np.testing.assert_array_equal(window.items, own[begin:end])


@given(st.integers(1, 500), SHAPES)
def test_every_column_is_emitted_once_in_order(columns: int, shape: tuple[int, int]) -> None:
    plan = plan_windows(columns, *shape)
    assert [column for one in plan for column in range(one.emit_start, one.emit_stop)] == list(range(columns))
    for one in plan:
        assert 0 <= one.start <= one.emit_start < one.emit_stop <= one.stop <= columns
        assert one.stop - one.start == min(shape[0], columns)


def empty_window(columns: int) -> Window[np.ndarray]:
    return Window(np.empty(0, np.float32), 0, columns, 0, columns)


@settings(deadline=None, max_examples=30)
@given(
    samples=st.integers(400, 60_000),
    cuts=st.lists(st.floats(0, 1), max_size=6),
    offsets=st.sampled_from([(0,), (0, 8), (0, 4, 8, 12)]),
)
def test_windows_are_cut_from_the_whole(
    small_encoder: AaSPEncoder, samples: int, cuts: list[float], offsets: tuple[int, ...]
) -> None:
    sound, options = noise(samples), small_encoder.options(window=10, context=2)
    blocks = np.split(sound, sorted(int(cut * samples) for cut in cuts))
    whole = small_encoder.log_mel(torch.from_numpy(sound))
    windows = list(log_mel_windows(blocks, small_encoder.log_mel, options, offsets))
    for offset in offsets:
        own = [window for first, window in windows if first == offset]
        left = whole[offset:]
        planned = plan_windows(count_columns(len(left)), 10, 2) if len(left) else []
        assert [replace(window, items=None) for window in own] == planned
        for window in own:
            expected = left[16 * window.start : 16 * window.stop]
            torch.testing.assert_close(window.items, expected, atol=1e-5, rtol=1e-5)


@settings(deadline=None, max_examples=100)
@given(
    lengths=st.lists(st.integers(1, 64) | st.sampled_from([1, 64]), max_size=400),
    capacity=st.integers(1, 300),
)
def test_batches_are_equal_long_and_bounded(lengths: list[int], capacity: int) -> None:
    given, batched = 0, 0

    def windows() -> Iterator[tuple[int, Window[np.ndarray]]]:
        nonlocal given
        for index, columns in enumerate(lengths):
            assert given - batched <= max(COLUMNS_HELD, BATCHES_HELD * capacity)
            given += columns
            yield index, empty_window(columns)

    seen = []
    for batch in equal_length_batches(windows(), capacity):
        assert len({one.columns for _, one in batch}) == 1
        assert len(batch) == 1 or len(batch) * batch[0][1].columns <= capacity
        assert [index for index, _ in batch] == sorted(index for index, _ in batch)
        batched += sum(one.columns for _, one in batch)
        seen += [(index, one.columns) for index, one in batch]
    assert sorted(seen) == list(enumerate(lengths))


def test_a_batch_is_as_large_as_it_may_be() -> None:
    batches = equal_length_batches(((index, empty_window(7)) for index in range(80)), 256)
    assert [len(batch) for batch in batches] == [36, 36, 8]


def test_what_waits_is_bounded() -> None:
    """Windows of many lengths fill no batch; from 8,192 columns on, the group with the most columns goes first."""
    given = []

    def windows() -> Iterator[tuple[int, Window[np.ndarray]]]:
        for index in range(1000):
            given.append(1 + index % 60)
            yield index, empty_window(given[-1])

    first = next(equal_length_batches(windows(), 10_000_000 // BATCHES_HELD), None)
    assert first is not None  # all of them wait, as so many columns may
    given.clear()
    first = next(equal_length_batches(windows(), 64 * 40))
    assert sum(given) - given[-1] < BATCHES_HELD * 64 * 40 <= sum(given)
    assert first[0][1].columns * len(first) == max(columns * given.count(columns) for columns in set(given))


def test_what_each_window_emits(small_encoder: AaSPEncoder) -> None:
    """Windows of three columns; the second ends inside its last, and emits its last two."""
    plans = [(0, 3, 0, 2), (2, 5, 3, 5)]
    log_mels = [torch.randn(48, 128, generator=torch.Generator().manual_seed(0)) for _ in plans]
    log_mels[1] = log_mels[1][:37]
    run = partial(run_network, small_encoder.network, small_encoder.options(pooling="mean"))
    windows = [(key, Window(log_mel, *plan)) for key, log_mel, plan in zip("ab", log_mels, plans, strict=True)]
    found = dict(encode_windows(windows, run, 100))
    assert [found[key].frames.tolist() for key in "ab"] == [[16, 16], [16, 5]]
    for key, log_mel, emitted in zip("ab", log_mels, (slice(0, 2), slice(1, 3)), strict=True):
        features = small_encoder.network(log_mel[None])
        np.testing.assert_allclose(found[key].vectors, pool_frames(features, "mean")[0, emitted], atol=1e-5)
        np.testing.assert_allclose(found[key].cls, features.cls[0], atol=1e-5)


def test_stacked_log_mels_end_in_zeros() -> None:
    stacked = stack_log_mels([torch.ones(3, 2), torch.ones(5, 2)], 6)
    assert stacked.sum(dim=(1, 2)).tolist() == [6, 10]
    assert stacked[0, 3:].abs().max() == 0


def test_all_windows_of_clips(small_encoder: AaSPEncoder) -> None:
    """Each clip has the windows that it has alone, under its index and offset."""
    sounds = [noise(300_000), noise(900), noise(50_000)]
    options = small_encoder.options(window=20, context=4)
    windows = clip_windows(read_inputs(sounds).clips, small_encoder.log_mel, options, (0, 8))
    found: dict[tuple[int, int], list[np.ndarray]] = {}
    for key, columns in encode_windows(windows, partial(run_network, small_encoder.network, options), 200):
        found.setdefault(key, []).append(columns.vectors)
    assert set(found) == {(0, 0), (0, 8), (1, 0), (2, 0), (2, 8)}  # clip 1 has 4 frames
    for (index, offset), vectors in found.items():
        alone = small_encoder.embed_frames(sounds[index][160 * offset :], window=20, context=4)
        np.testing.assert_allclose(np.concatenate(vectors), alone.embeddings, atol=1e-5)


@given(passes=st.sampled_from([1, 2, 4, 16]), vectors=st.integers(0, 50))
def test_interleaved_passes_are_in_order_of_time(passes: int, vectors: int) -> None:
    """Vector n is of pass n mod k; at the end some passes lack one."""
    times = np.arange(vectors, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(interleave([times[first::passes] for first in range(passes)]).ravel(), times.ravel())


@pytest.mark.parametrize("field", ["vectors", "cls"])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_an_error(field: str, number: float) -> None:
    columns = ColumnVectors(np.ones((2, 3), np.float32), np.array([16, 4]), np.ones(3, np.float32))
    assert check_finite(columns, "clip 7") is columns
    getattr(columns, field)[..., 1] = number
    with pytest.raises(VectorError, match="clip 7: the network answers with NaN or infinite numbers"):
        check_finite(columns, "clip 7")


def test_a_network_that_overflows_is_an_error_that_names_the_clip() -> None:
    """All weights are finite; what they give of sound is not."""
    encoder = AaSPEncoder(AaSPConfig.tiny(depth=1))
    with torch.no_grad():
        for weight in encoder.network.blocks.parameters():
            weight.fill_(1e30)
    sounds = [noise(9000), noise(200_000)]
    for call in (encoder.embed, encoder.embed_frames, encoder.encode):
        with pytest.raises(VectorError, match=r"clip [01]: the network answers with NaN"):
            call(sounds)
    stream = encoder.stream()
    with pytest.raises(VectorError, match="the stream: the network answers"):
        stream.push(noise(200_000))
