"""Resampling against soxr on the whole; the energy that is gone, by the tones that went in; and who is warned of it.

What is done to a waveform on a GPU is tried on the CPU's tensors; ``test_gpu.py`` tries it there.
"""

import importlib
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import soxr
import torch
from helpers import noise, run_command
from hypothesis import given, settings
from hypothesis import strategies as st

from aasp_features import AaSPEncoder
from aasp_features.audio import resampling
from aasp_features.audio.resampling import Resampler, resample_blocks, resample_on_device, stays_on_device
from aasp_features.cli import app
from aasp_features.folder import find_sounds
from aasp_features.folder.run import embed_sounds
from aasp_features.inputs import scale_to_float

HEARD = "above 8 kHz, where the model hears nothing"


def tone(hertz: float, rate: int, seconds: float = 1.0, level: float = 0.1) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def resampled(sound: np.ndarray, rate: int, cuts: list[int] | None = None) -> tuple[np.ndarray, float]:
    resampler = Resampler(rate, 16000)
    blocks = [np.empty(0, np.float32), *resample_blocks(np.split(sound, sorted(cuts or [])), resampler)]
    return np.concatenate(blocks), resampler.unheard


def test_tone_table(capsys: pytest.CaptureFixture) -> None:
    """Levels after 44.1 -> 16 kHz: passed at 7 kHz, gone above 8 kHz. A plain FFT measures them."""
    levels = {}
    for frequency in (7000, 7800, 8500, 10000):
        out = resampled(tone(frequency, 44100, 2.0, level=1.0), 44100)[0][4000:28000]
        size = np.abs(np.fft.rfft(out * np.hanning(len(out)))) / (len(out) / 4)
        levels[frequency] = 20 * np.log10(max(size.max(), 1e-12))
    with capsys.disabled():
        print("\n| tone | level after 44.1 -> 16 kHz |\n|---|---|")
        for frequency, level in levels.items():
            print(f"| {frequency / 1000:.1f} kHz | {level:.1f} dB |")
    assert abs(levels[7000]) < 0.1
    assert max(levels[8500], levels[10000]) < -100


@settings(deadline=None, max_examples=50)
@given(
    rate=st.sampled_from([22050, 44100, 48000, 96000]),
    levels=st.tuples(st.sampled_from([0.001, 0.01, 0.1]), st.sampled_from([0.001, 0.01, 0.1])),
    offset=st.sampled_from([0.0, 0.5, -0.9]),
    cuts=st.lists(st.integers(0, 22050), max_size=6),
)
def test_blocks_are_the_whole_and_the_share_that_of_the_tones(
    rate: int, levels: tuple[float, float], offset: float, cuts: list[int]
) -> None:
    """Beside a constant offset a thousand times as large."""
    low, high = levels
    sound = tone(1000, rate, level=low) + tone(10_000, rate, level=high) + np.float32(offset)
    out, unheard = resampled(sound, rate, cuts)
    np.testing.assert_array_equal(out, soxr.resample(sound, rate, 16000, quality="HQ"))
    assert unheard == pytest.approx(high**2 / (low**2 + high**2), abs=0.01)


@pytest.mark.filterwarnings("ignore:.*in reduce")
def test_silence_offsets_and_low_rates_have_no_share() -> None:
    dither = np.random.default_rng(0).integers(-1, 2, 96_000) / 32768
    for sound in (np.zeros(96_000), np.full(96_000, 0.7), dither, np.zeros(0), np.ones(1), np.ones(300)):
        assert resampled(sound.astype(np.float32), 96_000)[1] == 0.0
    assert resampled(tone(7900, 16000), 16000)[1] == resampled(tone(3900, 8000), 8000)[1] == 0.0
    assert resampled(np.float32(3e38) * noise(96_000), 96_000)[1] == 0.0  # its squares are infinite


