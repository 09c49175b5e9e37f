"""The input grammar, form by form, against soundfile and the scaling formulas."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aasp_features import InputError, OptionError, load_audio
from aasp_features.inputs import read_inputs, scale_to_float

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
    if count:
        np.testing.assert_allclose(samples_of(inputs)[0], SOUND, atol=1e-7)


def test_paths_equal_load_audio(sounds: Path) -> None:
    path = sounds / "nature" / "bird_chirps.flac"
    for inputs in (path, str(path), [path]):
        np.testing.assert_array_equal(samples_of(inputs)[0], load_audio(path))


def test_tensors_are_remembered() -> None:
    assert read_inputs(torch.zeros(10)).as_tensor
    assert read_inputs([torch.zeros(10), SOUND]).device == torch.device("cpu")
    assert not read_inputs(SOUND).as_tensor


@given(st.sampled_from([np.int8, np.int16, np.int32]), st.data())
def test_integers_are_scaled_by_their_range(dtype: type, data: st.DataObject) -> None:
    limits = np.iinfo(dtype)
    values = data.draw(st.lists(st.integers(limits.min, limits.max), min_size=1, max_size=20))
    expected = np.array(values, np.float64) / -float(limits.min)
    np.testing.assert_allclose(scale_to_float(np.array(values, dtype)), expected, rtol=1e-6, atol=1e-9)


def test_other_dtypes() -> None:
    np.testing.assert_allclose(scale_to_float(np.array([0, 128, 255], np.uint8)), [-1, 0, 127 / 128])
    np.testing.assert_allclose(scale_to_float(np.array([2**30, -(2**31)])), [0.5, -1])
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
        (np.array([2**40]), {}, "int64"),
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
    ],
)
def test_wrong_inputs(inputs: object, options: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        samples_of(inputs, **options)


@pytest.mark.parametrize("rate", [0, -1, True, 1.5, np.nan, "16000"])
def test_rates_that_are_none(rate: object) -> None:
    for inputs, options in [(SOUND, {"sample_rate": rate}), ((SOUND, rate), {})]:
        with pytest.raises(OptionError, match=f"a positive whole number of Hz, got {rate!r}"):
            read_inputs(inputs, **options)


def test_a_wrong_rate_in_a_list_names_its_clip() -> None:
    clip = np.zeros(1600, np.float32)
    for rate in (0, -1, 1.5, "x", float("nan")):
        with pytest.raises(OptionError, match=r"^clip 1: a sample rate is a positive whole number of Hz"):
            read_inputs([(clip, 16000), (clip, rate)], None, None, 16000)
