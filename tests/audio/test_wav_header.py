"""WAV files whose headers say what is not so, against the array that was written."""

import io
import struct
import time
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from helpers import noise, sound_bytes

from aasp_features import AudioError, load_audio
from aasp_features.audio.reading import stream_audio

SOUND = noise(48000)
IMA_ADPCM = 0x11  # the format's number in a header
CHUNK = b"LIST" + struct.pack("<I", 10_000) + bytes(10_000)


def with_count(content: bytes, count: int) -> bytes:
    """The same file; its chunk of samples says it has so many bytes."""
    place = content.index(b"data") + 4
    return content[:place] + struct.pack("<I", count) + content[place + 4 :]


@pytest.fixture(params=["FLOAT", "PCM_16", "IMA_ADPCM"])
def wav(request: pytest.FixtureRequest) -> bytes:
    """Without the chunk that soundfile writes behind the samples."""
    content = sound_bytes(SOUND, 16000, "WAV", request.param)
    place = content.index(b"data") + 4
    return content[: place + 4 + struct.unpack("<I", content[place : place + 4])[0]]


def decoded(content: bytes) -> np.ndarray:
    return soundfile.read(io.BytesIO(content), dtype="float32")[0]


@pytest.mark.parametrize("count", [0, 2**32 - 1, 2**31 - 1])
def test_a_recorder_that_died_is_read_to_the_end_with_a_warning(wav: bytes, count: int) -> None:
    with pytest.warns(UserWarning, match="its header says .* read to the end of the file"):
        read = load_audio(io.BytesIO(with_count(wav, count)))
    np.testing.assert_array_equal(read, decoded(wav))


