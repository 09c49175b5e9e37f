"""What decodes what, told by the file's first bytes; and what is not opened at all."""

import io
import os
import socket
from pathlib import Path

import numpy as np
import pytest
from helpers import encode, ffmpeg_decode, noise, sound_bytes

from aasp_features import AudioError, load_audio
from aasp_features.audio.ffmpeg import FfmpegDecoder
from aasp_features.audio.libsndfile import SoundfileDecoder
from aasp_features.audio.opening import open_decoder, open_path
from aasp_features.audio.reading import audio_info, stream_audio

RATE = 24000


def ogg(seconds: float, rate: int, subtype: str, channels: int = 1) -> bytes:
    return sound_bytes(noise(round(seconds * rate) * channels).reshape(-1, channels), rate, "OGG", subtype)


@pytest.mark.parametrize("second", [(RATE, "VORBIS", 1), (RATE, "VORBIS", 2), (RATE, "OPUS", 1), (16000, "VORBIS", 1)])
@pytest.mark.parametrize("first", ["VORBIS", "OPUS"])
def test_all_links_of_a_chained_ogg_are_read(first: str, second: tuple[int, str, int]) -> None:
    """Each as PyAV decodes it alone, at its own rate; Opus in 48 kHz there."""
    links = [ogg(3, RATE, first), ogg(2, *second), ogg(1, RATE, first)]
    chain = io.BytesIO(b"".join(links))
    info = audio_info(chain)
    assert info.seconds == pytest.approx(6.0, abs=0.05)
    expected = []
    for link in links:
        samples, rate = ffmpeg_decode(link)
        alone = io.BytesIO(sound_bytes(samples.mean(axis=1), rate, "WAV", "FLOAT"))
        expected.append(load_audio(alone, 48000))
    read = load_audio(chain, 48000)
    assert len(read) == pytest.approx(sum(map(len, expected)), abs=3)
    joined = np.concatenate(expected)[: len(read)]
    assert np.corrcoef(read[: len(joined)], joined)[0, 1] > 0.999
    part = np.concatenate(list(stream_audio(chain, 48000, start=3.5, end=4.5)))
    assert len(part) == pytest.approx(48000, abs=2)
    np.testing.assert_allclose(part[2000:-2000], joined[3 * 48000 + 26000 :][: len(part) - 4000], atol=0.02)


def test_a_chain_of_one_rate_is_one_sound() -> None:
    """Resampled in one go; the seam is no end."""
    links = [ogg(1, RATE, "VORBIS"), ogg(1.5, RATE, "VORBIS")]
    whole = np.concatenate([ffmpeg_decode(link)[0][:, 0] for link in links])
    expected = load_audio(io.BytesIO(sound_bytes(whole, RATE, "WAV", "FLOAT")))
    np.testing.assert_allclose(load_audio(io.BytesIO(b"".join(links))), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "AIFF", "AU", "CAF", "W64", "RF64"])
def test_what_counts_its_samples_is_for_libsndfile(kind: str) -> None:
    decoder = open_decoder(io.BytesIO(sound_bytes(noise(RATE), RATE, kind, "PCM_16")), "sound.mp3")
    assert isinstance(decoder, SoundfileDecoder)
    assert (decoder.info.seconds, decoder.exact) == (1.0, True)


def test_what_guesses_is_for_ffmpeg() -> None:
    for container, codec in (("mp3", "libmp3lame"), ("wav", "libmp3lame"), ("adts", "aac"), ("ogg", "flac")):
        assert isinstance(open_decoder(io.BytesIO(encode(noise(RATE), RATE, container, codec)), "a.wav"), FfmpegDecoder)


def test_tags_in_front_of_a_flac() -> None:
    content = sound_bytes(noise(RATE), RATE, "FLAC", "PCM_16")
    tagged = b"ID3\x04\0\0\0\0\x02\0" + bytes(256) + content
    np.testing.assert_array_equal(load_audio(io.BytesIO(tagged)), load_audio(io.BytesIO(content)))


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket.wav"))
        for name in ("pipe.wav", "socket.wav", "/dev/zero"):
            with pytest.raises(AudioError, match="a pipe, socket or device"):
                load_audio(tmp_path / name)
    for name in ("a\0b.wav", "a" * 300 + ".wav", "\ud800.wav"):
        with pytest.raises(AudioError, match="cannot be opened"):
            open_path(name, "odd name")
    (tmp_path / "file").touch()
    with pytest.raises(AudioError, match="no such file"):
        load_audio(tmp_path / "file" / "a.wav")


def test_open_files_must_give_bytes_twice(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="must give bytes"):
        load_audio(io.StringIO("text"))
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as file, pytest.raises(AudioError, match="read again from its start"):
        load_audio(file)
    with pytest.raises(AudioError, match="read again from its start"):
        load_audio(12)


@pytest.mark.parametrize("owned", [False, True])
def test_files_are_closed_by_who_opened_them(tmp_path: Path, owned: bool) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(sound_bytes(noise(800), 16000, "WAV", "PCM_16"))
    opened = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    if owned:
        for _ in range(3):
            audio_info(path)
            load_audio(path)
        if opened:
            assert set(os.listdir("/proc/self/fd")) == opened
        return
    with path.open("rb") as file:
        assert len(load_audio(file)) == len(load_audio(file)) == 800
        assert not file.closed
