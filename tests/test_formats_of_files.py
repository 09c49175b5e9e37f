"""A few files of each kind are decoded as PyAV decodes them, all as the better of two decoders; see ``formats.py``."""

import numpy as np
import pytest
from formats import KINDS, LIKE, compare, files_of_tones, likeness


@pytest.mark.parametrize("kind", list(KINDS))
def test_files_are_decoded_as_pyav_does(kind: str) -> None:
    for case in range(2):
        samples, correlation = compare(kind, np.random.default_rng(case))
        assert samples == 0
        assert correlation >= 0.999


def test_every_container_and_codec_is_decoded_as_the_better_of_two_decoders_does() -> None:
    """The signal that went in decides: FFmpeg gives noise for RIFX, libsndfile for VOC."""
    files = files_of_tones()
    assert {"libsndfile WAV PCM_16 BIG", "libsndfile RF64 FLOAT FILE", "libsndfile CAF PCM_24 LITTLE"} <= set(files)
    assert {"FFmpeg aiff pcm_s16le", "FFmpeg voc pcm_s16le", "FFmpeg wav adpcm_ms"} <= set(files)
    scores = {name: likeness(content) for name, content in files.items()}
    worse = {name: own for name, own in scores.items() if own["this package"] < max(own.values()) - LIKE}
    assert not worse
    assert sum(own["PyAV"] < own["this package"] - 0.1 for own in scores.values()) > 20
    assert sum(own["libsndfile"] < own["this package"] - 0.1 for own in scores.values()) > 20
