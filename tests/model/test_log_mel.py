"""The log-mel against torchaudio's Kaldi code and the formulas in numpy."""

import csv
import importlib.machinery
import importlib.util
import io
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import soxr
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aasp_features import AaSPConfig, LogMel, load_audio
from aasp_features.model.log_mel import LogMelStream, mel_filters, to_device
from aasp_features.windows import count_frames

Sounds = dict[str, np.ndarray]


def natural(fft_length: int = 1024) -> LogMel:
    """Not standardised: plain logarithms."""
    return LogMel(AaSPConfig(fft_length=fft_length, mean=0.0, std=1.0))


def in_blocks(blocks: Iterable[np.ndarray], log_mel: LogMel) -> torch.Tensor:
    stream = LogMelStream(log_mel)
    return torch.cat([*map(stream.push, blocks), stream.finish()])


@contextmanager
def without_torchaudio() -> Iterator[None]:
    """An empty torchaudio for the time of an import: beside a CPU torch, the real one's fails."""
    before = sys.modules.get("torchaudio")
    sys.modules["torchaudio"] = ModuleType("torchaudio")
    sys.modules["torchaudio"].__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
    try:
        yield
    finally:
        del sys.modules["torchaudio"]
        if before is not None:
            sys.modules["torchaudio"] = before


@pytest.fixture(scope="module")
def kaldi() -> ModuleType:
    """torchaudio's pure-Python Kaldi features, loaded from their file."""
    spec = importlib.util.find_spec("torchaudio")
    if spec is None:
        pytest.skip("torchaudio is not installed")
    path = Path(spec.submodule_search_locations[0]) / "compliance" / "kaldi.py"
    code = importlib.util.spec_from_file_location("kaldi_features", path)
    module = importlib.util.module_from_spec(code)
    with without_torchaudio():
        code.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made() -> Sounds:
    """Speech-like, musical, noisy, near silent, clipped, and of 8 kHz origin, all synthesised."""
    rng = np.random.default_rng(0)
    time = np.arange(48000) / 16000
    buzz = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 40)) * (1 + np.sin(2 * np.pi * 4 * time)) * 0.1
    chord = sum(np.sin(2 * np.pi * f * time) for f in (220, 277.2, 329.6, 440)) * np.exp(-time) * 0.2
    noise = rng.normal(size=48000) * 0.1
    narrow = np.fft.irfft(np.where(np.arange(24001) < 12000, np.fft.rfft(noise), 0), 48000)
    sounds = {
        "speech-like": buzz + 0.01 * noise,
        "music": chord,
        "effects": noise * np.exp(-5 * (time % 0.5)),
        "near silence": noise * 1e-4,
        "clipped": np.clip(8 * chord, -1, 1),
        "8 kHz origin": narrow,
    }
    return {name: sound.astype(np.float32) for name, sound in sounds.items()}


def assert_parity(sound: np.ndarray, expected: np.ndarray, name: object, fft_length: int = 512) -> None:
    difference = np.abs(natural(fft_length)(torch.from_numpy(sound)).numpy() - expected)
    assert difference.max() <= 1e-2, name
    assert difference.mean() <= 2e-4, name


def kaldi_fbank(kaldi: ModuleType, sound: np.ndarray) -> torch.Tensor:
    options = {"num_mel_bins": 128, "window_type": "hanning", "low_freq": 20.0, "high_freq": 8000.0, "dither": 0.0}
    return kaldi.fbank(torch.from_numpy(sound)[None], sample_frequency=16000, htk_compat=False, **options)


def test_parity_with_kaldi_on_made_sounds(kaldi: ModuleType, made: Sounds) -> None:
    for name, sound in made.items():
        assert_parity(sound, kaldi_fbank(kaldi, sound).numpy(), name)


def versions(sound: np.ndarray) -> Sounds:
    """As it is, near silence, clipped, and with nothing above 4 kHz."""
    narrow = soxr.resample(soxr.resample(sound, 16000, 8000), 8000, 16000)
    return {"as it is": sound, "near silence": sound * 1e-4, "clipped": np.clip(sound * 20, -1, 1), "8 kHz": narrow}


