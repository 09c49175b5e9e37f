"""What libsndfile decodes is what its header counts, and all that there is."""

import io

import numpy as np
import pytest
import soundfile
from helpers import encode, noise, sound_bytes

from aasp_features import AudioError, load_audio
from aasp_features.audio.libsndfile import SEEKABLE, SoundfileDecoder
from aasp_features.audio.reading import stream_audio

RATE = 22050


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


@pytest.mark.parametrize("seconds", [0.001, 3.0])
def test_joined_flacs_are_an_error_that_says_where(seconds: float) -> None:
    first = sound_bytes(noise(round(seconds * RATE)), RATE, "FLAC", "PCM_16")
    assert len(load_audio(io.BytesIO(first), RATE)) == round(seconds * RATE)
    with pytest.raises(AudioError, match=f"another file begins at byte {len(first)}: several were joined"):
        load_audio(io.BytesIO(first + first), RATE)


@pytest.mark.parametrize("kind", ["AIFF", "AU", "CAF", "W64"])
def test_other_joined_files_are_errors(kind: str) -> None:
    content = sound_bytes(noise(RATE), RATE, kind, "PCM_16")
    with pytest.raises(AudioError, match=r"another file begins at byte \d+: several were joined"):
        load_audio(io.BytesIO(content + content))


def test_a_flac_with_more_frames_than_its_header_counts_is_said() -> None:
    content = bytearray(sound_bytes(noise(3 * RATE), RATE, "FLAC", "PCM_16"))
    content[22:26] = RATE.to_bytes(4, "big")
    with pytest.warns(UserWarning, match=r"\d+ bytes follow the last sample that its header counts"):
        assert len(load_audio(io.BytesIO(bytes(content)), RATE)) == RATE


def test_guesses_are_refused() -> None:
    with pytest.raises(AudioError, match="not a sound file that can be decoded"):
        SoundfileDecoder(io.BytesIO(encode(noise(RATE), RATE, "mp3", "libmp3lame")), "sound.mp3")


@pytest.mark.parametrize("kind", ["IRCAM", "PVF", "VOC", "NIST", "MAT5", "PAF", "SVX", "HTK", "SDS", "AVR"])
def test_what_few_decoders_know_is_read(kind: str) -> None:
    content = sound_bytes(noise(8000), 8000, kind, "PCM_16")
    expected, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    read = np.concatenate(list(stream_audio(io.BytesIO(content), rate)))
    np.testing.assert_allclose(read[: len(expected)], expected, atol=1e-4)
