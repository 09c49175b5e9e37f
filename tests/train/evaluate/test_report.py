"""Tables of results; confusion matrices against scikit-learn's."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluate_helpers import features_of, made_task
from sklearn.metrics import average_precision_score
from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix

from aasp_features.train.evaluate.classifier import logistic_regression
from aasp_features.train.evaluate.metrics import MEAN_AVERAGE_PRECISION
from aasp_features.train.evaluate.probe import probe
from aasp_features.train.evaluate.report import (
    as_json,
    confusion_matrix,
    confusion_table,
    differences,
    last_fold_table,
    precision_table,
    probe_report,
    remarks,
    table,
    write_report,
)

pytestmark = pytest.mark.usefixtures("one_penalty")


def test_report() -> None:
    task = replace(made_task(), missing=(Path("gone.wav"),))
    results = {
        name: {"made": probe(features_of(task, strength), task, logistic_regression)}
        for name, strength in (("strong", 30.0), ("weak", 0.5))
    }
    strong = results["strong"]["made"]
    lines = table([task], results).splitlines()
    assert lines[0] == "| | made | average |"
    assert lines[2].startswith(f"| strong | {strong.value:.1f} (")
    last = last_fold_table([task], results)
    assert last.splitlines()[2].startswith(f"| strong | {strong.splits['fold 5']:.1f} | ")
    paired = differences([task], results).splitlines()
    assert paired[2].startswith("| weak | +")
    assert float(paired[2].split("(")[1].split(" to ")[0]) > 0
    whole = probe_report([task], results, "Logistic regression", selection=False)
    assert whole.startswith("Logistic regression; in %, 95 % intervals: made balanced accuracy.")
    assert table([task], results) in whole
    assert last in whole
    assert "made: 1 of 151 clips are missing, the first is gone.wav." in whole
    chosen = probe_report([task], results, "Logistic regression", selection=True)
    assert "without the last fold or the test part" in chosen
    assert "The last fold alone" not in chosen
    numbers = json.loads(json.dumps(as_json([task], results, "Logistic regression", False)))
    assert numbers["results"]["strong"]["made"]["value"] == strong.value
    assert numbers["tasks"]["made"]["missing"] == ["gone.wav"]


def test_what_readers_should_know_of_the_tasks() -> None:
    task = made_task(parts=["train"] * 90 + ["validation"] * 30 + ["test"] * 30)
    assert remarks([task]) == []
    official = replace(task, expected={"train": 90, "validation": 30, "test": 30})
    assert remarks([official]) == []
    partial = replace(task, expected={"train": 90, "validation": 1030, "test": 20})
    assert remarks([official, partial]) == [
        "made: clip counts differ from the official distribution (validation: 30 of 1,030, test: 30 of 20)."
    ]
    lacking = replace(task, expected={"whole": 7442}, missing=(Path("a.wav"), Path("b.wav")), note="Made here.")
    assert remarks([lacking]) == [
        "made: clip counts differ from the official distribution (150 of 7,442). "
        "2 of 152 clips are missing, the first is a.wav. Made here."
    ]
    folds = replace(made_task(), expected={"1": 31, "2": 30})
    assert remarks([folds]) == ["made: clip counts differ from the official distribution (fold 1: 30 of 31)."]


def test_missing_clips_are_listed_in_files(tmp_path: Path) -> None:
    whole, lacking = made_task(), replace(made_task(), name="lacking", missing=(Path("a.wav"), Path("b\udce9.wav")))
    write_report(tmp_path / "new" / "out", [whole, lacking], "text", {"number": 1})
    out = tmp_path / "new" / "out"
    assert sorted(path.name for path in out.iterdir()) == ["missing-lacking.txt", "report.json", "report.md"]
    assert (out / "missing-lacking.txt").read_bytes() == b"a.wav\nb\xe9.wav\n"
    assert json.loads((out / "report.json").read_text()) == {"number": 1}


def test_confusions_are_scikit_learns() -> None:
    task = made_task()
    result = probe(features_of(task, 1.0), task, logistic_regression)
    matrix = confusion_matrix(task, result)
    said = np.argmax(result.scores[0], axis=1)
    np.testing.assert_array_equal(matrix, sklearn_confusion_matrix(task.labels[result.tested], said))
    assert matrix.sum() == 150
    recognised = np.mean(np.diagonal(matrix) / matrix.sum(axis=1))
    lines = confusion_table(matrix, task.classes).splitlines()
    shares = [float(line.split("|")[-2].removesuffix(" % ")) for line in lines[2:]]
    assert np.mean(shares) == np.mean(np.round(100 * np.diagonal(matrix) / matrix.sum(axis=1)))
    assert abs(100 * recognised - np.mean(shares)) < 1


def test_tables_line_up() -> None:
    lines = confusion_table(np.array([[10, 2], [0, 0]]), ["a|b", "a long name"]).splitlines()
    assert lines == [
        "|             | a\\|b | a long name | recognised |",
        "|-------------|-----:|------------:|-----------:|",
        "| a\\|b        |   10 |           2 |       83 % |",
        "| a long name |    0 |           0 |            |",
    ]


def test_many_classes_are_told_by_their_confusions() -> None:
    matrix = 10 * np.eye(30, dtype=np.int64)
    matrix[3, 7], matrix[9, 1] = 4, 9
    lines = confusion_table(matrix, [f"c{place}" for place in range(30)]).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert cells[2:] == [["c9", "c1", "9 of 19"], ["c3", "c7", "4 of 14"]]


@pytest.mark.filterwarnings("ignore:Label not 2 is present")
def test_precision_of_each_class() -> None:
    task = made_task()
    labels = np.stack([task.labels == 0, task.labels != 1, task.labels < 0], axis=1)  # the last is never heard
    task = replace(task, labels=labels, metric=MEAN_AVERAGE_PRECISION)
    result = probe(features_of(task, 1.0), task, logistic_regression)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in precision_table(task, result).splitlines()]
    for place in (0, 1):
        expected = 100 * average_precision_score(labels[result.tested, place], result.scores[0][:, place])
        assert rows[2 + place] == [task.classes[place], str(labels[:, place].sum()), f"{expected:.1f}"]
    assert rows[4] == ["c", "0", ""]
