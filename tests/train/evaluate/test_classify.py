"""What a classifier is made of, and what is written beside it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluate_helpers import features_of, made_task, write_tone

from aasp_features import AaSPClassifier, AaSPEncoder, CheckpointError, OptionError
from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate import classify
from aasp_features.train.evaluate.classifier import logistic_regression
from aasp_features.train.evaluate.probe import probe


def test_another_pooling_becomes_the_encoders_own(checkpoint: Path) -> None:
    encoder, folder = classify.load_encoder(str(checkpoint), "mean", 2)
    assert (encoder.config.pooling, encoder.config.last_layers, folder) == ("mean", 2, checkpoint)
    sound = np.random.default_rng(0).normal(size=9000).astype(np.float32) * 0.1
    given = AaSPEncoder.from_pretrained(checkpoint).embed(sound, pooling="mean", last_layers=2)
    np.testing.assert_array_equal(encoder.embed(sound), given)
    assert classify.load_encoder(str(checkpoint), None, None)[0].config.pooling == "frequency"
    with pytest.raises(OptionError, match="last_layers must be 1 to 2"):
        classify.load_encoder(str(checkpoint), None, 3)
    with pytest.raises(CheckpointError):
        classify.load_encoder("gone", None, None)


def test_where_it_may_be_written(tmp_path: Path) -> None:
    classify.check_free(tmp_path, False)
    classify.check_free(tmp_path / "new", False)
    (tmp_path / "something").touch()
    with pytest.raises(TrainError, match="is not empty"):
        classify.check_free(tmp_path, False)
    classify.check_free(tmp_path, True)
    with pytest.raises(TrainError, match="is a file"):
        classify.check_free(tmp_path / "something", True)
    with pytest.raises(OptionError, match=r"--out .*something/new cannot be written \(Not a directory\)"):
        classify.check_free(tmp_path / "something" / "new", True)


def test_one_task_with_names(task_folder: Path, tmp_path: Path) -> None:
    assert classify.read_task(str(task_folder)).classes == ("high", "low")
    (tmp_path / "second").symlink_to(task_folder)
    with pytest.raises(TrainError, match="holds 2 tasks"):
        classify.read_task(str(tmp_path))
    for label in ("a", "b" * 201):
        for index in range(5):
            write_tone(tmp_path / "folders" / label / f"{index}.wav", 300 + index)
    with pytest.raises(TrainError, match="a label is a name of 1 to 200 printable characters"):
        classify.read_task(str(tmp_path / "folders"))


def test_report_and_files(small_encoder: AaSPEncoder, tmp_path: Path) -> None:
    task = replace(made_task(), classes=("a", "b", "c", "never"), missing=(Path("gone.wav"),))
    vectors = features_of(task, 2.0, width=small_encoder.embedding_dim)
    result = probe(vectors, task, logistic_regression)
    classifier = classify.linear_classifier(small_encoder, vectors, task)
    assert "Add at least" not in classify.classifier_report(task, "vectors", result, classifier)
    rare = replace(task, labels=np.where(np.arange(150) < 147, task.labels, 3))
    assert "Add at least 2 groups of never" in classify.classifier_report(rare, "vectors", result, classifier)
    text = classify.classifier_report(task, "vectors", result, classifier)
    low, high = result.interval
    assert f"balanced accuracy {result.value:.1f} %, 95 % interval {low:.1f}–{high:.1f}." in text
    assert "No clip has the label never" in text
    assert "1 of 151 clips are missing, the first is gone.wav." in text
    (tmp_path / "encoder").mkdir()
    for name in ("LICENSE", "ATTRIBUTION.md", "other"):
        (tmp_path / "encoder" / name).write_text(name)
    numbers = classify.classifier_json(task, "vectors", result, classifier)
    classify.save(classifier, tmp_path / "out", text, numbers, tmp_path / "encoder")
    assert (tmp_path / "out" / "LICENSE").read_text() == "LICENSE"
    assert not (tmp_path / "out" / "other").exists()
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.endswith(text)
    assert f"AaSPClassifier.from_pretrained({str(tmp_path / 'out')!r})" in card
    read = json.loads((tmp_path / "out" / "report.json").read_text())
    assert np.sum(read["confusion"]) == 150
    assert (read["labels"], len(read["classes"])) == (["a", "b", "c"], 4)
    assert read["results"]["vectors"]["made"]["value"] == result.value
    assert AaSPClassifier.from_pretrained(tmp_path / "out").labels == ("a", "b", "c")
