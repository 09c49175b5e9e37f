"""Where the sound lies: wrong headers of a WAV, tags around an MP3, links of an Ogg, by what was put together."""

import io
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from helpers import encode, noise, sound_bytes

from aasp_features import AudioError, load_audio
from aasp_features.audio.containers import BLOCK, MAX_TAGS, ogg_links, tags_behind
from aasp_features.audio.decoders import FfmpegDecoder
from aasp_features.audio.reading import stream_audio

RATE = 22050
SOUND = noise(48000)
PICTURE = np.random.default_rng(0).bytes(1_000_000)
IMA_ADPCM = 0x11  # the format's number in a header
CHUNK = b"LIST" + struct.pack("<I", 10_000) + bytes(10_000)


def with_count(content: bytes, count: int, order: str = "<") -> bytes:
    """The same file; its chunk of samples says it has so many bytes."""
    place = content.index(b"data") + 4
    return content[:place] + struct.pack(order + "I", count) + content[place + 4 :]


def trimmed(content: bytes, order: str = "<") -> bytes:
    """Without the chunk that soundfile writes behind the samples."""
    place = content.index(b"data") + 4
    return content[: place + 4 + struct.unpack(order + "I", content[place : place + 4])[0]]


@pytest.fixture(params=["FLOAT", "PCM_16", "IMA_ADPCM"])
def wav(request: pytest.FixtureRequest) -> bytes:
    return trimmed(sound_bytes(SOUND, 16000, "WAV", request.param))


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


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "MS_ADPCM"])
def test_rifx(subtype: str) -> None:
    """A big-endian WAV, against libsndfile."""
    written = io.BytesIO()
    soundfile.write(written, SOUND, 16000, subtype, "BIG", "WAV")
    content = trimmed(written.getvalue(), ">")
    expected = decoded(content)
    np.testing.assert_array_equal(load_audio(io.BytesIO(content)), expected)
    for count in (0, 2**32 - 1):
        with pytest.warns(UserWarning, match="a recorder that died"):
            read = load_audio(io.BytesIO(with_count(content, count, ">")))
        np.testing.assert_array_equal(read, expected)
    with pytest.raises(AudioError, match=f"another file begins at byte {len(content)}"):
        load_audio(io.BytesIO(content + content))
    channels = content.index(b"fmt ") + 10  # what libsndfile refuses is not decoded as noise by FFmpeg
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


def test_what_is_behind_the_samples(wav: bytes) -> None:
    """Another file is an error; the samples of a recorder that wrote its header every minute, and died, are told."""
    with pytest.raises(AudioError, match=f"another file begins at byte {len(wav)}: several were joined"):
        load_audio(io.BytesIO(wav + wav))
    pcm = sound_bytes(SOUND, 16000, "WAV", "PCM_16")
    with pytest.warns(UserWarning, match="46000 bytes follow its last sample"):
        assert len(load_audio(io.BytesIO(with_count(pcm, 50000)))) == 25000


def mp3(samples: int) -> bytes:
    return encode(noise(samples), RATE, "mp3", "libmp3lame", flags="+qscale", global_quality="300")


@pytest.mark.filterwarnings("ignore:.*chunks of samples", "ignore:.*bytes follow its last sample")
def test_chunks_and_tags_without_end_take_no_time() -> None:
    pcm, sound = sound_bytes(SOUND, 16000, "WAV", "PCM_16"), mp3(3 * RATE)
    half, marks = len(sound) // 2, b"ID3\x03\0\0\0\0\0\0x" * 100_000
    assert len(tags_behind(io.BytesIO(marks), 0)) <= MAX_TAGS + 1
    for file in (pcm + data_chunk(bytes(2)) * 1_000_000, sound[:half] + marks + sound[half:], sound + marks):
        began = time.process_time()
        with suppress(AudioError):
            load_audio(io.BytesIO(file), RATE)
        assert time.process_time() - began < 5


def ape_tag(size: int, header: bool, picture: bytes) -> bytes:
    item = struct.pack("<II", size, 2) + b"Cover Art (Front)\0" + picture[:size]
    ends = [b"APETAGEX" + struct.pack("<4I", 2000, len(item) + 32, 1, header << 31 | first << 29) for first in (1, 0)]
    return (ends[0] + bytes(8)) * header + item + ends[1] + bytes(8)


def id3_tag(size: int, footer: bool, picture: bytes) -> bytes:
    length = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    end = b"\x04\0" + bytes([footer << 4]) + length
    return b"ID3" + end + picture[:size] + (b"3DI" + end) * footer


