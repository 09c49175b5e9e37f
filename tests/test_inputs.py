"""The input grammar, form by form, against soundfile and the scaling formulas."""

import io
import re
import warnings
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas
import pyarrow
import pytest
import soundfile
import soxr
import torch
from helpers import noise
from hypothesis import given
from hypothesis import strategies as st

from aasp_features import AudioError, InputError, OptionError, load_audio
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


def closed_file() -> io.BytesIO:
    file = io.BytesIO(b"RIFF")
    file.close()
    return file


class Pipe(io.RawIOBase):
    """A binary stream that only goes forward, as a network's or a process' does."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._content.read(size)


def test_open_files_and_bytes_equal_their_path(sounds: Path) -> None:
    path = sounds / "nature" / "bird_chirps.flac"
    content, expected = path.read_bytes(), load_audio(path)
    with path.open("rb") as file:
        file.seek(100)
        for held in (content, bytearray(content), memoryview(content), io.BytesIO(content), Pipe(content), file):
            inputs = [held, {"bytes": content, "path": None}, {"path": str(path)}, {"bytes": None, "path": path}, held]
            for samples in samples_of(inputs if not isinstance(held, Pipe) else [held]):
                np.testing.assert_array_equal(samples, expected)
        assert not file.closed
    with pytest.raises(AudioError, match=r"^clip 1: an empty file"):
        samples_of([content, b""])
    with pytest.raises(AudioError, match=r"^songs/a\.flac: "):
        samples_of([{"bytes": b"text, and no sound", "path": "songs/a.flac"}])


@pytest.mark.parametrize(
    "column",
    [
        np.array,
        lambda paths: np.array(paths, object),
        pandas.Series,
        lambda paths: pytest.importorskip("polars").Series(list(map(str, paths))),
        lambda paths: pyarrow.array(list(map(str, paths))),
        lambda paths: pyarrow.chunked_array([[str(path)] for path in paths]),
        lambda paths: pyarrow.array([{"bytes": path.read_bytes(), "path": path.name} for path in paths]),
        lambda paths: deque(paths),
    ],
)
def test_columns_of_sounds(sounds: Path, column: Callable[[list[Path]], object]) -> None:
    paths = sorted((sounds / "nature").glob("*.flac"))[:2]
    read = read_inputs(column(paths))
    assert not read.single
    for samples, path in zip(samples_of(column(paths)), paths, strict=True):
        np.testing.assert_array_equal(samples, load_audio(path))


def test_a_column_of_numbers_is_one_sound() -> None:
    for column in (pandas.Series(SOUND), pyarrow.array(SOUND), pyarrow.chunked_array([SOUND])):
        assert read_inputs(column).single
        np.testing.assert_array_equal(samples_of(column)[0], SOUND)
        np.testing.assert_array_equal(samples_of([(column, 16000), column])[1], SOUND)
    np.testing.assert_array_equal(samples_of(pandas.Series([-(2**15), 2**14], dtype=np.int16))[0], [-1, 0.5])


def test_columns_of_data_sets(sounds: Path) -> None:
    datasets = pytest.importorskip("datasets")
    paths = sorted(map(str, (sounds / "voice").glob("*.flac")))[:2]
    held = datasets.Dataset.from_dict({"audio": paths}).cast_column("audio", datasets.Audio(decode=False))
    for samples, path in zip(samples_of(held["audio"]), paths, strict=True):
        np.testing.assert_array_equal(samples, load_audio(path))


def test_decoders_of_torchcodec(tmp_path: Path) -> None:
    try:
        from torchcodec.decoders import AudioDecoder
    except Exception as error:  # it needs FFmpeg's libraries, and a build for this torch
        pytest.skip(f"torchcodec cannot be used here: {error!s:.60}")
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([SOUND, SOUND / 2], 1), 44100, subtype="FLOAT")
    expected = load_audio(path)
    decoder = AudioDecoder(str(path))
    for held in (decoder, decoder.get_all_samples()):
        np.testing.assert_allclose(samples_of([held, held])[1], expected, atol=1e-6)
    assert not read_inputs(decoder).as_tensor
    assert read_inputs(decoder.get_all_samples()).as_tensor


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


def test_two_rows_are_two_clips_and_a_warning() -> None:
    stereo = np.stack([SOUND, SOUND / 2])
    with pytest.warns(UserWarning, match=r"shape \(2, 5000\) is two clips; .* give channel_axis=0"):
        assert len(samples_of(torch.from_numpy(stereo))) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(samples_of(list(stereo))) == 2
        assert len(samples_of(stereo, channel_axis=0)) == 1
        assert len(samples_of(np.stack([SOUND] * 3))) == 3


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
        ({"array": SOUND}, {}, "a dict needs 'array' and 'sampling_rate', or 'bytes', or 'path', got keys .'array'"),
        ({"bytes": None, "path": None}, {}, "a dict needs"),
        (io.StringIO("text"), {}, "a file opened as text; open it as binary"),
        (closed_file(), {}, "the input: a closed file; open it again"),
        (("a.wav", "b.wav"), {}, r"a tuple is \(array, rate\), got a tuple of 2 \(str, str\); use a list for several"),
        (
            "https://example.org/a.wav",
            {},
            "a.wav: sounds are not downloaded; download it, and give",
        ),
        (np.array([["a.wav", "b.wav"]]), {}, r"a table of 2 columns holds no sounds; give one column"),
        (pandas.Series([1, 2]), {}, "whole numbers of no stated range"),
        (pandas.Series(["a.wav", None]), {}, "clip 1: got"),
        ((item for item in [SOUND]), {}, "got generator; accepted are"),
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
        (np.stack([SOUND * 300, SOUND, SOUND]), "row 0: floats up to"),
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