def test_parity_with_kaldi_on_real_clips(kaldi: ModuleType, shared_audio: Path) -> None:
    for task in ("esc10", "instrument_family", "keywords", "speaker_id"):
        paths = sorted((shared_audio / "tasks" / task).glob("audio/*.flac"))[::5]
        assert len(paths) >= 5
        for path in paths:
            for name, sound in versions(load_audio(path)).items():
                if len(sound) >= 400:
                    assert_parity(sound, kaldi_fbank(kaldi, sound).numpy(), (path, name))


def test_parity_with_kaldi_on_telephone_speech(kaldi: ModuleType, shared_audio: Path) -> None:
    if not (shared_audio / "pack" / "shard-0000.tar").is_file():
        pytest.skip(f"no pre-training clips at {shared_audio / 'pack'}")
    with (shared_audio / "pack" / "manifest.csv").open(newline="") as file:
        rows = [
            row for row in csv.DictReader(file) if row["orig_rate"] == "8000" and row["file"].startswith("shard-0000")
        ]
    assert len(rows) >= 5
    with tarfile.open(shared_audio / "pack" / "shard-0000.tar") as shard:
        for row in rows[:5]:
            data = shard.extractfile(row["file"].split("/", 1)[1]).read()
            sound, rate = soundfile.read(io.BytesIO(data), dtype="float32")
            sound = sound if rate == 16000 else soxr.resample(sound, rate, 16000)
            assert_parity(sound, kaldi_fbank(kaldi, sound).numpy(), row["file"])


def numpy_log_mel(sound: np.ndarray, fft_length: int) -> np.ndarray:
    """The definition, frame by frame, in float64."""
    hertz = np.arange(fft_length // 2 + 1) * 16000 / fft_length
    mel = 1127 * np.log(1 + hertz / 700)
    edges = np.linspace(*(1127 * np.log(1 + np.array([20.0, 8000.0]) / 700)), 130)
    rows = []
    for start in range(0, len(sound) - 399, 160):
        frame = sound[start : start + 400].astype(np.float64)
        frame = frame - frame.mean()
        frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        frame = frame * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399))
        power = np.abs(np.fft.rfft(frame, fft_length)) ** 2
        energies = []
        for low, mid, high in zip(edges, edges[1:], edges[2:], strict=False):
            triangle = np.minimum((mel - low) / (mid - low), (high - mel) / (high - mid)).clip(0)
            energies.append((power * triangle)[:-1].sum())
        rows.append(np.log(np.maximum(energies, 1.1920929e-07)))
    return np.array(rows)


@pytest.mark.parametrize("fft_length", [512, 1024])
def test_parity_with_the_definition(made: Sounds, fft_length: int) -> None:
    for name, sound in made.items():
        assert_parity(sound, numpy_log_mel(sound, fft_length), name, fft_length)


@pytest.mark.parametrize(("fft_length", "empty"), [(512, 1), (1024, 0)])
def test_empty_bands(fft_length: int, empty: int) -> None:
    filters = mel_filters(128, fft_length, 16000)
    assert int((filters.sum(dim=0) == 0).sum()) == empty
    loud = natural(fft_length)(torch.randn(16000, generator=torch.Generator().manual_seed(0)))
    at_floor = (loud == np.log(np.float32(1.1920929e-07))).all(dim=0)  # empty bands, and only they, never move
    assert int(at_floor.sum()) == empty


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 6000), min_size=1, max_size=5), st.integers(0, 3000), st.sampled_from([0, 1e3, np.nan]))
def test_batch_equals_alone_for_any_lengths(lengths: list[int], padding: int, past_the_end: float) -> None:
    rng = np.random.default_rng(sum(lengths))
    batch = torch.from_numpy(rng.normal(size=(len(lengths), max(lengths) + padding)).astype(np.float32))
    front_end = LogMel(AaSPConfig())
    for row, count in zip(batch, lengths, strict=True):
        row[count:] = past_the_end
    for row, log_mel, count in zip(batch, front_end(batch, torch.tensor(lengths)), lengths, strict=True):
        frames = count_frames(count)
        torch.testing.assert_close(log_mel[:frames], front_end(row[:count]), atol=1e-5, rtol=1e-5)
        assert not log_mel[frames:].any()


