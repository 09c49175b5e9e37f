"""Segments are cut on a grid, and each has the vector of its piece alone."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from engine_runs import embed
from helpers import read_csv, relative_difference
from hypothesis import given
from hypothesis import strategies as st

from aasp_features import AaSPEncoder, load_audio
from aasp_features.errors import OptionError
from aasp_features.folder import RunOptions, embed_sounds
from aasp_features.folder.segments import cut_segments, segment_times
from aasp_features.sounds.discovery import Discovery


@given(
    blocks=st.lists(st.integers(0, 300), max_size=8),
    segment=st.floats(0.2, 3),
    share=st.floats(0, 0.9),
    rate=st.sampled_from([100, 97]),
)
def test_segments_are_slices_however_the_audio_comes(
    blocks: list[int], segment: float, share: float, rate: int
) -> None:
    samples, overlap = np.arange(sum(blocks), dtype=np.float32), share * segment
    cut = list(cut_segments(np.split(samples, np.cumsum(blocks)), segment, overlap, rate))
    times = list(segment_times(len(cut), segment, overlap, len(samples) / rate))
    for piece, (start, end) in zip(cut, times, strict=True):
        np.testing.assert_array_equal(piece, samples[round(start * rate) : round(end * rate)])
    assert times[-1][1] == pytest.approx(len(samples) / rate, abs=1.01 / rate)  # all is in one
    assert all(len(piece) > overlap * rate - 1 for piece in cut[1:])


@pytest.mark.parametrize("options", [(0.75, 0.25), (12.0, 2.0), (100.0, 0.0)], ids=str)
def test_rows_equal_their_pieces_alone(
    small_encoder: AaSPEncoder, tmp_path: Path, options: tuple[float, float]
) -> None:
    """Segments shorter than a window, of several windows, and longer than the sound; of files and of parts."""
    sound, found = tmp_path / "sound.wav", Discovery()
    soundfile.write(sound, np.random.default_rng(0).normal(size=22050 * 31) * 0.1, 22050)
    found.add_path(sound)
    found.add_part(sound, 2.5, 27.25)
    result = embed_sounds(
        small_encoder, found, tmp_path / "emb.npy", RunOptions(segment=options[0], overlap=options[1])
    )
    rows, vectors, samples = read_csv(tmp_path / "emb.csv"), np.load(tmp_path / "emb.npy"), load_audio(sound)
    assert result.rows == len(rows) == len(vectors)
    firsts = [index for index, row in enumerate(rows) if float(row["start"]) in (0.0, 2.5)]
    assert float(rows[-1]["end"]) == pytest.approx(27.25, abs=1 / 16000)
    for index in {*firsts, len(rows) // 3, firsts[1] - 1 if len(firsts) > 1 else 0}:
        start, end = float(rows[index]["start"]), float(rows[index]["end"])
        alone = small_encoder.embed(samples[round(start * 16000) : round(end * 16000)])
        assert relative_difference(alone, vectors[index]) < (1e-5 if index < firsts[-1] else 1e-3)  # parts begin anew


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"overlap": 1.0}, "overlap needs segment"),
        ({"segment": 1.0, "frames": True}, "choose one"),
        ({"segment": 0.1}, "at least 0.16 seconds, got 0.1"),
        ({"segment": float("nan")}, "at least 0.16 seconds, got nan"),
        ({"segment": 3.0, "overlap": 3.0}, "must be 0 to 2.92 seconds for segments of 3, got 3"),
    ],
)
def test_segments_that_cannot_be(values: dict, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        RunOptions(**values)


def test_a_failing_sound_has_no_segments(small_encoder: AaSPEncoder, mixed: Discovery, tmp_path: Path) -> None:
    paths = [sound.path for sound in mixed.sounds]
    assert embed(small_encoder, paths, tmp_path / "run", RunOptions(segment=5.0)).failures == 3
    names = [Path(row["path"]).name for row in read_csv(tmp_path / "run" / "emb.csv")]
    assert names.count("long.wav") == 7
    assert not {"text.wav", "nan.wav", "none.wav"} & {*names}
