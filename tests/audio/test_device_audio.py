"""What is done to a waveform on a GPU, tried on the CPU's tensors; ``test_gpu.py`` tries it there."""

import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
import soxr
import torch
from helpers import noise

from aasp_features.audio import device_audio
from aasp_features.audio.device_audio import share_lost, to_rate
from aasp_features.inputs import scale_to_float


@pytest.fixture(scope="module")
def torchaudio() -> Iterator[None]:
    """Its Python code without its compiled part, which does not load beside a CPU torch; resampling needs none."""
    spec = importlib.util.find_spec("torchaudio")
    if spec is None:
        pytest.skip("torchaudio is not installed")
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "torchaudio"}
    package = ModuleType("torchaudio")
    package.__path__ = list(spec.submodule_search_locations)
    package.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None, is_package=True)
    extension = ModuleType("torchaudio._extension")
    extension.fail_if_no_align, extension._IS_TORCHAUDIO_EXT_AVAILABLE = (lambda function: function), False
    sys.modules.update({"torchaudio": package, "torchaudio._extension": extension})
    device_audio.resampler.cache_clear()
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        del sys.modules[name]
    sys.modules.update(before)
    device_audio.resampler.cache_clear()


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_resampling_agrees_with_soxr_below_the_edge(torchaudio: None, rate: int) -> None:
    """Noise up to 3 kHz, which both keep, away from the ends, which they pad differently."""
    spectrum = np.fft.rfft(noise(2 * rate))
    spectrum[np.fft.rfftfreq(2 * rate, 1 / rate) > 3000] = 0
    sound = np.fft.irfft(spectrum, 2 * rate).astype(np.float32)
    ours = to_rate(torch.from_numpy(sound), rate, 16000).numpy()
    expected = soxr.resample(sound, rate, 16000, quality="HQ")
    assert len(ours) == len(expected) == 32000
    assert np.abs(ours - expected)[500:-500].max() < 1e-3 * np.abs(sound).max()


@pytest.mark.parametrize("tone", [8500, 9000, 12000, 15000, 20000])
def test_tones_beyond_the_edge_vanish(torchaudio: None, tone: int) -> None:
    sound = torch.sin(2 * torch.pi * tone * torch.arange(44100, dtype=torch.float64) / 44100).float()
    left = to_rate(sound, 44100, 16000)[1000:-1000]
    assert 20 * left.square().mean().sqrt().log10() < -100


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.int16, np.int32])
def test_scale_and_channels_are_the_cpus(dtype: type) -> None:
    rng = np.random.default_rng(0)
    array = rng.normal(size=(2, 400)) * 0.3
    array = (array * (np.iinfo(dtype).max if np.dtype(dtype).kind == "i" else 1)).astype(dtype)
    expected = scale_to_float(array)
    np.testing.assert_allclose(to_rate(torch.from_numpy(array[0]), 16000, 16000), expected[0], atol=1e-7)
    np.testing.assert_allclose(to_rate(torch.from_numpy(array), 16000, 16000, 0), expected.mean(axis=0), atol=1e-7)


def test_without_torchaudio_the_cpu_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: str) -> ModuleType:
        raise OSError("libcudart.so: cannot open shared object file")

    device_audio.resampler.cache_clear()
    monkeypatch.setattr(importlib, "import_module", fails)
    assert device_audio.resampler() is None
    there = torch.empty(10, device="meta")
    assert device_audio.stays_on_device(there, 16000, 16000)
    assert not device_audio.stays_on_device(there, 44100, 16000)
    assert not device_audio.stays_on_device(torch.empty(10), 16000, 16000)
    assert not device_audio.stays_on_device(there.to(torch.int64), 16000, 16000)
    device_audio.resampler.cache_clear()


def test_odd_rates_take_the_cpus_path(torchaudio: None) -> None:
    """The resampler's kernel has 16,000 / gcd(rate, 16,000) phases; of 44,101 Hz it would take gigabytes."""
    there = torch.empty(10, device="meta")
    for rate, stays in [(44100, True), (48000, True), (22050, True), (44056, True), (44101, False), (15999, False)]:
        assert device_audio.stays_on_device(there, rate, 16000) == stays


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_the_share_that_is_lost_is_that_of_the_tones(torchaudio: None, offset: float) -> None:
    time_axis = torch.arange(48_000, dtype=torch.float64) / 48_000
    low, high = (0.01 * torch.sin(2 * torch.pi * hertz * time_axis) for hertz in (1000, 12_000))
    for sound, share in ((high, 1.0), (low, 0.0), (low + 2 * high, 0.8), (0 * low, 0.0)):
        given = (sound + offset).float()
        assert share_lost(given, to_rate(given, 48_000, 16_000)) == pytest.approx(share, abs=0.01)
    assert share_lost(given[:300], to_rate(given[:300], 48_000, 16_000)) == 0.0
