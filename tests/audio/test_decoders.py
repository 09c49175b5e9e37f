"""What decodes what, to its end, against PyAV and libsndfile; and what a file's content must not make FFmpeg do."""

import io
import os
import socket
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import encode, ffmpeg_decode, noise, sound_bytes

from aasp_features import AudioError, load_audio
from aasp_features.audio.decoders import SEEKABLE, FfmpegDecoder, SoundfileDecoder, open_decoder
from aasp_features.audio.reading import audio_info, stream_audio
from aasp_features.sounds.discovery import find_sounds

RATE = 22050


def ogg(seconds: float, rate: int, subtype: str, channels: int = 1) -> bytes:
    return sound_bytes(noise(round(seconds * rate) * channels).reshape(-1, channels), rate, "OGG", subtype)


@pytest.mark.parametrize(
    "second", [(24000, "VORBIS", 1), (24000, "VORBIS", 2), (24000, "OPUS", 1), (16000, "VORBIS", 1)]
)
@pytest.mark.parametrize("first", ["VORBIS", "OPUS"])
def test_all_links_of_a_chained_ogg_are_read(first: str, second: tuple[int, str, int]) -> None:
    """Each as PyAV decodes it alone, at its own rate; Opus in 48 kHz there."""
    links = [ogg(3, 24000, first), ogg(2, *second), ogg(1, 24000, first)]
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


KINDS = [("FLAC", "PCM_24"), ("WAV", "PCM_U8"), ("W64", "DOUBLE"), ("AU", "ULAW"), ("CAF", "ALAW"), ("AIFF", "PCM_S8")]
KINDS += [("OGG", "VORBIS"), ("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM")]


@pytest.mark.parametrize(("kind", "subtype"), KINDS)
def test_it_begins_anywhere_with_what_the_whole_has_there(kind: str, subtype: str) -> None:
    content = sound_bytes(noise(10 * RATE), RATE, kind, subtype)
    whole, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    assert subtype in SEEKABLE or kind == "FLAC"
    for first in np.random.default_rng(0).integers(0, len(whole), 20):
        _, block = next(SoundfileDecoder(io.BytesIO(content), "sound").blocks(3000, int(first)))
        np.testing.assert_array_equal(block[:, 0], whole[first : first + 3000])


@pytest.mark.parametrize(
    ("kind", "seconds"), [("FLAC", 0.001), *((k, 3.0) for k in ("FLAC", "AIFF", "AU", "CAF", "W64"))]
)
def test_joined_files_are_an_error_that_says_where(kind: str, seconds: float) -> None:
    first = sound_bytes(noise(round(seconds * RATE)), RATE, kind, "PCM_16")
    assert len(load_audio(io.BytesIO(first), RATE)) == round(seconds * RATE)
    with pytest.raises(AudioError, match=r"another file begins at byte \d+: several were joined"):
        load_audio(io.BytesIO(first + first), RATE)


def test_a_flac_with_more_frames_than_its_header_counts_is_said() -> None:
    content = bytearray(sound_bytes(noise(3 * RATE), RATE, "FLAC", "PCM_16"))
    content[22:26] = RATE.to_bytes(4, "big")
    with pytest.warns(UserWarning, match=r"\d+ bytes follow the last sample that its header counts"):
        assert len(load_audio(io.BytesIO(bytes(content)), RATE)) == RATE


def mp3(samples: int, rate: int = RATE, channels: int = 1) -> bytes:
    sound = noise(samples * channels).reshape(-1, channels)
    return encode(sound, rate, "mp3", "libmp3lame", flags="+qscale", global_quality="300")


def without_count(content: bytes) -> bytes:
    """An MP3 without its first frame, which holds no sound but the number of frames; FFmpeg writes it."""
    start = content.index(b"\xff\xf3")
    assert content[start : start + 200].count(b"Xing") == 1
    return content[content.index(b"\xff\xf3", start + 2) :]


def mono(content: bytes) -> np.ndarray:
    return ffmpeg_decode(content)[0].mean(axis=1)


def test_a_vbr_mp3_without_a_count_is_read_to_its_end() -> None:
    loudness = np.repeat(np.random.default_rng(0).uniform(0, 3, 60), RATE)
    sound = noise(60 * RATE) * loudness
    content = without_count(encode(sound, RATE, "mp3", "libmp3lame", flags="+qscale", global_quality="300"))
    read = load_audio(io.BytesIO(content), RATE)
    assert len(read) / RATE == pytest.approx(60.0, abs=0.1)
    np.testing.assert_allclose(read, mono(content), atol=1e-6)
    stream = stream_audio(io.BytesIO(content), RATE, start=50.0, end=51.0)
    np.testing.assert_array_equal(np.concatenate(list(stream)), read[50 * RATE : 51 * RATE])


