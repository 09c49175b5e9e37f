"""``aasp-train classify``, from a folder of sounds to names of new ones."""

import json
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluate_helpers import write_tone
from finetune_helpers import tiny_encoder
from helpers import read_csv, run_command
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aasp_features import AaSPClassifier, AaSPEncoder
from aasp_features.cli import app as aasp_embed
from aasp_features.config import AaSPConfig
from aasp_features.train.cli import app

pytestmark = pytest.mark.usefixtures("one_penalty")


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """A folder of low tones and one of high ones."""
    rng = np.random.default_rng(0)
    for index in range(12):
        low, high = (frequency * rng.uniform(0.9, 1.1) for frequency in (300, 2000))
        write_tone(tmp_path / "tones" / "low" / f"{index}.wav", low, index)
        write_tone(tmp_path / "tones" / "high" / f"{index}.wav", high, index)
    return tmp_path / "tones"


def classify(*arguments: object) -> tuple[int, str, str]:
    done = run_command(app, "classify", *arguments)
    return done.returncode, done.stdout, done.stderr


def test_a_folder_of_classes(tones: Path, checkpoint: Path, tmp_path: Path) -> None:
    options = ["--model", checkpoint, "--cache", tmp_path / "cache"]
    code, said, told = classify(tones, "--out", tmp_path / "out", *options)
    assert (code, told.splitlines()[-1]) == (0, f"wrote {tmp_path / 'out'}")
    score = re.search(r"Held out \(5 folds, each held out in turn\): balanced accuracy ([\d.]+) %, 95 % interval", said)
    assert float(score[1]) > 90
    assert "| high |" in said
    assert said in (tmp_path / "out" / "README.md").read_text()
    files = [*sorted((tones / "high").iterdir()), *sorted((tones / "low").iterdir())]
    vectors = AaSPEncoder.from_pretrained(checkpoint).embed(files).astype(np.float64)
    labels = ["high"] * 12 + ["low"] * 12
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=5000, tol=1e-8))
    expected = pipeline.fit(vectors, labels).predict_proba(vectors)
    classifier = AaSPClassifier.from_pretrained(tmp_path / "out")
    np.testing.assert_allclose(classifier.scores(files), expected, atol=2e-3)
    write_tone(tmp_path / "new" / "tone.wav", 310, 99)
    assert classifier.predict(tmp_path / "new" / "tone.wav")[0].label == "low"
    done = run_command(
        aasp_embed, tmp_path / "new", "--out", tmp_path / "emb.npy", "--classifier", tmp_path / "out", "--frames"
    )
    assert done.returncode == 0, done.stderr
    assert {row["label"] for row in read_csv(tmp_path / "emb.events.csv")} == {"low"}
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert classify(tones, "--out", tmp_path / "out", *options, "--overwrite")[:2] == (0, said)  # with the kept vectors
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_several_labels_a_sound(tones: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = AaSPEncoder(AaSPConfig.tiny(depth=2)).save_pretrained(tmp_path / "model")
    rows = [f"low/{index}.wav,low;{'soft' if index % 4 < 2 else 'loud'}" for index in range(12)]
    rows += [f"high/{index}.wav,high;{'soft' if index % 4 < 2 else 'loud'}" for index in range(12)]
    (tones / "labels.csv").write_text("\n".join(["file,label", *rows]))
    options = ["--model", model, "--no-cache", "--pooling", "mean"]
    code, said, told = classify(tones, "--out", tmp_path / "out", *options)
    assert code == 0, told
    assert "mAP" in said
    assert re.search(r"\| low  \|\s+12 \|\s+100.0 \|", said)
    classifier = AaSPClassifier.from_pretrained(tmp_path / "out")
    assert (classifier.multi_label, classifier.labels) == (True, ("high", "loud", "low", "soft"))
    assert classifier.encoder.config.pooling == "mean"
    found = dict(classifier.predict(tones / "low" / "0.wav"))
    assert found["low"] > 0.5 > found["high"]


def test_the_bundled_encoder_takes_its_licences_along(sounds: Path, tmp_path: Path) -> None:
    for kind in ("music", "nature"):
        for number in range(5):
            (tmp_path / "few" / kind).mkdir(parents=True, exist_ok=True)
            source = sorted((sounds / kind).iterdir())[number % 2]
            shutil.copy(source, tmp_path / "few" / kind / f"{number}{source.suffix}")
    code, _, told = classify(tmp_path / "few", "--out", tmp_path / "out", "--no-cache")
    assert code == 0, told
    assert {"LICENSE", "ATTRIBUTION.md", "README.md", "classifier.json"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    again = AaSPClassifier.from_pretrained(tmp_path / "out")
    bundled = AaSPEncoder.from_pretrained()
    assert torch.equal(again.encoder.network.cls, bundled.network.cls)
    assert again.encoder.config == bundled.config


@pytest.mark.usefixtures("few_epochs")
def test_finetuning_on_request(tones: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = AaSPConfig(name="made", dim=32, depth=2, heads=2, window=8, context=1)
    model = AaSPEncoder(config).save_pretrained(tmp_path / "model")
    options = ["--out", tmp_path / "out", "--model", model, "--finetune", "--device", "cpu"]
    settings = ["run.epochs=1", "clips.seconds=0.5", "run.batch=8", "run.held_out=0"]
    code, said, told = classify(tones, *settings, *options)
    assert code == 0, told
    assert "fine-tuning on made by the recipe small." in said
    assert "Held out (5 folds, each held out in turn)" in said
    numbers = json.loads((tmp_path / "out" / "report.json").read_text())
    assert np.sum(numbers["confusion"]) == 24
    tuned = AaSPClassifier.from_pretrained(tmp_path / "out")
    assert not torch.equal(tuned.encoder.network.cls, AaSPEncoder.from_pretrained(model).network.cls)
    for path in [*(tmp_path / "out").iterdir()]:  # as if it had been stopped before the classifier was written
        if path.is_file():
            path.unlink()
    assert classify(tones, *settings, *options)[:2] == (0, said)
    assert torch.equal(AaSPClassifier.from_pretrained(tmp_path / "out").head.weight, tuned.head.weight)


@pytest.fixture
def quick(tmp_path: Path) -> list[object]:
    """Options of a command with a small checkpoint."""
    model = tiny_encoder(pooling="frequency").save_pretrained(tmp_path / "model")
    return ["--model", model, "--out", tmp_path / "out", "--cache", tmp_path / "cache"]


def keep(folder: Path, low: int, high: int) -> None:
    """So many sounds of each class."""
    for name, count in (("low", low), ("high", high)):
        for index in range(count, 12):
            (folder / name / f"{index}.wav").unlink()


@pytest.mark.parametrize(
    ("low", "high", "sentences"),
    [
        (2, 2, ["4 folds", "each fold is a single clip", "Add at least 3 clips of high, 3 clips of low"]),
        (1, 1, ["2 folds", "1 clip of high, 1 clip of low can only be recognised by chance"]),
        (5, 2, ["5 folds", "scored together", "Add at least 3 clips of high, so that", "too few clips to choose it"]),
        (
            1,
            11,
            ["1 clip of low can only be recognised by chance", "balanced accuracy 50.0 %", "saved classifier is 0.1"],
        ),
        (12, 12, ["balanced accuracy 100.0 %, 95 % interval by Clopper and Pearson 85.8–100.0."]),
    ],
)
def test_few_clips_make_a_classifier(
    tones: Path, quick: list[object], tmp_path: Path, low: int, high: int, sentences: list[str]
) -> None:
    keep(tones, low, high)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code, said, told = classify(tones, *quick)
    assert (code, told.splitlines()[-1]) == (0, f"wrote {tmp_path / 'out'}")
    assert [sentence for sentence in sentences if sentence not in said] == []
    least, most = map(float, re.search(r"interval by Clopper and Pearson ([\d.]+)–([\d.]+)\.", said).groups())
    assert most - least > 14
    classifier = AaSPClassifier.from_pretrained(tmp_path / "out")
    assert classifier.predict(tones / "low" / "0.wav")[0].label == "low"  # which it has learnt from


def test_clips_that_cannot_be_read_are_left_out_as_if_they_were_not_there(
    tones: Path, quick: list[object], tmp_path: Path
) -> None:
    for index in (3, 5):
        (tones / "low" / f"{index}.wav").write_bytes(b"RIFF")
    code, said, told = classify(tones, *quick)
    assert code == 0, told
    line = "tones: 2 of 24 clips cannot be read and are skipped: "
    assert line in said
    assert line in told
    listed = read_csv(tmp_path / "out" / "unreadable-tones.csv")
    assert [row["file"] for row in listed] == [str(tones / "low" / f"{index}.wav") for index in (3, 5)]
    head = (tmp_path / "out" / "classifier.safetensors").read_bytes()
    for row in listed:
        Path(row["file"]).unlink()
    code, clean, _ = classify(tones, *quick, "--overwrite")
    assert clean.splitlines() == said.splitlines()[:-2]  # but for the line on them
    assert (tmp_path / "out" / "classifier.safetensors").read_bytes() == head
    assert not (tmp_path / "out" / "unreadable-tones.csv").exists()


def test_what_is_left_out_of_a_folder_is_said(tones: Path, quick: list[object]) -> None:
    write_tone(tones / "loose.wav", 300)
    (tones / "none").mkdir()
    code, said, told = classify(tones, *quick)
    assert code == 0, told
    assert f"Left out: {tones / 'loose.wav'} (sounds outside the class folders; move each" in said
    assert f"{tones / 'none'} (folders without sounds)." in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["gone", "--out", "out"], "gone is no file or folder"),
        (["tones", "--out", "tones"], "--out tones is not empty"),
        (["tones/low", "--out", "out"], "must hold at least two folders with sounds"),
        (["tones", "--out", "out", "--model", "gone"], "'gone' is no folder"),
        (["tones", "--out", "out", "--pooling", "max"], "'max' is not one of"),
        (["tones", "--out", "file/out", "--model", "gone"], "--out file/out cannot be written (Not a directory)"),
        (["tones", "run.epochs=1", "--out", "out"], "'run.epochs=1' needs --finetune"),
        (["tones", "--out", "out", "--recipe", "esc50"], "--recipe esc50 needs --finetune"),
        (["tones", "--out", "out", "--device", "cpu"], "--device cpu needs --finetune"),
        (["tones", "run.epoch=1", "--out", "out", "--finetune"], "there is no setting 'run.epoch'"),
    ],
)
def test_what_goes_wrong_is_a_sentence(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    code, said, told = classify(*arguments)
    assert (code, said, len(told.splitlines())) == (2, "", 1)
    assert sentence in told
    assert not (tmp_path / "out").exists()


def test_what_is_read_is_never_replaced(tones: Path, checkpoint: Path, tmp_path: Path) -> None:
    """The checkpoint, and a sound that a link in the classifier's folder leads to."""
    out = Path(shutil.copytree(checkpoint, tmp_path / "out"))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    code, _, told = classify(tones, "--out", out, "--model", out, "--overwrite")
    assert (code, ", which is read; choose another output." in told) == (2, True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    sound = tones / "low" / "0.wav"
    (out / "report.json").hardlink_to(sound)
    before = sound.read_bytes()
    code, _, told = classify(tones, "--out", out, "--model", checkpoint, "--overwrite")
    assert (code, f"writing {out / 'report.json'} would replace {sound}, which is read" in told) == (2, True)
    assert sound.read_bytes() == before
