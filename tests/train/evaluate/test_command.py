"""``linear``, ``knn``, ``robustness``, ``stability``, ``reproduce`` and ``tasks``, from folders to reports."""

import json
import re
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import Result
from evaluate_helpers import write_tone
from helpers import read_csv
from PIL import Image
from public_task_helpers import mini_crema_d, mini_esc50, mini_us8k
from teacher_helpers import write_callable, write_graph
from typer.testing import CliRunner

from aasp_features import AaSPClassifier, AaSPConfig, AaSPEncoder
from aasp_features.folder import progress
from aasp_features.train.cli import app
from aasp_features.train.evaluate import linear
from aasp_features.train.evaluate.finetune import recipes
from aasp_features.train.evaluate.finetune.recipes import load_recipe
from aasp_features.train.evaluate.probe import telling_time
from aasp_features.train.evaluate.robustness import CONDITIONS
from aasp_features.train.evaluate.tasks.public_tasks import PUBLIC_TASKS
from aasp_features.train.evaluate.tasks.reading import read_tasks

pytestmark = pytest.mark.usefixtures("one_penalty")


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
    assert again.stdout == done.stdout  # with the kept vectors


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


@pytest.mark.parametrize("command", [["linear", "--quick"], ["knn"]])
def test_clips_that_cannot_be_read_are_listed(
    command: list[str], task_folder: Path, checkpoint: Path, tmp_path: Path
) -> None:
    for index in (3, 8):
        (task_folder / "audio" / f"{index}.wav").write_bytes(b"no sound")
    options = ["--task", str(task_folder), "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    done = CliRunner().invoke(app, [*command, str(checkpoint), *options])
    assert done.exit_code == 0, done.output
    line = "tones: 2 of 40 clips cannot be read and are skipped: "
    assert line in done.stdout
    assert line in done.stderr
    rows = read_csv(tmp_path / "out" / "unreadable-tones.csv")
    assert [Path(row["file"]).name for row in rows] == ["3.wav", "8.wav"]
    numbers = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (numbers["tasks"]["tones"]["clips"], len(numbers["tasks"]["tones"]["unreadable"])) == (38, 2)


@pytest.mark.parametrize("command", [["linear", "--quick"], ["linear"], ["knn"]])
@pytest.mark.usefixtures("few_epochs")
def test_few_clips_are_a_result_or_a_sentence(command: list[str], checkpoint: Path, tmp_path: Path) -> None:
    for name in ("low", "high"):
        write_tone(tmp_path / "two" / name / "1.wav", 300)
        write_tone(tmp_path / "four" / name / "1.wav", 300 if name == "low" else 2000)
        write_tone(tmp_path / "four" / name / "2.wav", 310 if name == "low" else 2010, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = {
            name: CliRunner().invoke(app, [*command, str(checkpoint), "--task", str(tmp_path / name), "--no-cache"])
            for name in ("two", "four")
        }
    assert done["four"].exit_code == 0, done["four"].output
    assert "There are few clips, so each fold is a single clip." in done["four"].stdout
    assert "Intervals are Clopper and Pearson's where a bootstrap fails" in done["four"].stdout
    assert "The last fold alone" not in done["four"].stdout
    if command == ["linear"]:
        assert done["two"].exit_code == 2
        reason = "fold 1: its training clips are of a single group, so none can be held out for validation"
        assert f"aasp-train: task two is too small ({reason}); give it more clips.\n" in done["two"].stderr
    else:
        assert "1 clip of high, 1 clip of low can only be recognised by chance" in done["two"].stdout


@pytest.mark.parametrize("command", [["linear"], ["knn"], ["robustness"], ["stability"]])
def test_a_place_that_cannot_be_written_comes_before_any_work(
    command: list[str], task_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    tasks = [] if command == ["stability"] else ["--task", str(task_folder)]
    done = CliRunner().invoke(app, [*command, "no-such-checkpoint", *tasks, "--out", str(tmp_path / "file" / "out")])
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"--out {tmp_path / 'file' / 'out'} cannot be written (Not a directory)" in done.stderr


def test_long_work_without_steps_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY", 0.001)
    before, said = threading.active_count(), ""
    with telling_time("mine: fitting"):
        while "\n" not in said:
            said += capsys.readouterr().err
    assert said.startswith("mine: fitting for 0:0")
    assert threading.active_count() == before


@pytest.mark.parametrize("reader", [[], ["--knn"]])
def test_robustness_without_warnings(reader: list[str], checkpoint: Path, tmp_path: Path) -> None:
    for number in range(10):
        name, hertz = (("low", 300), ("high", 3000))[number % 2]
        (tmp_path / "mine" / name).mkdir(parents=True, exist_ok=True)
        tone = 0.99 * np.sin(2 * np.pi * hertz * np.arange(3000 + number) / 16000)
        soundfile.write(tmp_path / "mine" / name / f"{number}.wav", tone, 16000)
    (tmp_path / "mine" / "low" / "broken.wav").write_bytes(b"no sound")
    options = ["--task", str(tmp_path / "mine"), "--no-cache", "--out", str(tmp_path / "out"), *reader]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "(?s).*full scale")
        result = CliRunner().invoke(app, ["robustness", str(checkpoint), *options])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "out" / "report.md").read_text()
    assert text in result.stdout
    assert text.startswith("k-nearest neighbours (k = 20)" if reader else "Logistic regression")
    assert "broken.wav,not a sound file" in (tmp_path / "out" / "unreadable-mine.csv").read_text()
    numbers = json.loads((tmp_path / "out" / "report.json").read_text())
    (rows,) = numbers["methods"].values()
    assert list(rows) == ["whole and clean", *(condition.name for condition in CONDITIONS)]
    for name, row in rows.items():
        assert f"| {name} | {row['mine']['value']:.1f} (" in text


PEER = """
import numpy as np


class Mean:
    sample_rate = 8000

    def __call__(self, waveform, rate):
        return [np.abs(waveform).mean(), waveform.std()]

    def frames(self, waveform, rate):
        return np.abs(waveform[: len(waveform) // 10 * 10]).reshape(10, -1).mean(axis=1, keepdims=True)


load = Mean
"""


@pytest.mark.usefixtures("few_modulations")
def test_report_numbers_and_picture(checkpoint: Path, sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "mean.py").write_text(PEER)
    options = ["--sounds", str(sounds), "--recordings", "4", "--seconds", "0.5", "--out", str(tmp_path / "out")]
    beside = ["--beside", str(tmp_path / "mean.py"), "--beside", "log-mel"]
    result = CliRunner().invoke(app, ["stability", str(checkpoint), *options, *beside])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "out" / "stability.md").read_text()
    assert text in result.stdout
    numbers = json.loads((tmp_path / "out" / "stability.json").read_text())
    names = list(numbers["methods"])
    assert [name.split(",")[0] for name in names] == [
        "aasp-test-random-1",
        "log-mel mean and std (1024 points)",
        "mean",
    ]
    assert [len(numbers["methods"][name]["changes"]["frames"]) for name in names] == [16, 0, 16]
    assert all(name in text for name in names)
    assert Image.open(tmp_path / "out" / "stability.png").width > 1000


@pytest.mark.usefixtures("few_modulations")
def test_without_sounds_only_modulation_is_read(checkpoint: Path) -> None:
    result = CliRunner().invoke(app, ["stability", str(checkpoint)])
    assert result.exit_code == 0, result.output
    assert "R² of the rate" in result.stdout
    assert "moved" not in result.stdout


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


@pytest.mark.usefixtures("few_epochs")
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


@pytest.mark.parametrize("command", ["linear", "knn", "robustness", "stability", "reproduce"])
def test_a_device_that_is_not_there(command: str, task_folder: Path) -> None:
    options = {"stability": [], "reproduce": ["--data-root", task_folder]}.get(command, ["--task", task_folder])
    done = run(command, *options, "--device", "gpu")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--device must be one that torch can use here" in done.stderr
