"""A live signal in blocks equals the whole recording, and frames come in time."""

import warnings

import numpy as np
import pytest
import torch
from helpers import noise
from hypothesis import given, settings
from hypothesis import strategies as st

from aasp_features import AaSPEncoder
from aasp_features.errors import OptionError
from aasp_features.inputs import InputError


@settings(deadline=None, max_examples=25)
@given(
    rate=st.sampled_from([8000, 16000, 22050, 44100]),
    seconds=st.floats(0.0001, 14),
    latency=st.sampled_from([None, 0.51, 1.0, 3.0]),
    cuts=st.lists(st.floats(0, 1), max_size=20),
)
def test_stream_equals_offline(
    small_encoder: AaSPEncoder, rate: int, seconds: float, latency: float | None, cuts: list[float]
) -> None:
    sound = noise(max(1, int(seconds * rate)))
    stream = small_encoder.stream(rate, latency=latency)
    blocks = np.split(sound, sorted(int(cut * len(sound)) for cut in cuts))
    pieces = [*map(stream.push, blocks), stream.finish()]
    whole = small_encoder.embed_frames(sound, rate, window=stream.window, context=stream.context)
    embeddings = np.concatenate([piece.embeddings for piece in pieces])
    np.testing.assert_array_equal(np.concatenate([piece.times for piece in pieces]), whole.times)
    assert (np.abs(embeddings - whole.embeddings) / np.maximum(1, np.abs(whole.embeddings))).max() <= 1e-5


@pytest.mark.parametrize("latency", [0.51, 1.3, 4.0])
def test_no_frame_is_later_than_the_latency(small_encoder: AaSPEncoder, latency: float) -> None:
    stream = small_encoder.stream(16000, latency=latency)
    for block in np.split(noise(16000 * 12), 1200):  # 10 ms each
        frames = stream.push(block)
        if len(frames.times):
            began = frames.times[0] - 0.0875  # a whole column's centre lies 87.5 ms after its begin
            assert stream.seconds - began <= latency + 0.01


def test_forms_of_blocks(small_encoder: AaSPEncoder) -> None:
    sound = (noise(16000) * 32768).astype(np.int16)
    results = []
    for block in (sound, torch.from_numpy(sound), sound.astype(np.float64) / 32768):
        stream = small_encoder.stream()
        assert len(stream.push(block).times) == 0
        results.append(stream.finish().embeddings)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_allclose(results[0], results[2], atol=1e-6)


def test_blocks_of_one_column(small_encoder: AaSPEncoder) -> None:
    flat, column, sound = small_encoder.stream(), small_encoder.stream(), noise(20_000)
    for start in range(0, len(sound), 1024):  # as a sound card gives them
        flat.push(sound[start : start + 1024])
        column.push(torch.from_numpy(sound[start : start + 1024, None]))
    np.testing.assert_array_equal(column.finish().embeddings, flat.finish().embeddings)


def test_sentences(small_encoder: AaSPEncoder) -> None:
    with pytest.raises(OptionError, match=r"latency must be at least 0.505 seconds, got 0.3"):
        small_encoder.stream(latency=0.3)
    with pytest.raises(OptionError, match="positive whole number of Hz, got 0"):
        small_encoder.stream(0)
    for rate in (99, 10**8):
        with pytest.raises(OptionError, match=f"a sample rate is 100 to 10000000 Hz, got {rate}"):
            small_encoder.stream(rate)
    stream = small_encoder.stream()
    with pytest.raises(InputError, match="no sample was pushed"):
        stream.finish()
    with pytest.raises(InputError, match=r"mono samples, 1-D or \(samples, 1\), got shape .2, 100."):
        stream.push(np.zeros((2, 100)))
    with pytest.raises(InputError, match="NaN"):
        stream.push(np.array([np.nan]))
    for block in ([1, 2, 3], np.array([1, 2, 3]), torch.tensor([1, 2, 3])):
        with pytest.raises(InputError, match="the block: whole numbers of no stated range have no full scale"):
            stream.push(block)
    stream.push(noise(800))
    assert len(stream.finish().times) == 1
    with pytest.raises(InputError, match="finished"):
        stream.push(noise(10))


def test_floats_far_beyond_full_scale_warn_once(small_encoder: AaSPEncoder) -> None:
    sound = noise(16000)
    stream, loud = small_encoder.stream(), small_encoder.stream()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream.push(sound * 20)
    with pytest.warns(UserWarning, match="the stream: floats up to .* where full scale is 1; if these are integers"):
        loud.push(sound * 32768)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loud.push(sound * 32768)
    expected = small_encoder.embed_frames(np.tile(sound * np.float32(32768), 2))
    np.testing.assert_allclose(loud.finish().embeddings, expected.embeddings, rtol=1e-4, atol=1e-5)


def test_one_long_block_at_a_low_rate(small_encoder: AaSPEncoder) -> None:
    """A sample becomes 160; the block is taken in pieces, and is what it is at once."""
    sound = noise(5000)
    stream = small_encoder.stream(100)
    pieces = [stream.push(sound), stream.finish()]
    whole = small_encoder.embed_frames(sound, 100)
    np.testing.assert_allclose(np.concatenate([one.embeddings for one in pieces]), whole.embeddings, atol=1e-4)
