"""``aasp-train probe`` from folders to tables."""

import re
from pathlib import Path

from teacher_helpers import write_callable, write_graph
from typer.testing import CliRunner

from aasp_features.train.cli import app


def test_probe_command(task_folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    options = ["--model", checkpoint, "--pooling", "mean", "--last-layers", 2, "--out", tmp_path / "table.md"]
    done = CliRunner().invoke(app, list(map(str, ["probe", "--tasks", task_folder.parent, *options])))
    assert done.exit_code == 0, done.output
    text = (tmp_path / "table.md").read_text()
    assert "| log-mel mean and std (1024 points) | 100.0" in text
    assert "| untrained, seed 2, `mean`, last 2 blocks |" in text
    assert "| aasp-test-random-1, `mean`, last 2 blocks |" in text
    done = CliRunner().invoke(app, ["probe", "--tasks", str(task_folder), "--folds", "5"])
    assert done.exit_code == 2
    assert "at least two" in done.output


def test_teachers_are_probed_beside(task_folder: Path, tmp_path: Path) -> None:
    write_callable(tmp_path / "teachers")
    write_graph(tmp_path / "teachers")
    options = ["--tasks", str(task_folder), "--teachers", str(tmp_path / "teachers"), "--no-untrained", "--no-log-mel"]
    done = CliRunner().invoke(app, ["probe", *options])
    assert done.exit_code == 0, done.output
    scores = dict(re.findall(r"^\| (teacher.*?) \| ([\d.]+) ", done.output, re.MULTILINE))
    assert list(scores) == ["teacher levels", "teacher peaks", "teachers levels, peaks side by side"]
    assert float(scores["teacher levels"]) == float(scores["teachers levels, peaks side by side"]) == 100.0
