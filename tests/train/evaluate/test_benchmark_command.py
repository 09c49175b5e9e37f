"""``aasp-train reproduce`` and ``tasks``."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from public_task_helpers import mini_crema_d, mini_esc50, mini_us8k
from typer.testing import CliRunner

from aasp_features import AaSPClassifier, AaSPConfig, AaSPEncoder
from aasp_features.train.cli import app
from aasp_features.train.evaluate import linear
from aasp_features.train.evaluate.finetune import recipes
from aasp_features.train.evaluate.finetune.recipes import load_recipe
from aasp_features.train.evaluate.tasks.public_tasks import PUBLIC_TASKS
from aasp_features.train.evaluate.tasks.reading import read_tasks

QUICKLY = ["run.epochs=1", "clips.seconds=0.5", "run.batch=32", "run.held_out=0"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def figures(text: str, title: str) -> list[str]:
    """Clips, our cell, the paper's and its protocol, of a row."""
    (row,) = re.findall(rf"^\| {title} \| \S+ \| (.*) \|$", text, re.MULTILINE)
    return row.split(" | ")


def test_ours_stands_beside_the_papers(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "EPOCHS", 3)  # what is asked for is that the two commands say the same
    monkeypatch.setattr(linear, "SEEDS", (42,))
    mini_esc50(tmp_path / "data" / "ESC-50", recordings=2)
    mini_crema_d(tmp_path / "data" / "CREMA-D")
    gone = tmp_path / "data" / "ESC-50" / "audio" / "2-2010-B-1.wav"
    gone.unlink()
    places = ["--cache", tmp_path / "cache"]
    done = run("reproduce", checkpoint, "--data-root", tmp_path / "data", "--out", tmp_path / "out", *places)
    assert done.exit_code == 0, done.output
    text = (tmp_path / "out" / "report.md").read_text()
    assert text in done.output
    both = [
        f"--task={name}:{tmp_path / 'data' / folder}" for name, folder in (("esc50", "ESC-50"), ("cremad", "CREMA-D"))
    ]
    alone = run("linear", checkpoint, *both, *places)  # what the general command says of the same tasks
    esc50, crema_d = re.findall(r"[\d.]+ \([\d.]+–[\d.]+\)", alone.output)[:2]
    assert figures(text, "ESC-50") == ["59 of 2,000", esc50, "97.5", "fine-tuning"]
    assert figures(text, "CREMA-D") == ["16 of 7,442", crema_d, "68.7", "linear evaluation, presumably"]
    assert figures(text, "UrbanSound8K") == ["0 of 8,732", "–", "89.7", "linear evaluation"]
    assert "esc50: clip counts differ from the official distribution (fold 1: 12 of 400, fold 2: 11 of 400" in text
    assert (tmp_path / "out" / "missing-esc50.txt").read_text() == f"{gone}\n"
    for name in ("as2m", "as20k", "spcv2", "us8k", "nsynth"):
        assert f"({name}): neither" in text
        assert PUBLIC_TASKS[name].source in text
    numbers = json.loads((tmp_path / "out" / "report.json").read_text())
    ours = {entry["task"]: list(entry["ours"].values()) for entry in numbers["benchmarks"]}
    assert f"{ours['esc50'][0]['value']:.1f}" == esc50.split()[0]
    assert ours["us8k"] == []
    assert numbers["tasks"]["esc50"]["found"]["2"] == 11


def test_what_cannot_be_evaluated_does_not_stop_the_rest(checkpoint: Path, tmp_path: Path) -> None:
    mini_crema_d(tmp_path / "CREMA-D")
    mini_us8k(tmp_path / "UrbanSound8K")
    broken = sorted((tmp_path / "UrbanSound8K" / "audio").glob("*/*-3-*.wav"))  # all clips of a class
    for clip in broken:
        clip.write_bytes(b"no sound")
    next((tmp_path / "CREMA-D").rglob("*.wav")).write_bytes(b"no sound")
    done = run("reproduce", "--quick", checkpoint, "--data-root", tmp_path, "--no-cache")
    assert done.exit_code == 2
    assert "us8k: found, but not evaluated; the report gives the reasons." in done.output
    assert "| ours by logistic regression, aasp-test-random-1" in done.output
    assert re.search(rf"UrbanSound8K \(us8k\): us8k: no clip of the class .*{re.escape(broken[0].name)}", done.output)
    assert re.search(r"cremad: .*1 of \d+ clips cannot be read and are skipped", done.output)
    assert figures(done.output, "UrbanSound8K")[1] == "–"
    assert figures(done.output, "CREMA-D")[1] != "–"


def test_nothing_found_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    done = run("reproduce", "no-such-checkpoint", "--data-root", tmp_path)
    assert done.exit_code == 2
    assert "holds none of the paper's benchmarks" in done.output
    assert "It comes from https://magenta.tensorflow.org/datasets/nsynth" in done.output
    gone = run("reproduce", "--data-root", tmp_path / "gone")
    assert (gone.exit_code, "does not exist" in gone.output) == (2, True)


def test_the_public_tasks_are_listed() -> None:
    done = run("tasks")
    assert done.exit_code == 0
    assert re.findall(r"^(\w+): ", done.output, re.MULTILINE) == list(PUBLIC_TASKS)
    for task in PUBLIC_TASKS.values():
        for fact in (task.title, f"{task.classes} classes", task.metric.name, task.splits, task.source, task.layout):
            assert fact in done.output
    assert "183,392 clips (train 148,896, validation 17,160, test 17,336)" in done.output


def test_finetuning_where_the_paper_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "load_task_recipe", lambda task, changes: load_recipe("small", QUICKLY))
    torch.manual_seed(0)
    config = AaSPConfig(name="made", dim=32, depth=2, heads=2, window=8, context=1)
    model = AaSPEncoder(config).save_pretrained(tmp_path / "model")
    mini_esc50(tmp_path / "data" / "ESC-50", recordings=2)
    mini_crema_d(tmp_path / "data" / "CREMA-D")
    runs = tmp_path / "runs"
    asked = ["reproduce", model, "--quick", "--no-cache", "--data-root", tmp_path / "data", "--finetune", runs]
    done = run(*asked, "--device", "cpu", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (runs / "made").iterdir()) == ["esc50"]  # CREMA-D's figure is a linear one
    assert len(list((runs / "made" / "esc50").iterdir())) == 5
    assert "| ours by fine-tuning, made | the paper's |" in done.output
    numbers = json.loads((tmp_path / "out" / "report.json").read_text())
    ours = {entry["task"]: entry["ours"] for entry in numbers["benchmarks"]}
    tuned = ours["esc50"]["made, fine-tuned"]["value"]
    (task,) = read_tasks([f"esc50:{tmp_path / 'data' / 'ESC-50'}"])
    values = []
    for split in task.splits():
        one = AaSPClassifier.from_pretrained(runs / "made" / "esc50" / split.name.replace(" ", "-"))
        told = one.scores([task.files[place] for place in split.test])
        values.append(task.value(split.test, told.astype(float)))
    assert tuned == pytest.approx(np.mean(values))
    assert "made, fine-tuned" not in ours["cremad"]


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    done = run("reproduce", "--data-root", tmp_path, "--device", "gpu")
    assert (done.exit_code, "device must be one that torch can use here" in done.output) == (2, True)