def test_a_file_that_was_cut_off_is_read_with_a_warning(wav: bytes) -> None:
    if wav[20] == IMA_ADPCM and int(av.__version__.split(".")[0]) < 18:
        with pytest.raises(AudioError, match="damaged, decoding stopped"):  # by the block that was cut
            load_audio(io.BytesIO(wav[: len(wav) // 2]))
        return
    with pytest.warns(UserWarning, match="it was cut off"):
        read = load_audio(io.BytesIO(wav[: len(wav) // 2]))
    assert np.array_equal(read, decoded(wav)[: len(read)])
    assert len(read) == pytest.approx(24000, abs=600)


@pytest.mark.filterwarnings("error")
def test_right_headers_cause_no_warning(wav: bytes) -> None:
    for content in (wav, wav + CHUNK, wav + bytes(3), sound_bytes(SOUND, 16000, "RF64", "PCM_16")):
        np.testing.assert_array_equal(load_audio(io.BytesIO(content)), decoded(content))
    with pytest.raises(AudioError, match="holds no samples"):
        load_audio(io.BytesIO(sound_bytes(np.empty(0), 16000, "WAV", "PCM_16")))


def rifx(subtype: str) -> tuple[bytes, np.ndarray]:
    """A big-endian WAV, whose last chunk is its samples, and what libsndfile reads in it."""
    written = io.BytesIO()
    soundfile.write(written, SOUND, 16000, subtype, "BIG", "WAV")
    content = written.getvalue()
    place = content.index(b"data") + 4
    return content[: place + 4 + struct.unpack(">I", content[place : place + 4])[0]], decoded(content)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "MS_ADPCM"])
def test_rifx(subtype: str) -> None:
    content, expected = rifx(subtype)
    np.testing.assert_array_equal(load_audio(io.BytesIO(content)), expected)
    place = content.index(b"data") + 4
    for count in (0, 2**32 - 1):
        died = content[:place] + struct.pack(">I", count) + content[place + 4 :]
        with pytest.warns(UserWarning, match="a recorder that died"):
            read = load_audio(io.BytesIO(died))
        np.testing.assert_array_equal(read, expected)
    with pytest.raises(AudioError, match=f"another file begins at byte {len(content)}"):
        load_audio(io.BytesIO(content + content))


def test_a_rifx_that_libsndfile_refuses_is_not_decoded_as_noise() -> None:
    content, _ = rifx("PCM_16")
    channels = content.index(b"fmt ") + 10
    with pytest.raises(AudioError, match="not a sound file that can be decoded"):
        load_audio(io.BytesIO(content[:channels] + bytes(2) + content[channels + 2 :]))


@pytest.mark.parametrize("between", [b"", CHUNK], ids=["nothing", "a chunk"])
def test_more_chunks_of_samples_are_read_too_with_a_warning(wav: bytes, between: bytes) -> None:
    """FFmpeg reads the last alone, libsndfile refuses the file."""
    start = wav.index(b"data")
    content = wav + between + wav[start:]
    with pytest.warns(UserWarning, match="holds 2 chunks of samples, where 1 is right; they were read one after the"):
        read = load_audio(io.BytesIO(content))
    np.testing.assert_array_equal(read, np.concatenate([decoded(wav), decoded(wav)]))


@pytest.mark.filterwarnings("error")
def test_an_empty_chunk_of_samples_before_the_full_one_is_passed_over(wav: bytes) -> None:
    start = wav.index(b"data")
    read = load_audio(io.BytesIO(wav[:start] + b"data" + bytes(4) + wav[start:]))
    np.testing.assert_array_equal(read, decoded(wav))


@pytest.mark.parametrize("died", [False, True])
def test_bw64(died: bool) -> None:
    content = b"BW64" + sound_bytes(SOUND, 16000, "RF64", "PCM_24")[4:]
    expected = decoded(b"RF64" + content[4:])
    if died:
        content = content[:20] + bytes(24) + content[44:]  # the chunk ds64 holds all counts
        with pytest.warns(UserWarning, match="a recorder that died"):
            read = load_audio(io.BytesIO(content))
    else:
        read = load_audio(io.BytesIO(content))
    np.testing.assert_array_equal(read, expected)


def test_sizes_that_wrapped_at_4_gib(tmp_path: Path) -> None:
    """A sparse file: 4 GiB of silence, then 100 s, of which the last three are noise."""
    content = sound_bytes(SOUND, 16000, "WAV", "PCM_16")
    start = content.index(b"data") + 8
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(with_count(content, 100 * 32000)[:start])
        file.truncate(start + 2**32 + 100 * 32000)
        file.seek(-96000, io.SEEK_END)
        file.write(content[start : start + 96000])
    with pytest.warns(UserWarning, match="counts 4 GiB at most"):
        stream = stream_audio(path, start=2**31 / 16000 + 97)
    assert stream.info.seconds == 2**31 / 16000 + 100
    np.testing.assert_array_equal(np.concatenate(list(stream)), decoded(content))


def test_joined_files_are_an_error_that_says_where(wav: bytes) -> None:
    with pytest.raises(AudioError, match=f"another file begins at byte {len(wav)}: several were joined"):
        load_audio(io.BytesIO(wav + wav))


def test_a_header_that_is_behind_the_samples_is_said() -> None:
    """A recorder that writes its header every minute, and died."""
    wav = sound_bytes(SOUND, 16000, "WAV", "PCM_16")
    with pytest.warns(UserWarning, match="46000 bytes follow its last sample"):
        assert len(load_audio(io.BytesIO(with_count(wav, 50000)))) == 25000


def data_chunk(sound: bytes) -> bytes:
    return b"data" + struct.pack("<I", len(sound)) + sound


@pytest.mark.parametrize("junk", [b"", b"\xff" * 900, b"\xff" * 9000, CHUNK])
@pytest.mark.filterwarnings("ignore:.*bytes follow its last sample")
def test_a_second_chunk_of_samples_does_not_replace_the_first(junk: bytes) -> None:
    content = sound_bytes(SOUND, 16000, "WAV", "PCM_16")
    sound = content[content.index(b"data") + 8 :][:20_000]
    np.testing.assert_array_equal(load_audio(io.BytesIO(content + data_chunk(b"") + junk)), decoded(content))
    with pytest.warns(UserWarning, match="holds 2 chunks of samples"):
        read = load_audio(io.BytesIO(content + data_chunk(sound) + junk))
    np.testing.assert_array_equal(read, np.concatenate([decoded(content), decoded(content)[:10_000]]))


@pytest.mark.filterwarnings("ignore:.*chunks of samples")
def test_chunks_without_end_take_no_time() -> None:
    content = sound_bytes(SOUND, 16000, "WAV", "PCM_16")
    began = time.process_time()
    with pytest.warns(UserWarning, match="bytes follow its last sample"):
        read = load_audio(io.BytesIO(content + data_chunk(bytes(2)) * 1_000_000))
    assert time.process_time() - began < 2
    np.testing.assert_array_equal(read[: len(SOUND)], decoded(content))
