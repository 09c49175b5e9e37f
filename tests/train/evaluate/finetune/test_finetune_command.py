"""``aasp-train finetune``, from a folder to a classifier."""

import json
from pathlib import Path

import pytest
from finetune_helpers import tiny_encoder
from typer.testing import CliRunner

from aasp_features.classifier import AaSPClassifier
from aasp_features.train.cli import app
from aasp_features.train.evaluate.finetune.command import checkpoint_and_settings

SETTINGS = ["clips.seconds=0.32", "network.head=zero", "run.epochs=2", "run.batch=8"]


def run(*arguments: object) -> object:
    return CliRunner().invoke(app, ["finetune", *map(str, arguments)])


@pytest.fixture(scope="module")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder().save_pretrained(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which sounds can be read."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_one_fold_makes_a_classifier(task_folder: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = [tiny_checkpoint, "--task", task_folder, "--out", out, "--fold", 5, "--device", "cpu", *SETTINGS]
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    assert (out / "report.md").read_text() in done.output
    assert json.loads((out / "report.json").read_text())["runs"][0]["split"] == "fold 5"
    assert AaSPClassifier.from_pretrained(out).labels == ("high", "low")
    assert "Recipe small, 8 steps" in (out / "README.md").read_text()
    report = (out / "report.md").read_text()
    assert run(*arguments).exit_code == 0  # it is complete, and says so again
    assert (out / "report.md").read_text() == report
    page = CliRunner().invoke(app, ["report", str(out), "--out", str(tmp_path / "page.html")])
    assert page.exit_code == 0, page.output
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert all(name in text for name in ("loss train", "loss validation", "metric on"))
    assert "<td>optimizer.layer_decay</td>" in text
    assert "Changed from the preset" not in text  # presets of pre-training


def test_several_runs_have_folders_of_their_own(task_folder: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(
        *(tiny_checkpoint, "--task", task_folder, "--out", out, "--fold", 1, "--fold", 2, "--recipe", "esc50"),
        *(*SETTINGS, "run.epochs=1"),
    )
    assert done.exit_code == 0, done.output
    assert [path.name for path in sorted((out / "tones").iterdir())] == ["fold-1", "fold-2"]
    assert AaSPClassifier.from_pretrained(out / "tones" / "fold-2").multi_label is False
    assert "| tones | fold 2 |" in done.output


def test_clips_that_cannot_be_read_are_left_out(task_folder: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    (task_folder / "audio" / "3.wav").write_bytes(b"no sound")
    done = run(tiny_checkpoint, "--task", task_folder, "--out", tmp_path / "out", "--fold", 5, *SETTINGS)
    assert done.exit_code == 0, done.output
    assert "tones: 1 of 40 clips cannot be read and are skipped: " in done.stdout
    assert "3.wav,not a sound file" in (tmp_path / "out" / "unreadable-tones.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--fold", "9"], "--fold of tones must be one of 1, 2, 3, 4, 5, got '9'"),
        (["--recipe", "huge"], "--recipe must be a .yaml file or one of"),
        (["run.epoch=3"], "there is no setting 'run.epoch'"),
        (["--max-time", "0"], "--max-time must be above 0 minutes"),
        (["--device", "gpu"], "device must be one that torch can use here"),
        (["--task", "gone"], "gone is no file or folder"),
        (["clips.seconds=2"], "clips.seconds must be at most 1.28"),
        (["network.last_layers=3"], "last_layers must be at most depth=2"),
    ],
)
def test_wrong_input_is_a_sentence(
    task_folder: Path, tiny_checkpoint: Path, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    done = run(tiny_checkpoint, "--task", task_folder, "--out", tmp_path / "out", *arguments)
    assert done.exit_code == 2
    assert sentence in done.output
    assert "Traceback" not in done.output


def test_a_checkpoint_need_not_be_named(task_folder: Path, tmp_path: Path) -> None:
    arguments = ["--task", task_folder, "--out", tmp_path / "out", "--fold", 5, "--device", "cpu"]
    done = run("network.last_layers=13", *arguments)
    assert (done.exit_code, "last_layers must be at most depth=12" in done.output) == (2, True)  # the bundled one's


@pytest.mark.parametrize(
    ("arguments", "parted"),
    [
        ([], (None, [])),
        (["a=1", "b=2"], (None, ["a=1", "b=2"])),
        (["a=1", "name", "b=2"], ("name", ["a=1", "b=2"])),
        (["folder=1", "b=2"], ("folder=1", ["b=2"])),
        (["org/name@main"], ("org/name@main", [])),
    ],
)
def test_settings_have_an_equals_sign_and_are_no_folder(
    arguments: list[str], parted: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder=1").mkdir()
    assert checkpoint_and_settings(arguments) == parted


def test_two_checkpoints_are_a_sentence(task_folder: Path, tmp_path: Path) -> None:
    done = run("one", "two", "run.epochs=1", "--task", task_folder, "--out", tmp_path / "out")
    assert (done.exit_code, "one checkpoint and key=value settings, got 'one' and 'two'" in done.output) == (2, True)


def test_no_such_checkpoint(task_folder: Path, tmp_path: Path) -> None:
    done = run("no such", "--task", task_folder, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "is no folder and no checkpoint's name" in done.output
