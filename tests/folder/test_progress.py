"""How far a run is, in seconds of sound."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from aasp_features import AaSPEncoder
from aasp_features.folder import progress
from aasp_features.folder.options import RunOptions
from aasp_features.folder.progress import ProgressLines, clock, estimated_seconds, progress_bar, progress_line
from aasp_features.folder.run import embed_sounds
from aasp_features.sounds.discovery import Discovery, find_sounds
from aasp_features.sounds.sound import Sound


def test_estimates_from_some_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = np.random.default_rng(0).integers(1000, 90000, 40)
    for index, samples in enumerate(lengths):
        soundfile.write(tmp_path / f"{index:02}.wav", np.zeros(samples), 16000, subtype="PCM_16")
    (tmp_path / "broken.flac").write_bytes(b"no sound")
    sounds = find_sounds([tmp_path]).sounds
    assert estimated_seconds(sounds) == pytest.approx(lengths.sum() / 16000, rel=1e-3)
    monkeypatch.setattr(progress, "HEADERS_READ", 5)
    assert estimated_seconds(sounds) == pytest.approx(lengths.sum() / 16000, rel=0.01)  # headers of 44 bytes
    longest = Sound(tmp_path / f"{lengths.argmax():02}.wav")
    part, rest = Sound(longest.path, 0.5, 1.5), Sound(longest.path, 1.0)
    assert estimated_seconds([part, rest]) == pytest.approx(1 + lengths.max() / 16000 - 1, rel=1e-2)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("frames", [False, True])
def test_seconds_add_up_to_the_sounds(
    small_encoder: AaSPEncoder, long_sounds: Discovery, tmp_path: Path, frames: bool
) -> None:
    told: list[float] = []
    good = [sound.path for sound in long_sounds.sounds if "failing" not in sound.name]
    options = RunOptions(frames=frames, hop=0.08 if frames else 0.16)
    embed_sounds(small_encoder, find_sounds(good), tmp_path / "emb.npy", options, on_seconds=told.append)
    assert len(told) > 8
    seconds = sum(soundfile.info(path).duration for path in good)
    assert sum(told) == pytest.approx(seconds, abs=0.16 * len(good))


def test_the_bar_says_sound_rate_and_time_left() -> None:
    assert [clock(seconds) for seconds in (0, 59.6, 3723)] == ["0:00:00", "0:01:00", "1:02:03"]
    assert progress_line(720, 3600, 31.4) == "0:12:00 of about 1:00:00 of sound, 31x"
    assert progress_line(720, 600, 3.14) == "0:12:00 of about 0:12:00 of sound, 3.1x"
    assert progress_line(0, 600, None) == "0:00:00 of about 0:10:00 of sound"
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with progress_bar(console, 600) as on_seconds:
        on_seconds(0)
        on_seconds(300)
    assert "0:05:00 of about 0:10:00 of sound" in console.file.getvalue()


def test_lines_come_every_10_seconds_and_measure_this_run_alone() -> None:
    """600 s of an earlier run; then 10 s of sound in each second, for a minute, by a clock of the test's."""
    said: list[str] = []
    lines = ProgressLines(said.append, lambda: 3600, now=iter(map(float, range(100))).__next__)
    lines(600)
    for _ in range(65):
        lines(10)
    assert said[0] == "0:11:40 of about 1:00:00 of sound, 10x, 0:04:50 left"
    assert said[5] == "0:20:00 of about 1:00:00 of sound, 10x, 0:04:00 left"
    assert len(said) == 6


def test_lines_of_other_counts() -> None:
    def line(done: float, total: float, speed: float) -> str:
        return f"{done:g} of {total:g} at {speed:g}"

    said: list[str] = []
    lines = ProgressLines(said.append, lambda: 40, line, iter((0.0, 50.0)).__next__)
    lines(0)
    lines(100)
    assert said == ["100 of 40 at 2, 0:00:00 left"]  # more than was expected