ID3 = b"ID3\x04\0\0\0\0\x40\0" + np.random.default_rng(0).bytes(8192)  # a picture, say


@pytest.mark.parametrize("tag", [b"", b"TAG" + bytes(125), ID3], ids=["none", "old", "new"])
@pytest.mark.parametrize(("rate", "channels"), [(RATE, 1), (RATE, 2), (16000, 1)])
def test_joined_mp3s_are_read_on(tag: bytes, rate: int, channels: int) -> None:
    """In the seam, where FFmpeg drops the first one's padding, some 50 ms are not compared."""
    first, second = mp3(3 * RATE), mp3(2 * rate, rate, channels)
    read = load_audio(io.BytesIO(first + tag + second), rate)
    seconds = len(read) / rate
    assert seconds == pytest.approx(5.0, abs=0.13)
    end = mono(second)[: -rate // 20]
    tail = read[-len(end) - rate // 8 :]
    place = np.correlate(tail, end[: rate // 2]).argmax()
    overlap = min(len(end), len(tail) - place)
    assert overlap > 1.8 * rate
    assert np.corrcoef(tail[place : place + overlap], end[:overlap])[0, 1] > 0.999
    stream = stream_audio(io.BytesIO(first + tag + second), rate, start=4.0, end=4.5)
    part = np.concatenate(list(stream))
    assert len(part) == pytest.approx(rate / 2, abs=1)


def test_a_flac_of_unknown_length_is_read_and_damage_in_it_is_seen() -> None:
    content = bytearray(sound_bytes(noise(3 * RATE), RATE, "FLAC", "PCM_16"))
    expected = load_audio(io.BytesIO(bytes(content)), RATE)
    content[21] &= 0xF0
    content[22:26] = bytes(4)  # the number of samples, as it is when a file is written to a pipe
    np.testing.assert_array_equal(load_audio(io.BytesIO(bytes(content)), RATE), expected)
    half = len(content) // 2
    for place, length in ((half, 1), (half, 3000)):
        damaged = bytes(content[:place]) + bytes(byte ^ 255 for byte in content[place : place + length])
        with pytest.raises(AudioError, match="damaged"):
            load_audio(io.BytesIO(damaged + bytes(content[place + length :])), RATE)


CODECS = [("mp3", "libmp3lame", 8000), ("mp3", "libmp3lame", 44100), ("ipod", "aac", 44100), ("webm", "libopus", 48000)]
CODECS += [("ogg", "libopus", 16000), ("mov", "alac", 44100), ("matroska", "flac", 44100), ("wv", "wavpack", 22050)]


@pytest.mark.parametrize(("container", "codec", "rate"), CODECS)
def test_parts_are_the_samples_of_the_whole(container: str, codec: str, rate: int) -> None:
    content = encode(noise(6 * rate), rate, container, codec)
    rate = audio_info(io.BytesIO(content)).rate
    whole = np.concatenate(list(stream_audio(io.BytesIO(content), rate)))
    for start, end in ((0.0, 0.5), (1.2345, 2.5), (4.0, None), (5.9, 60.0)):
        part = np.concatenate(list(stream_audio(io.BytesIO(content), rate, start=start, end=end)))
        np.testing.assert_array_equal(part, whole[round(start * rate) : None if end is None else round(end * rate)])


def test_a_cut_film_is_said() -> None:
    content = encode(noise(60 * RATE), RATE, "matroska", "aac")
    whole = load_audio(io.BytesIO(content), RATE)
    with pytest.warns(UserWarning, match=r"its header says 60.* s, there are \d+\.\d s; cut off"):
        read = load_audio(io.BytesIO(content[: len(content) // 2]), RATE)
    np.testing.assert_array_equal(read, whole[: len(read)])


@pytest.fixture
def server() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP socket that listens and a UDP one, on this machine; both must stay silent."""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        tcp.settimeout(0.05)
        udp.settimeout(0.05)
        yield tcp, udp
        for asked in (tcp.accept, lambda: udp.recv(1)):
            with pytest.raises(TimeoutError):
                asked()


def playlists(address: str, secret: Path, udp: int) -> dict[str, str]:
    """Files that are nothing but the names of others."""
    return {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}/a.ts\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n",
        "ffconcat": f"ffconcat version 1.0\nfile '{secret}'\nfile '{address}/a.wav'\n",
        "sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {udp} RTP/AVP 0\n",
        "dash": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet '
        f'mimeType="audio/mp4"><Representation id="a" bandwidth="9"><BaseURL>{address}/a.mp4</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>",
        "tedcaptions": '{"captions":[{"duration":9,"content":"x","startOfParagraph":false,"startTime":0}]}',
        "ffmetadata": ";FFMETADATA1\ntitle=x\n",
    }


@pytest.mark.parametrize("kind", list(playlists("", Path(), 0)))
def test_playlists_reach_nothing(tmp_path: Path, server: tuple[socket.socket, socket.socket], kind: str) -> None:
    (tmp_path / "secret.wav").write_bytes(sound_bytes(noise(RATE), RATE, "WAV", "PCM_16"))
    with socket.socket(type=socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        udp = free.getsockname()[1]
    text = playlists(f"http://127.0.0.1:{server[0].getsockname()[1]}", tmp_path / "secret.wav", udp)[kind]
    paths = [tmp_path / f"list.{ending}" for ending in ("wav", "m3u8", "sdp", "mp4")]
    for path in paths:
        path.write_text(text)
    for source in (*paths, io.BytesIO(text.encode())):
        with pytest.raises(AudioError, match="not a sound file"):
            load_audio(source)
    with socket.socket(type=socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.1", udp))  # nobody has it


def test_names_like_addresses_are_names(
    tmp_path: Path, server: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = server[0].getsockname()[1]
    sound = noise(RATE)
    content = encode(sound, RATE, "mp3", "libmp3lame")
    folder = tmp_path / "http:" / f"127.0.0.1:{port}"
    folder.mkdir(parents=True)
    (folder / "a.mp3").write_bytes(content)
    member = tarfile.TarInfo(f"http://127.0.0.1:{port}/b.mp3")
    member.size = len(content)
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        shard.addfile(member, io.BytesIO(content))
    monkeypatch.chdir(tmp_path)
    expected = load_audio(io.BytesIO(content))
    for path in (f"http://127.0.0.1:{port}/a.mp3", "shard.tar"):
        (found,) = find_sounds([Path(path)]).sounds
        np.testing.assert_array_equal(np.concatenate(list(found.stream(16000))), expected)
    np.testing.assert_array_equal(load_audio(f"http://127.0.0.1:{port}/a.mp3"), expected)


def test_a_film_that_refers_to_another_file_is_not_followed(tmp_path: Path) -> None:
    """QuickTime's data references name the file that holds the samples."""
    path = tmp_path / "film.mov"
    content = encode(noise(RATE), RATE, "mov", "pcm_s16le")
    url = str(tmp_path / "secret.wav").encode() + b"\0"
    (tmp_path / "secret.wav").write_bytes(sound_bytes(noise(9 * RATE), RATE, "WAV", "PCM_16"))
    before = content.index(b"dref") - 4
    old = struct.unpack(">I", content[before : before + 4])[0]
    entry = struct.pack(">I4sI", 12 + len(url), b"url ", 0) + url
    box = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    changed = content[:before] + box + content[before + old :]
    for name in (b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        place = changed.rindex(name, 0, before) - 4
        size = struct.unpack(">I", changed[place : place + 4])[0] + len(box) - old
        changed = changed[:place] + struct.pack(">I", size) + changed[place + 4 :]
    path.write_bytes(changed)
    try:
        read = load_audio(path, RATE)
    except AudioError:
        return
    assert len(read) <= RATE + 1
    np.testing.assert_allclose(read, mono(content)[: len(read)], atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s32le", "pcm_f32le", "pcm_f64le"])
def test_every_sample_format_is_scaled_alike(codec: str, channels: int) -> None:
    sound = noise(6000 * channels).reshape(-1, channels)
    ((rate, block),) = FfmpegDecoder(io.BytesIO(encode(sound, RATE, "matroska", codec)), "sound.mka").blocks(10**6, 0)
    assert (rate, block.dtype) == (RATE, np.float32)
    np.testing.assert_allclose(block, sound, atol=2**-7 if codec == "pcm_u8" else 2**-15)


def test_it_sees_no_name() -> None:
    decoder = FfmpegDecoder(io.BytesIO(mp3(RATE)), f"http://127.0.0.1/{os.sep}x.mp3?y#.MP3")
    assert decoder._container.name == "sound.mp3"
