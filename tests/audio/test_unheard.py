"""The share of energy above 8 kHz, by the tones that went in; who is warned of it, and that no vector changes."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from helpers import noise, run_command, sound_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from aasp_features import AaSPEncoder
from aasp_features.audio.reading import Resampler, resample_blocks, stream_audio
from aasp_features.cli import app
from aasp_features.folder import find_sounds
from aasp_features.folder.run import embed_sounds

HEARD = "above 8 kHz, where the model hears nothing"


def tone(hertz: float, rate: int, seconds: float = 1.0, level: float = 0.1) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def unheard(sound: np.ndarray, rate: int, cuts: list[float] | None = None) -> float:
    resampler = Resampler(rate, 16000)
    blocks = np.split(sound, sorted(int(cut * len(sound)) for cut in cuts or []))
    for _ in resample_blocks(blocks, resampler):
        pass
    return resampler.unheard


@settings(deadline=None, max_examples=50)
@given(
    rate=st.sampled_from([22050, 44100, 48000, 96000]),
    levels=st.tuples(st.sampled_from([0.001, 0.01, 0.1]), st.sampled_from([0.001, 0.01, 0.1])),
    offset=st.sampled_from([0.0, 0.5, -0.9]),
    cuts=st.lists(st.floats(0, 1), max_size=6),
)
def test_the_share_is_that_of_the_tones(
    rate: int, levels: tuple[float, float], offset: float, cuts: list[float]
) -> None:
    """Whatever the blocks, and beside a constant offset a thousand times as large."""
    low, high = levels
    sound = tone(1000, rate, level=low) + tone(10_000, rate, level=high) + np.float32(offset)
    assert unheard(sound, rate, cuts) == pytest.approx(high**2 / (low**2 + high**2), abs=0.01)


def test_silence_offsets_and_low_rates_have_no_share() -> None:
    dither = np.random.default_rng(0).integers(-1, 2, 96_000) / 32768
    for sound in (np.zeros(96_000), np.full(96_000, 0.7), dither, np.zeros(0), np.ones(1), np.ones(300)):
        assert unheard(sound.astype(np.float32), 96_000) == 0.0
    assert unheard(tone(7900, 16000), 16000) == unheard(tone(3900, 8000), 8000) == 0.0
    assert unheard(np.float32(3e38) * noise(96_000), 96_000) == 0.0  # its squares are infinite


def test_a_file_knows_its_share_once_it_was_read() -> None:
    content = sound_bytes(np.stack([tone(12_000, 48_000, 50)] * 2, axis=1), 48_000, "FLAC", "PCM_16")
    stream = stream_audio(io.BytesIO(content))
    assert stream.info.unheard == 0.0
    assert sum(map(len, stream)) == 50 * 16000
    assert stream.info.unheard > 0.99
    opposite = np.stack([tone(12_000, 48_000), -tone(12_000, 48_000)], axis=1) + tone(500, 48_000)[:, None]
    stream = stream_audio(io.BytesIO(sound_bytes(opposite, 48_000, "WAV", "FLOAT")))
    assert len(list(stream))
    assert stream.info.unheard < 0.01  # what is mixed down is what counts


def sounds_of_all_forms(folder: Path) -> list[object]:
    high = tone(12_000, 48_000)
    soundfile.write(folder / "high.wav", high, 48_000)
    soundfile.write(folder / "low.wav", tone(700, 48_000), 48_000)
    return [
        str(folder / "high.wav"),
        (high, 48_000),
        {"array": torch.from_numpy(high), "sampling_rate": 48_000},
        str(folder / "low.wav"),
        (np.int16(high * 32767), 48_000),
    ]


@pytest.mark.parametrize("call", ["embed", "embed_frames", "encode"])
def test_one_warning_for_each_call(small_encoder: AaSPEncoder, tmp_path: Path, call: str) -> None:
    given = sounds_of_all_forms(tmp_path)
    with pytest.warns(UserWarning, match=HEARD) as seen:
        getattr(small_encoder, call)(given)
    (told,) = [str(one.message) for one in seen if HEARD in str(one.message)]
    assert told == f"4 sounds ({given[0]}, clip 1, clip 2, …): most of their energy lies {HEARD}."
    with pytest.warns(UserWarning, match=rf"^the input: 100 % of its energy lies {HEARD}\.$"):
        getattr(small_encoder, call)(given[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(small_encoder, call)(given[3])


@pytest.mark.parametrize("seconds", [1.0, 12.0])
def test_a_stream_warns_once(small_encoder: AaSPEncoder, seconds: float) -> None:
    """After ten seconds if it is longer, as it may never be finished."""
    stream, told = small_encoder.stream(48_000), []
    for number, block in enumerate(np.split(tone(12_000, 48_000, seconds), 12)):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            stream.push(block)
        told += [number] * len(seen)
    assert told == ([9] if seconds > 10 else [])
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        stream.finish()
    assert [HEARD in str(one.message) for one in seen] == ([True] if seconds < 10 else [])


def test_a_run_ends_with_one_line(small_encoder: AaSPEncoder, tmp_path: Path) -> None:
    for name in "abcde":
        soundfile.write(tmp_path / f"{name}.wav", tone(300 if name == "b" else 15_000, 44_100), 44_100)
    names = ", ".join(str(tmp_path / f"{name}.wav") for name in "acd")
    with pytest.warns(UserWarning, match=HEARD) as seen:
        embed_sounds(small_encoder, find_sounds(tmp_path), tmp_path / "emb.npy")
    assert [str(one.message) for one in seen] == [f"4 sounds ({names}, …): most of their energy lies {HEARD}."]
    done = run_command(app, tmp_path / "a.wav", "--out", tmp_path / "one.npy")
    assert done.stderr.count(f"aasp-embed: {tmp_path}/a.wav: 100 % of its energy lies {HEARD}.") == 1


@pytest.mark.parametrize("rate", [22050, 44100, 96000])
def test_no_sample_changes(rate: int) -> None:
    sound = noise(3 * rate)
    given = np.concatenate(list(resample_blocks(np.split(sound, [1, 7, 9000]), Resampler(rate, 16000))))
    np.testing.assert_array_equal(given, soxr.resample(sound, rate, 16000, quality="HQ"))
