"""A day's work at the commands: a folder is embedded, grows, is searched, labelled, learnt from, and gives events."""

import csv
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import read_csv, run_command

from aasp_features.cli import app as aasp_embed
from aasp_features.folder.convert import app as aasp_convert
from aasp_features.search_command import app as aasp_search

RATE = 16000


def noise(seconds: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=int(seconds * RATE)) * 0.01


def call(low: float, high: float, seed: int, seconds: float = 1.0) -> np.ndarray:
    """A warbling call between two frequencies, in noise."""
    time = np.arange(int(seconds * RATE)) / RATE
    pitch = low + (high - low) * (0.5 + 0.5 * np.sin(2 * np.pi * (6 + seed % 3) * time + seed))
    return 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / RATE) + noise(seconds, seed)


def recording(path: Path, calls: dict[float, np.ndarray], seconds: float, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = noise(seconds, seed)
    for start, own in calls.items():
        samples[int(start * RATE) : int(start * RATE) + len(own)] = own
    soundfile.write(path, samples, RATE)


def done(app: object, *arguments: object, cwd: Path) -> str:
    finished = run_command(app, *arguments, cwd=cwd)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_an_ecologist_finds_a_call_in_recordings_that_come_in_every_day(tmp_path: Path) -> None:
    for day in range(3):
        calls = {2.0 * day + 1: call(2000, 3000, day)} if day else {}
        recording(tmp_path / "field" / f"day{day}.wav", calls, 8, seed=100 + day)
    segments = ["field", "-o", "field.npy", "--segment", 1, "--quiet"]
    done(aasp_embed, *segments, cwd=tmp_path)
    recording(tmp_path / "field" / "day3.wav", {5.0: call(2000, 3000, 7)}, 8, seed=103)
    done(aasp_embed, *segments, "--update", cwd=tmp_path)
    soundfile.write(tmp_path / "call.wav", call(2000, 3000, 9), RATE)
    labels = ["--labels", "hits.selections.txt", "--out", "hits.csv"]
    done(aasp_search, "field.npy", "call.wav", "--top", 3, *labels, cwd=tmp_path)
    hits = {(row["path"], float(row["start"])) for row in read_csv(tmp_path / "hits.csv")}
    assert hits == {("field/day1.wav", 3.0), ("field/day2.wav", 5.0), ("field/day3.wav", 5.0)}
    with (tmp_path / "hits.selections.txt").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert {(Path(row["Begin Path"]).name, float(row["File Offset (s)"])) for row in rows} == {
        (Path(path).name, start) for path, start in hits
    }


def test_a_sound_designer_collects_what_resembles_a_sound(sounds: Path, tmp_path: Path) -> None:
    done(aasp_embed, sounds, "-o", "library.parquet", "--quiet", cwd=tmp_path)
    rain, bell = sounds / "nature" / "rain.flac", sounds / "music" / "bell.flac"
    shown = done(aasp_search, "library.parquet", rain, "--top", 2, "--export", "like rain", cwd=tmp_path)
    assert "rain.flac" in shown.splitlines()[1]
    first = soundfile.read(next((tmp_path / "like rain").glob("001_*")))[0]
    np.testing.assert_array_equal(first, soundfile.read(rain)[0])
    others = done(aasp_search, "library.parquet", rain, "--unlike", bell, "--top", 12, cwd=tmp_path).splitlines()
    assert next(index for index, line in enumerate(others) if "bell.flac" in line) > len(others) // 2 or not any(
        "bell.flac" in line for line in others
    )
    if find_spec("lancedb"):  # the library has grown large
        done(aasp_convert, "library.parquet", "library.lance", cwd=tmp_path)
        assert done(aasp_search, "library.lance", rain, "--top", 2, "--index", cwd=tmp_path) == shown


@pytest.mark.filterwarnings("ignore")
def test_an_engineer_learns_classes_and_gets_events(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    from aasp_features.train.cli import app as aasp_train

    kinds = {"whistle": (2000, 3000), "hum": (200, 260)}
    for name, (low, high) in kinds.items():
        for number in range(8):
            recording(tmp_path / "clips" / name / f"{name}{number}.wav", {0.0: call(low, high, number)}, 1, number)
    for number in range(8):
        recording(tmp_path / "clips" / "quiet" / f"{number}.wav", {}, 1, 50 + number)
    trained = done(aasp_train, "classify", "clips", "--out", "calls", "--pooling", "mean", "--no-cache", cwd=tmp_path)
    assert "quiet" in trained
    scene = {2.0: call(2000, 3000, 20, 2.0), 7.0: call(200, 260, 21, 2.0)}
    recording(tmp_path / "scene.wav", scene, 11, seed=99)
    done(
        aasp_embed, "scene.wav", "-o", "scene.npy", "--frames", "--classifier", "calls", "--pooling", "mean",
        "--last-layers", 1, "--quiet", cwd=tmp_path,
    )  # fmt: skip
    events = [row for row in read_csv(tmp_path / "scene.events.csv") if row["label"] != "quiet"]
    assert [row["label"] for row in events] == ["whistle", "hum"]
    for row, start in zip(events, scene, strict=True):
        assert float(row["start"]) == pytest.approx(start, abs=0.8)
        assert float(row["end"]) == pytest.approx(start + 2, abs=0.8)
    assert "whistle" in (tmp_path / "scene.selections.txt").read_text()