@pytest.mark.parametrize("samples", [1, 2, 160, 399])
def test_shorter_than_a_frame_is_padded_with_zeros(samples: int) -> None:
    sound = np.random.default_rng(samples).normal(size=samples).astype(np.float32)
    expected = numpy_log_mel(np.pad(sound, (0, 400 - samples)), 1024)
    np.testing.assert_allclose(natural()(torch.from_numpy(sound)).numpy(), expected, atol=1e-2)
    with pytest.warns(UserWarning, match=f"{samples} samples"):
        piece = in_blocks(np.array_split(sound, 2), natural())
    np.testing.assert_allclose(piece.numpy(), expected, atol=1e-2)


@settings(deadline=None, max_examples=40)
@given(st.integers(400, 20000), st.lists(st.integers(0, 20000), max_size=8))
def test_blocks_equal_the_whole(samples: int, cuts: list[int]) -> None:
    sound = np.random.default_rng(samples).normal(size=samples).astype(np.float32) * 0.1
    given = in_blocks(np.split(sound, sorted(cut for cut in cuts if cut < samples)), natural())
    torch.testing.assert_close(given, natural()(torch.from_numpy(sound)), atol=1e-5, rtol=1e-5)


def test_blocks_may_be_tensors_read_only_or_reversed() -> None:
    sound = np.random.default_rng(0).normal(size=3000).astype(np.float32)
    frozen = sound.copy()
    frozen.flags.writeable = False
    expected = LogMelStream(natural()).push(sound)
    for block in (torch.from_numpy(sound), frozen, sound[::-1].copy()[::-1]):
        torch.testing.assert_close(LogMelStream(natural()).push(block), expected, atol=0, rtol=0)
    assert to_device(frozen, torch.device("cpu")).numpy().flags.writeable


EXTREMES: dict[str, Callable[[], torch.Tensor]] = {
    "silence": lambda: torch.zeros(1600),
    "constant": lambda: torch.full((1600,), 0.9),
    "huge": lambda: 3e38 * torch.ones(1600).cumsum(0).sin(),
    "tiny": lambda: torch.full((1600,), 1e-40),
    "full-scale noise": lambda: torch.rand(1600) * 2 - 1,
}


@pytest.mark.parametrize("name", EXTREMES)
def test_extremes_are_finite(name: str) -> None:
    sound = EXTREMES[name]().requires_grad_(True)
    log_mel = LogMel(AaSPConfig())(sound)
    log_mel.sum().backward()
    assert torch.isfinite(log_mel).all()
    assert torch.isfinite(sound.grad).all()


def test_precision_and_autocast() -> None:
    torch.manual_seed(0)
    sound = torch.randn(4000) * 0.1
    expected = natural()(sound)
    torch.testing.assert_close(natural()(sound.double()), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(natural()(sound), expected, atol=0, rtol=0)
    for rounded in (sound.half(), sound.bfloat16()):  # only the samples are rounded, never the computation
        torch.testing.assert_close(natural()(rounded), natural()(rounded.float()), atol=0, rtol=0)


IN_THREADS = """
import threading
import torch
from aasp_features import AaSPConfig, LogMel

torch.set_num_threads(1)
log_mel, differ = LogMel(AaSPConfig()), []

def compare(sound, expected):
    if not torch.equal(log_mel(sound), expected):
        differ.append(len(sound))

for samples in range(400, 16000, 199):
    sound = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    thread = threading.Thread(target=compare, args=(sound, log_mel(sound)))
    thread.start()
    thread.join()
print(differ)
"""


def test_a_fresh_thread_gives_the_same_bits() -> None:
    """Once MKL took two threads there, whatever torch was told, until torch's own first parallel loop."""
    done = subprocess.run([sys.executable, "-c", IN_THREADS], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