@pytest.mark.parametrize("call", ["embed", "embed_frames", "encode"])
@pytest.mark.filterwarnings("ignore:this encoder's weights are random")
def test_one_warning_for_each_call(small_encoder: AaSPEncoder, tmp_path: Path, call: str) -> None:
    high, low = tone(12_000, 48_000), str(tmp_path / "low.wav")
    soundfile.write(tmp_path / "high.wav", np.stack([high, high], axis=1), 48_000)
    opposite = np.stack([high, -high], axis=1) + tone(700, 48_000)[:, None]  # what is mixed down is what counts
    soundfile.write(low, opposite, 48_000)
    as_dict = {"array": torch.from_numpy(high), "sampling_rate": 48_000}
    sounds = [str(tmp_path / "high.wav"), (high, 48_000), as_dict, low, (np.int16(high * 32767), 48_000)]
    with pytest.warns(UserWarning, match=HEARD) as seen:
        getattr(small_encoder, call)(sounds)
    (told,) = [str(one.message) for one in seen if HEARD in str(one.message)]
    assert told == f"4 sounds ({sounds[0]}, clip 1, clip 2, …): most of their energy lies {HEARD}."
    with pytest.warns(UserWarning, match=rf"^the input: 100 % of its energy lies {HEARD}\.$"):
        getattr(small_encoder, call)(sounds[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(small_encoder, call)(low)


@pytest.mark.parametrize("seconds", [1.0, 12.0])
def test_a_stream_warns_once(small_encoder: AaSPEncoder, seconds: float) -> None:
    """After ten seconds if it is longer, as it may never be finished."""
    stream, told = small_encoder.stream(48_000), []
    for block in [*np.split(tone(12_000, 48_000, seconds), 12), None]:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            stream.finish() if block is None else stream.push(block)
        told.append(sum(HEARD in str(one.message) for one in seen))
    assert np.flatnonzero(told).tolist() == [9 if seconds > 10 else 12]


def test_a_run_ends_with_one_line(small_encoder: AaSPEncoder, tmp_path: Path) -> None:
    for name in "abcde":
        soundfile.write(tmp_path / f"{name}.wav", tone(300 if name == "b" else 15_000, 44_100), 44_100)
    names = ", ".join(str(tmp_path / f"{name}.wav") for name in "acd")
    with pytest.warns(UserWarning, match=HEARD) as seen:
        embed_sounds(small_encoder, find_sounds(tmp_path), tmp_path / "emb.npy")
    assert [str(one.message) for one in seen] == [f"4 sounds ({names}, …): most of their energy lies {HEARD}."]
    done = run_command(app, tmp_path / "a.wav", "--out", tmp_path / "one.npy")
    assert done.stderr.count(f"aasp-embed: {tmp_path}/a.wav: 100 % of its energy lies {HEARD}.") == 1


@pytest.fixture(scope="module")
def torchaudio() -> Iterator[None]:
    """Its Python code without its compiled part, which does not load beside a CPU torch; resampling needs none."""
    spec = importlib.util.find_spec("torchaudio")
    if spec is None:
        pytest.skip("torchaudio is not installed")
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "torchaudio"}
    package, extension = ModuleType("torchaudio"), ModuleType("torchaudio._extension")
    package.__path__ = list(spec.submodule_search_locations)
    package.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None, is_package=True)
    extension.fail_if_no_align, extension._IS_TORCHAUDIO_EXT_AVAILABLE = (lambda function: function), False
    sys.modules.update({"torchaudio": package, "torchaudio._extension": extension})
    resampling.gpu_resample.cache_clear()
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        del sys.modules[name]
    sys.modules.update(before)
    resampling.gpu_resample.cache_clear()


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_on_a_device_it_agrees_with_soxr_below_the_edge(torchaudio: None, rate: int) -> None:
    """Noise up to 3 kHz, which both keep, away from the ends, which they pad differently; tones beyond 8 kHz vanish."""
    spectrum = np.fft.rfft(noise(2 * rate))
    spectrum[np.fft.rfftfreq(2 * rate, 1 / rate) > 3000] = 0
    sound = np.fft.irfft(spectrum, 2 * rate).astype(np.float32)
    ours = resample_on_device(torch.from_numpy(sound), rate, 16000)[0].numpy()
    expected = soxr.resample(sound, rate, 16000, quality="HQ")
    assert len(ours) == len(expected) == 32000
    assert np.abs(ours - expected)[500:-500].max() < 1e-3 * np.abs(sound).max()
    for hertz in (8500, 9000, 10_500) if rate > 16000 else ():
        left = resample_on_device(torch.from_numpy(tone(hertz, rate, level=1.0)), rate, 16000)[0][1000:-1000]
        assert 20 * left.square().mean().sqrt().log10() < -100


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_on_a_device_the_share_is_that_of_the_tones(torchaudio: None, offset: float) -> None:
    low, high = tone(1000, 48_000, level=0.01), tone(12_000, 48_000, level=0.01)
    for sound, share in ((high, 1.0), (low, 0.0), (low + 2 * high, 0.8), (0 * low, 0.0), (high[:300], 0.0)):
        assert resample_on_device(torch.from_numpy(sound + offset), 48_000, 16_000)[1] == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.int16, np.int32])
def test_scale_and_channels_are_the_cpus(dtype: type) -> None:
    array = np.clip(np.random.default_rng(0).normal(size=(2, 400)) * 0.3, -1, 1)
    array = (array * (np.iinfo(dtype).max if np.dtype(dtype).kind == "i" else 1)).astype(dtype)
    expected, given = scale_to_float(array), torch.from_numpy(array)
    np.testing.assert_allclose(resample_on_device(given[0], 16000, 16000)[0], expected[0], atol=1e-7)
    np.testing.assert_allclose(resample_on_device(given, 16000, 16000, 0)[0], expected.mean(axis=0), atol=1e-7)


def test_what_stays_on_a_device(torchaudio: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel has 16,000 / gcd(rate, 16,000) phases: of 44,101 Hz, gigabytes. And without torchaudio."""
    there = torch.empty(10, device="meta")
    for rate, stays in [(44100, True), (48000, True), (22050, True), (44056, True), (44101, False), (15999, False)]:
        assert stays_on_device(there, rate, 16000) == stays

    def fails(name: str) -> ModuleType:
        raise OSError("libcudart.so: cannot open shared object file")

    resampling.gpu_resample.cache_clear()
    monkeypatch.setattr(importlib, "import_module", fails)
    assert stays_on_device(there, 16000, 16000)
    assert not stays_on_device(there, 44100, 16000)
    assert not stays_on_device(torch.empty(10), 16000, 16000)
    for kind in (torch.int64, torch.uint8, torch.bool, torch.complex64):
        assert not stays_on_device(there.to(kind), 16000, 16000)
    resampling.gpu_resample.cache_clear()
