"""Tags behind and between frames, against the same sound without them."""

import io
import struct
import time
from contextlib import suppress

import numpy as np
import pytest
from helpers import encode, noise

from aasp_features import AudioError, load_audio
from aasp_features.audio.ffmpeg import FfmpegDecoder
from aasp_features.audio.reading import audio_info
from aasp_features.audio.tags import BLOCK, MOST_MARKS, end_of_sound, tags_behind

RATE = 22050


def mp3(samples: int) -> bytes:
    return encode(noise(samples), RATE, "mp3", "libmp3lame", flags="+qscale", global_quality="300")


def ape_tag(size: int, header: bool, picture: bytes) -> bytes:
    item = struct.pack("<II", size, 2) + b"Cover Art (Front)\0" + picture[:size]
    ends = [b"APETAGEX" + struct.pack("<4I", 2000, len(item) + 32, 1, header << 31 | first << 29) for first in (1, 0)]
    return (ends[0] + bytes(8)) * header + item + ends[1] + bytes(8)


def id3_tag(size: int, footer: bool, picture: bytes) -> bytes:
    length = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    end = b"\x04\0" + bytes([footer << 4]) + length
    return b"ID3" + end + picture[:size] + (b"3DI" + end) * footer


TAGS = {
    "old ID3": lambda size, picture: b"TAG" + picture[:125],
    "ID3": lambda size, picture: id3_tag(size, False, picture),
    "ID3 with a footer": lambda size, picture: id3_tag(size, True, picture),
    "APE": lambda size, picture: ape_tag(size, True, picture),
    "APE without a header": lambda size, picture: ape_tag(size, False, picture),
    "APE and old ID3": lambda size, picture: ape_tag(size, True, picture) + b"TAG" + picture[:125],
    "APE behind ID3": lambda size, picture: id3_tag(size, False, picture) + ape_tag(size, True, picture),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("tag", list(TAGS))
@pytest.mark.parametrize(("seconds", "size"), [(3, 20_000), (60, 1_000_000)])
@pytest.mark.parametrize("container", ["mp3", "adts"])
def test_tags_behind_the_sound_are_no_damage(tag: str, seconds: int, size: int, container: str) -> None:
    """A picture's bytes look like frames now and then. FFmpeg keeps an encoder's padding where a tag has no footer."""
    content = encode(noise(seconds * RATE), RATE, container, "libmp3lame" if container == "mp3" else "aac")
    expected = load_audio(io.BytesIO(content), RATE)
    read = load_audio(io.BytesIO(content + TAGS[tag](size, np.random.default_rng(0).bytes(size))), RATE)
    padding = 576 if tag in ("ID3", "APE behind ID3") else 0
    assert len(expected) <= len(read) <= len(expected) + padding
    np.testing.assert_array_equal(read[: len(expected)], expected)


def test_a_tag_between_joined_mp3s_is_no_damage() -> None:
    content = mp3(3 * RATE)
    for make in TAGS.values():
        tag = make(1_000_000, np.random.default_rng(0).bytes(1_000_000))
        read = load_audio(io.BytesIO(content + tag + content), RATE)
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
    made = TAGS[tag](5000, bytes(5000))
    if tag not in ("ID3", "APE behind ID3"):  # others end in what says how long they are
        assert end_of_sound(io.BytesIO(sound + made)) == len(sound)
    file = io.BytesIO(sound + made + sound)
    file.seek(7)
    if tag != "old ID3":  # 128 bytes are no matter
        found = tags_behind(file, 3)
        assert min(one.start for one in found) == len(sound)
        assert max(one.stop for one in found) == len(sound + made) - (128 if "old" in tag else 0)
    assert file.tell() == 7


def test_a_length_is_not_that_of_the_picture_too() -> None:
    content = mp3(3 * RATE)
    assert audio_info(io.BytesIO(content + ape_tag(10**6, True, bytes(10**6)))).seconds == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("flags", [0, 1 << 31])
def test_a_tag_whose_length_is_wrong_takes_no_sound_with_it(flags: int) -> None:
    content = mp3(30 * RATE)
    half = len(content) // 2
    for size in (half, len(content) - 500, 2**31):
        wrong = b"APETAGEX" + struct.pack("<4I", 2000, size, 1, flags) + bytes(8)
        for sound in (content, content[:half] + np.random.default_rng(0).bytes(3000) + content[half:]):
            read = load_audio(io.BytesIO(sound + wrong), RATE)
            assert len(read) / RATE == pytest.approx(30.0, abs=0.2)


@pytest.mark.filterwarnings("ignore:.*bytes follow its last sample")
def test_marks_of_tags_without_end_take_no_time() -> None:
    content = mp3(3 * RATE)
    half, marks = len(content) // 2, b"ID3\x03\0\0\0\0\0\0x" * 100_000
    assert len(tags_behind(io.BytesIO(marks), 0)) <= MOST_MARKS
    for file in (content[:half] + marks + content[half:], content + marks):
        began = time.process_time()
        with suppress(AudioError):
            load_audio(io.BytesIO(file), RATE)
        assert time.process_time() - began < 5