TAGS: dict[str, Callable[[int], bytes]] = {
    "old ID3": lambda size: b"TAG" + PICTURE[:125],
    "ID3": lambda size: id3_tag(size, False, PICTURE),
    "ID3 with a footer": lambda size: id3_tag(size, True, PICTURE),
    "APE": lambda size: ape_tag(size, True, PICTURE),
    "APE without a header": lambda size: ape_tag(size, False, PICTURE),
    "APE and old ID3": lambda size: ape_tag(size, True, PICTURE) + b"TAG" + PICTURE[:125],
    "APE behind ID3": lambda size: id3_tag(size, False, PICTURE) + ape_tag(size, True, PICTURE),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("tag", list(TAGS))
@pytest.mark.parametrize(("seconds", "size"), [(3, 20_000), (60, 1_000_000)])
@pytest.mark.parametrize(("container", "codec"), [("mp3", "libmp3lame"), ("adts", "aac")])
def test_tags_behind_the_sound_are_no_damage(tag: str, seconds: int, size: int, container: str, codec: str) -> None:
    """A picture's bytes look like frames now and then."""
    content = encode(noise(seconds * RATE), RATE, container, codec)
    read = load_audio(io.BytesIO(content + TAGS[tag](size)), RATE)
    np.testing.assert_array_equal(read, load_audio(io.BytesIO(content), RATE))


def test_a_tag_between_joined_mp3s_is_no_damage() -> None:
    content = mp3(3 * RATE)
    for make in TAGS.values():
        read = load_audio(io.BytesIO(content + make(1_000_000) + content), RATE)
        assert len(read) / RATE == pytest.approx(6.0, abs=0.12)


def test_garbage_in_an_mp3_is_damage_and_behind_it_is_told() -> None:
    content, garbage = mp3(10 * RATE), np.random.default_rng(0).bytes(200_000)
    half = len(content) // 2
    with pytest.raises(AudioError, match=r"damaged, \d+ of \d+ packets cannot be decoded"):
        load_audio(io.BytesIO(content[:half] + garbage + content[half:]), RATE)
    with pytest.warns(UserWarning, match="200000 bytes follow its last sample, tags or damaged sound; not read"):
        read = load_audio(io.BytesIO(content + garbage), RATE)
    np.testing.assert_array_equal(read[: 10 * RATE], load_audio(io.BytesIO(content), RATE))


def test_a_title_that_is_not_utf8_is_no_reason_to_refuse() -> None:
    content = encode(noise(RATE), RATE, "adts", "aac")
    item = struct.pack("<II", 3, 0) + b"Title\0" + "öäü".encode("latin-1")
    tag = item + b"APETAGEX" + struct.pack("<4I", 2000, len(item) + 32, 1, 0) + bytes(8)
    decoder = FfmpegDecoder(io.BytesIO(content + tag), "sound.aac")
    assert sum(len(block) for _, block in decoder.blocks(10**6, 0)) >= RATE


@pytest.mark.parametrize("place", [0, BLOCK - 5, BLOCK, 2 * BLOCK - 3])
@pytest.mark.parametrize("tag", list(TAGS))
def test_tags_are_where_they_were_put(tag: str, place: int) -> None:
    sound = b"\xff\xfb" * (place // 2 + 2)
    made = TAGS[tag](5000)
    assert tags_behind(io.BytesIO(sound + made), 3) == [range(len(sound), len(sound + made))]
    if "old" not in tag:  # 128 bytes in front of sound are no matter
        assert tags_behind(io.BytesIO(sound + made + sound), 3) == [range(len(sound), len(sound + made))]


@pytest.mark.parametrize("flags", [0, 1 << 31])
def test_a_tag_whose_length_is_wrong_takes_no_sound_with_it(flags: int) -> None:
    content = mp3(30 * RATE)
    half = len(content) // 2
    for size in (half, len(content) - 500, 2**31):
        wrong = b"APETAGEX" + struct.pack("<4I", 2000, size, 1, flags) + bytes(8)
        for sound in (content, content[:half] + np.random.default_rng(0).bytes(3000) + content[half:]):
            read = load_audio(io.BytesIO(sound + wrong), RATE)
            assert len(read) / RATE == pytest.approx(30.0, abs=0.2)


def test_links_of_an_ogg_are_where_the_files_were_joined() -> None:
    kinds = {300_000: "VORBIS", 1: "OPUS", 9: "VORBIS"}
    files = [sound_bytes(noise(samples), 16000, "OGG", kind) for samples, kind in kinds.items()]
    ends = [sum(map(len, files[: count + 1])) for count in range(3)]
    assert ogg_links(io.BytesIO(b"".join(files))) == [
        (range(start, stop), 1) for start, stop in zip([0, *ends], ends, strict=False)
    ]
    first, second = files[0], files[2]
    damaged = first[:9000] + bytes(8000) + first[17000:]
    assert [link.start for link, _ in ogg_links(io.BytesIO(damaged + second))] == [0, len(first)]
    assert ogg_links(io.BytesIO(b"OggS" + bytes(10))) == []


def test_a_video_has_several_streams() -> None:
    """Each stream's first page comes before all other pages."""
    vorbis, opus = (sound_bytes(noise(9000), 16000, "OGG", kind) for kind in ("VORBIS", "OPUS"))
    (one, other) = (content.index(b"OggS", 4) for content in (vorbis, opus))
    video = vorbis[:one] + opus[:other] + vorbis[one:] + opus[other:]
    assert ogg_links(io.BytesIO(video)) == [(range(len(video)), 2)]
