"""``aasp-train linear`` and ``knn``, from folders to reports."""

import json
import re
from pathlib import Path

import pytest
from teacher_helpers import write_callable, write_graph
from typer.testing import CliRunner

from aasp_features.train.cli import app


@pytest.mark.parametrize("command", [["linear", "--quick"], ["knn"]])
def test_reports(command: list[str], task_folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    options = ["--pooling", "mean", "--last-layers", 2, "--beside", "log-mel", "--beside", "untrained"]
    places = ["--out", tmp_path / "out", "--cache", tmp_path / "cache"]
    arguments = [*command, checkpoint, "--task", task_folder.parent, *options, *places]
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    text = (tmp_path / "out" / "report.md").read_text()
    assert text in done.output
    rows = re.findall(r"^\| (.*?) \| ([\d.]+) \(", text, re.MULTILINE)
    own = "aasp-test-random-1, `mean`, last 2 blocks"
    untrained = [f"untrained, seed {seed}, `mean`, last 2 blocks" for seed in range(3)]
    assert [name for name, _ in rows] == [own, "log-mel mean and std (1024 points)", *untrained]
    assert float(dict(rows)["log-mel mean and std (1024 points)"]) > 90
    numbers = json.loads((tmp_path / "out" / "report.json").read_text())
    assert f"{numbers['results'][own]['tones']['value']:.1f}" == dict(rows)[own]
    again = CliRunner().invoke(app, list(map(str, arguments)))
    assert again.output == done.output  # with the kept vectors


def test_several_k_stand_beside_each_other(task_folder: Path, checkpoint: Path) -> None:
    header, *rows = (task_folder / "labels.csv").read_text().splitlines()
    wrong = [row.replace("low", "high") if place % 8 == 0 else row for place, row in enumerate(rows)]
    (task_folder / "labels.csv").write_text("\n".join([header, *wrong]))  # so that one neighbour says less than twenty
    arguments = ["knn", str(checkpoint), "--task", str(task_folder), "--no-cache", "--beside", "log-mel"]
    counts = {}
    for wanted in ([], ["--k", "20"], ["--k", "1", "--k", "20"]):
        done = CliRunner().invoke(app, [*arguments, *wanted])
        assert done.exit_code == 0, done.output
        counts[len(wanted)] = dict(re.findall(r"^\| (.*?) \| ([\d.]+ \([\d.–]+\))", done.output, re.MULTILINE))
    assert list(counts[4]) == [f"{name}, k = {k}" for name in counts[0] for k in (1, 20)]
    assert counts[0] == counts[2] == {name: counts[4][f"{name}, k = 20"] for name in counts[0]}
    assert counts[0] != {name: counts[4][f"{name}, k = 1"] for name in counts[0]}
    assert CliRunner().invoke(app, [*arguments, "--k", "0"]).exit_code == 2


@pytest.mark.usefixtures("few_epochs")
def test_the_linear_layer_reports_too(task_folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    table = task_folder / "labels.csv"
    header, *rows = table.read_text().splitlines()
    parts = ["train"] * 24 + ["validation"] * 8 + ["test"] * 8
    table.write_text("\n".join([f"{header},split", *(f"{row},{part}" for row, part in zip(rows, parts, strict=True))]))
    done = CliRunner().invoke(app, ["linear", str(checkpoint), "--task", str(task_folder), "--no-cache"])
    assert done.exit_code == 0, done.output
    assert "Linear layer; in %, 95 % intervals: tones balanced accuracy." in done.output
    assert "The last fold alone" not in done.output


def test_teachers_are_measured_beside(task_folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    write_callable(tmp_path / "teachers")
    write_graph(tmp_path / "teachers")
    cards = [option for card in sorted((tmp_path / "teachers").glob("*.yaml")) for option in ("--beside", str(card))]
    arguments = ["linear", "--quick", str(checkpoint), "--task", str(task_folder), "--no-cache", *cards]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    scores = dict(re.findall(r"^\| (teacher.*?) \| ([\d.]+) \(", done.output, re.MULTILINE))
    assert list(scores) == ["teacher levels", "teacher peaks", "teachers levels, peaks side by side"]
    assert float(scores["teacher levels"]) == float(scores["teachers levels, peaks side by side"]) == 100.0


def test_wrong_options_come_before_any_work(task_folder: Path) -> None:
    for wrong in (["--task", "gone"], ["--task", str(task_folder), "--beside", "mfcc"]):
        done = CliRunner().invoke(app, ["knn", "no-such-checkpoint", *wrong])
        assert done.exit_code == 2
        assert wrong[-1] in done.output
