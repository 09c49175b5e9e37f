"""``aasp-embed --classifier``: tables for Raven, options of events, and sounds unlike those that were learnt from."""

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pandas
import pytest
import soundfile
import torch
from helpers import noise, read_csv, run_command
from torch import nn

from aasp_features import AaSPClassifier, AaSPConfig, AaSPEncoder
from aasp_features.cli import app
from aasp_features.events import EventOptions
from aasp_features.folder import RunOptions, embed_sounds, find_sounds, predict_run

pytestmark = pytest.mark.filterwarnings("ignore:this encoder's weights are random")
LABELS = ("wind", "bell", "voice")


@pytest.fixture
def classifier(sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AaSPClassifier:
    """A saved one, which learnt from two of the sounds in ``sounds``; the working folder has both."""
    monkeypatch.chdir(tmp_path)
    Path("sounds").mkdir()
    for path in (sounds / "nature/rain.flac", sounds / "voice/vowels.wav", sounds / "music/bell.flac"):
        shutil.copy(path, "sounds")
    torch.manual_seed(0)
    encoder = AaSPEncoder(AaSPConfig.tiny(depth=1, name="aasp-test-random-1"))
    made = AaSPClassifier(encoder, LABELS, nn.Linear(encoder.embedding_dim, 3))
    made.min_probability = float(np.sort(made.scores(sorted(Path("sounds").iterdir())).max(axis=1))[1])
    return AaSPClassifier.from_pretrained(made.save_pretrained("classifier"))


def predict(*options: str) -> pandas.DataFrame:
    done = run_command(app, "sounds", "--out", "emb.npy", "--classifier", "classifier", *options)
    assert done.returncode == 0, done.stderr
    return pandas.read_csv("emb.predictions.csv")


def test_sounds_of_unlikely_classes_are_other(classifier: AaSPClassifier) -> None:
    table = predict("--other")
    expected = [one[0].label for one in classifier.predict(table["path"].tolist(), other=True)]
    assert table["label"].tolist() == expected
    assert table["probability"].isna().tolist() == [label == "other" for label in expected]
    assert 1 <= expected.count("other") < 3
    table = predict()
    assert set(table["label"]) <= set(LABELS)
    assert table["probability"].notna().all()


def test_raven_finds_each_event_in_its_file(classifier: AaSPClassifier) -> None:
    name = os.fsdecode(b"z\xff.wav")  # Raven's table is UTF-8
    soundfile.write("sounds/z.wav", noise(16000 * 3), 16000)
    Path("sounds/z.wav").rename(Path("sounds") / name)
    embed_sounds(classifier.encoder, find_sounds("sounds"), Path("emb.npy"), RunOptions(frames=True))
    predict_run(Path("emb.npy"), classifier, EventOptions(threshold=0.2, min_duration=0))
    with open("emb.events.csv", errors="surrogateescape", newline="") as file:
        events = list(csv.DictReader(file))
    table = pandas.read_csv("emb.selections.txt", sep="\t")
    assert len(table) == len(events) > 4
    paths = sorted(os.listdir("sounds"))
    ends = np.cumsum([0, *(soundfile.info(os.fsencode(f"sounds/{path}")).duration for path in paths)])
    before = np.array([ends[paths.index(os.path.basename(row["path"]))] for row in events])
    starts, stops = (np.array([float(row[name]) for row in events]) for name in ("start", "end"))
    np.testing.assert_allclose(table["File Offset (s)"], starts, atol=2e-6)
    np.testing.assert_allclose(table["Begin Time (s)"], before + starts, atol=2e-6)
    np.testing.assert_allclose(table["End Time (s)"], before + stops, atol=2e-6)
    assert table["Begin Path"].iloc[-1] == str(Path("sounds").resolve()) + "/z\\xff.wav"


@pytest.mark.parametrize("option", [["--smooth", "0"], ["--min-duration", "0.9"], ["--merge-gap", "0.2"]])
def test_other_options_make_other_events(classifier: AaSPClassifier, option: list[str]) -> None:
    frames = ["--frames", "--threshold", "0.3"]
    predict(*frames)
    table, events = predict(*frames, *option), read_csv(Path("emb.events.csv"))
    name = option[0].removeprefix("--").replace("-", "_")
    found = classifier.events(sorted(set(table["path"])), threshold=0.3, **{name: float(option[1])})
    assert [(row["label"], float(row["end"])) for row in events] == [
        (event.label, pytest.approx(event.end, abs=2e-6)) for one in found for event in one
    ]
    if option[0] == "--smooth":  # the table has what events were found in
        rows = [classifier.predict_frames(path).probabilities for path in sorted(set(table["path"]))]
        np.testing.assert_allclose(table[[f"p({label})" for label in LABELS]], np.concatenate(rows), atol=2e-6)
