"""The input grammar, form by form, against soundfile and the scaling formulas."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import soxr
import torch
from helpers import noise
from hypothesis import given
from hypothesis import strategies as st

from aasp_features import InputError, OptionError, load_audio
from aasp_features.inputs import peak_of, read_inputs, scale_to_float

SOUND = np.random.default_rng(0).normal(size=5000).astype(np.float32) * 0.1


def samples_of(inputs: object, **options: object) -> list[np.ndarray]:
    read = read_inputs(inputs, model_rate=16000, **{"sample_rate": None, "channel_axis": None, **options})
    return [np.concatenate(list(clip.blocks())) for clip in read.clips]


@pytest.mark.parametrize(
    ("inputs", "count", "single"),
    [
        (SOUND, 1, True),
        (torch.from_numpy(SOUND), 1, True),
        ((SOUND, 16000), 1, True),
        ({"array": SOUND, "sampling_rate": 16000}, 1, True),
        (SOUND.tolist(), 1, True),
        ([SOUND, SOUND[:7]], 2, False),
        ([SOUND], 1, False),
        (np.stack([SOUND, SOUND]), 2, False),
        (torch.from_numpy(np.stack([SOUND, SOUND, SOUND])), 3, False),
        ([(SOUND, 16000), {"array": SOUND, "sampling_rate": 16000}, SOUND], 3, False),
        ([], 0, False),
    ],
)
def test_forms(inputs: object, count: int, single: bool) -> None:
    read = read_inputs(inputs)
    assert (len(read.clips), read.single) == (count, single)
    assert read.device == (torch.device("cpu") if read.as_tensor else None)
    assert read.as_tensor == isinstance(inputs, torch.Tensor)
    if count:
        np.testing.assert_allclose(samples_of(inputs)[0], SOUND, atol=1e-7)


def test_paths_equal_load_audio(sounds: Path) -> None:
    path = sounds / "nature" / "bird_chirps.flac"
    for inputs in (path, str(path), [path]):
        np.testing.assert_array_equal(samples_of(inputs)[0], load_audio(path))


@given(st.sampled_from([np.int8, np.int16, np.int32]), st.data())
def test_integers_are_scaled_by_their_range(dtype: type, data: st.DataObject) -> None:
    limits = np.iinfo(dtype)
    values = data.draw(st.lists(st.integers(limits.min, limits.max), min_size=1, max_size=20))
    expected = np.array(values, np.float64) / -float(limits.min)
    np.testing.assert_allclose(scale_to_float(np.array(values, dtype)), expected, rtol=1e-6, atol=1e-9)


def test_other_dtypes() -> None:
    np.testing.assert_allclose(scale_to_float(np.array([0, 128, 255], np.uint8)), [-1, 0, 127 / 128])
    np.testing.assert_allclose(scale_to_float(np.array([2**30, -(2**31)], np.int32)), [0.5, -1])
    np.testing.assert_allclose(samples_of(torch.tensor([0.5, -0.25]).bfloat16())[0], [0.5, -0.25])
    np.testing.assert_allclose(samples_of(np.array([0.5, -0.25], np.float16))[0], [0.5, -0.25])


def test_channels_only_by_name() -> None:
    stereo = np.stack([SOUND, -SOUND / 2])
    np.testing.assert_allclose(samples_of(stereo, channel_axis=0)[0], SOUND / 4, atol=1e-7)
    np.testing.assert_allclose(samples_of(stereo.T, channel_axis=1)[0], SOUND / 4, atol=1e-7)
    np.testing.assert_allclose(samples_of(stereo.T, channel_axis=-1)[0], SOUND / 4, atol=1e-7)
    batch = np.stack([stereo, stereo, stereo])
    assert len(samples_of(batch, channel_axis=1)) == 3
    np.testing.assert_allclose(samples_of(batch, channel_axis=1)[2], SOUND / 4, atol=1e-7)


def test_arrays_and_files_are_resampled_alike(sounds: Path) -> None:
    import soundfile

    path = sounds / "music" / "drum_hits.flac"
    array, rate = soundfile.read(path, dtype="float32")
    for inputs, options in [((array, rate), {}), (array, {"sample_rate": rate}), ([array], {"sample_rate": rate})]:
        np.testing.assert_array_equal(samples_of(inputs, **options)[0], load_audio(path))


@pytest.mark.parametrize(
    ("inputs", "options", "sentence"),
    [
        (np.empty(0, np.float32), {}, "no samples"),
        (np.empty((2, 0), np.float32), {}, "no samples"),
        (np.float32(1.0), {}, "got float32; accepted are"),
        (np.zeros(()), {}, r"shape \(\) is not 1-D"),
        (np.zeros((2, 3, 4)), {}, r"shape \(2, 3, 4\) is not 1-D"),
        (np.array([0.0, np.nan]), {}, "NaN"),
        (np.array([0.0, np.inf]), {}, "infinite"),
        (np.array([0.0, 1e300]), {}, "beyond float32"),
        (np.zeros(5, bool), {}, "samples of bool"),
        (np.zeros(5, complex), {}, "samples of complex128"),
        (np.zeros(5, np.uint16), {}, "samples of uint16"),
        (np.array([2**40]), {}, "no full scale; give np.asarray"),
        (np.array([1, 2]), {}, "the input: whole numbers of no stated range have no full scale"),
        (torch.tensor([1, 2]), {}, "no full scale"),
        ([1, -2, 3], {}, r"no full scale; give np.asarray\(samples, np.int16\) .* or divide them"),
        (([1, -2, 3], 8000), {}, "the input: whole numbers"),
        ([SOUND, {"array": [1, 2], "sampling_rate": 8000}], {}, "clip 1: whole numbers"),
        (np.zeros((2, 5), np.int16), {}, "ambiguous"),
        (np.zeros((16000, 2)), {}, "16000 samples of 2 channels: give channel_axis=1"),
        ((SOUND, 8000), {"sample_rate": 16000}, "says 8000 Hz"),
        ((SOUND, SOUND), {}, "use a list for several"),
        ((SOUND, 1, 2), {}, "a tuple of 3"),
        ({"array": SOUND}, {}, "'array' and 'sampling_rate'"),
        (None, {}, "got NoneType"),
        ([SOUND, None], {}, "clip 1: got NoneType"),
        (SOUND, {"channel_axis": 0}, "not 2-D"),
        (np.zeros((2, 9)), {"channel_axis": 5}, "channel_axis must be"),
        (np.zeros((2, 3, 9)), {"channel_axis": 0}, "channel_axis of a 3-D batch must be 1 or 2, got 0"),
    ],
)
def test_wrong_inputs(inputs: object, options: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        samples_of(inputs, **options)


WRONG_RATES = dict.fromkeys([0, -1, True, 1.5, np.nan, "16000"], "a sample rate is a positive whole number of Hz, got")
WRONG_RATES |= dict.fromkeys([7, 99, 10_000_001, 2**40, 10**30], "a sample rate is 100 to 10000000 Hz, got")


@pytest.mark.parametrize("rate", WRONG_RATES)
def test_rates_that_are_none(rate: object) -> None:
    with pytest.raises(OptionError, match=f"^{WRONG_RATES[rate]}"):
        read_inputs(SOUND, rate)
    for item in ((SOUND, rate), {"array": SOUND, "sampling_rate": rate}):
        with pytest.raises(OptionError, match=f"^clip 1: {WRONG_RATES[rate]}"):
            read_inputs([SOUND, item])


@pytest.mark.parametrize("rate", [100, 8000, 16000, 44100, 10_000_000])
def test_blocks_are_bounded_at_any_rate(rate: int) -> None:
    """And are together what soxr gives of the whole."""
    sound = noise(700_000)
    (clip,) = read_inputs((sound, rate)).clips
    blocks = list(clip.blocks()) if rate > 100 else [block for block, _ in zip(clip.blocks(), range(9), strict=False)]
    assert max(map(len, blocks)) <= 30 * 16000
    if rate > 100:
        expected = soxr.resample(sound, rate, 16000, quality="HQ")
        np.testing.assert_array_equal(np.concatenate(blocks), expected)


@pytest.mark.parametrize(
    ("inputs", "warned"),
    [
        ((SOUND * 32768).round(), "the input: floats up to 1.* where full scale is 1;"),
        (torch.from_numpy((SOUND * 32768).round()), "the input: floats up to"),
        ([SOUND, SOUND * 300, SOUND * 32768], r"clip 1: floats up to .* \(and 1 more like it\); if these are integers"),
        (np.stack([SOUND * 300, SOUND]), "row 0: floats up to"),
        ((SOUND * 20).tolist(), None),
        ((SOUND * 32768).astype(np.int16), None),
    ],
)
def test_floats_far_beyond_full_scale_warn_once(inputs: object, warned: str | None) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        given = samples_of(inputs)
    assert len(caught) == (warned is not None)
    if warned:
        assert re.match(warned, str(caught[0].message))
        loudest = max(given, key=lambda samples: np.abs(samples).max())
        assert np.abs(loudest).max() > 8  # taken as they are


@given(st.lists(st.floats(width=32), min_size=1))
def test_the_peak(values: list[float]) -> None:
    peak, expected = peak_of(np.array(values, np.float32)), np.abs(np.array(values, np.float32)).max()
    assert peak == expected or not (np.isfinite(peak) or np.isfinite(expected))
