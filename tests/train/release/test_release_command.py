"""``aasp-train export`` and ``card``, from a run's folder to what is passed on."""

import shutil
from pathlib import Path

import pytest
from huggingface_hub import metadata_load
from release_helpers import exported
from typer.testing import CliRunner, Result

from aasp_features import AaSPEncoder
from aasp_features.train.cli import app

TWO_HOSTS = "source,url,licence,seconds\na,https://one.org/a,CC0,30\nhttps://two.org/b,,MIT,60\n"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_from_a_run_to_a_card(runs: dict[str, Path], tmp_path: Path) -> None:
    checkpoint, kind = tmp_path / "ck", "aape"
    assert run("export", runs[kind], "--out", checkpoint, "--name", "aasp-tiny-test-1").exit_code == 0
    short = (checkpoint / "README.md").read_text()
    assert "license" not in metadata_load(checkpoint / "README.md")
    (tmp_path / "manifest.csv").write_text(TWO_HOSTS)
    (tmp_path / "limits.md").write_text("- Frogs only.\n")
    done = run("card", runs[kind], "--checkpoint", checkpoint, "--data", tmp_path / "manifest.csv")
    assert done.exit_code == 0, done.output
    options = ["--licence", "cc-by-4.0", "--limits", tmp_path / "limits.md", "--data", tmp_path]
    done = run("card", runs[kind], "--checkpoint", checkpoint, *options)
    assert done.exit_code == 0, done.output
    card = (checkpoint / "README.md").read_text()
    assert metadata_load(checkpoint / "README.md")["license"] == "cc-by-4.0"
    numbers = len(AaSPEncoder.from_pretrained(checkpoint).embed([0.1, 0.2] * 800))
    assert f"({numbers},) float32" in card
    assert "- Frogs only." in card
    assert "- weights: stored as float16, loaded as float32\n" in card
    attribution = (checkpoint / "ATTRIBUTION.md").read_text()
    assert "[a](https://one.org/a)" in attribution
    assert "<https://two.org/b>" in attribution
    # the short card of export holds the same sentences, but for what the author has now told
    assert [line for line in short.splitlines() if line not in card] == [
        "- The record does not say whether the training audio was lossily coded (MP3, Opus, AAC).",
        "No licence is stated for the weights.",
    ]


def test_without_sources_there_is_no_attribution(runs: dict[str, Path], tmp_path: Path) -> None:
    checkpoint = exported(runs["conv"])
    (tmp_path / "manifest.csv").write_text("licence\nCC0\n")
    assert run("card", runs["conv"], "--checkpoint", checkpoint, "--data", tmp_path).exit_code == 0
    assert "| CC0 | 1 |" in (checkpoint / "README.md").read_text()
    assert not (checkpoint / "ATTRIBUTION.md").exists()


@pytest.mark.parametrize(
    ("option", "content", "sentence"),
    [
        ("--template", b"# $nmae\n", "the template names $nmae; the fields are metadata, name, "),
        ("--limits", b"\xff", "is not UTF-8 text"),
        ("--data", b"licence,seconds\nCC0,x\n", "seconds must be a number"),
        ("--data", b"source,licence\na,CC0\n,CC0\n", "every row of the manifest needs a source"),
    ],
)
def test_wrong_files_change_nothing(
    runs: dict[str, Path], tmp_path: Path, option: str, content: bytes, sentence: str
) -> None:
    checkpoint = exported(runs["conv"])
    before = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    (tmp_path / "file").write_bytes(content)
    done = run("card", runs["conv"], "--checkpoint", checkpoint, option, tmp_path / "file")
    assert (done.exit_code, sentence in done.output) == (2, True), done.output
    assert before == {path.name: path.read_bytes() for path in checkpoint.iterdir()}


def test_a_run_without_metrics_has_a_card_without_losses(runs: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "state.safetensors").write_bytes((runs["conv"] / "state.safetensors").read_bytes())
    checkpoint = exported(folder)
    done = run("card", folder, "--checkpoint", checkpoint)
    assert done.exit_code == 0, done.output
    assert "| loss" not in (checkpoint / "README.md").read_text()


def test_what_is_read_is_never_replaced(runs: dict[str, Path], tmp_path: Path) -> None:
    """Each command that writes beside what it reads, given its own input as the place."""
    checkpoint, run_folder = Path(exported(runs["conv"])), Path(shutil.copytree(runs["conv"], tmp_path / "run"))
    (tmp_path / "page.html").hardlink_to(run_folder / "metrics.jsonl")
    (tmp_path / "graph.onnx").symlink_to(checkpoint / "model.safetensors")
    read = [*checkpoint.iterdir(), *run_folder.iterdir()]
    before = [path.read_bytes() for path in read]
    for command in (
        ("export", run_folder, "--out", checkpoint, "--name", "aasp-tiny-test-2", "--mix", f"{checkpoint}=0.5"),
        ("card", run_folder, "--checkpoint", checkpoint, "--results", checkpoint / "README.md"),
        ("report", run_folder, "--out", tmp_path / "page.html"),
        ("export-onnx", "--model", checkpoint, "--out", tmp_path / "graph.onnx"),
    ):
        done = run(*command)
        assert (done.exit_code, ", which is read; choose another output." in done.output) == (2, True), done.output
        assert [path.read_bytes() for path in read] == before
