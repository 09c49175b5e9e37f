"""The example scripts do what their first lines say."""

import contextlib
import io
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import psutil
import pytest
import soundfile
from typer.testing import CliRunner
from warm_process import run_python

from aasp_features import AaSPClassifier, AaSPEncoder
from aasp_features.folder import embed_sounds, find_sounds
from aasp_features.train.cli import app
from aasp_features.train.run.state import read_record

ROOT = Path(__file__).resolve().parents[1]
TEACHER = """
import numpy as np


def load(files):
    return lambda waveform: np.stack([waveform.std(axis=1), np.abs(waveform).mean(axis=1)], axis=1)
"""


def run_example(name: str, *arguments: object) -> None:
    """As from the command line, in this process."""
    with mock.patch.object(sys, "argv", [name, *map(str, arguments)]):
        runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")


@pytest.mark.usefixtures("shallow", "few_epochs")
def test_fine_tuning_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for number in range(5):
        for kind, frequency in (("high", 2000), ("low", 300)):
            (tmp_path / "mine" / kind).mkdir(parents=True, exist_ok=True)
            tone = np.sin(np.arange(4000) * (2 * np.pi * (frequency + 10 * number) / 16000)).astype(np.float32)
            soundfile.write(tmp_path / "mine" / kind / f"{number}.wav", tone, 16000)
    run_example("fine_tune.py", tmp_path / "mine", tmp_path / "out", "run.epochs=1", "run.batch=4")
    said = capsys.readouterr().out
    assert re.search(r"^held out: [\d.]+ % \(", said)
    assert len(said.splitlines()) == 3
    assert AaSPClassifier.from_pretrained(tmp_path / "out").labels == ("high", "low")


def test_few_shot_names_the_examples_themselves(sounds: Path, capsys: pytest.CaptureFixture) -> None:
    run_example("few_shot.py", sounds, sounds)
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 12
    assert all(Path(file).parent.name == name for name, _, _, file in rows)


def test_clusters_and_outliers(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Tones and noises are two groups, and a click among them is the outlier; from the folder or from its vectors."""
    rng = np.random.default_rng(0)
    for index in range(5):
        tone = 0.2 * np.sin(2 * np.pi * (400 + 10 * index) * np.arange(16000) / 16000)
        soundfile.write(tmp_path / f"tone{index}.wav", tone, 16000)
        soundfile.write(tmp_path / f"noise{index}.wav", 0.1 * rng.standard_normal(16000), 16000)
    click = np.zeros(16000)
    click[8000:8020] = 0.9
    soundfile.write(tmp_path / "click.wav", click, 16000)
    run_example("cluster_sounds.py", tmp_path, 3)
    printed = capsys.readouterr().out
    groups, outliers = printed.split("least like any other")
    found = [set(re.findall(r"(\w+?)\d?\.wav", group)) for group in groups.split("group ")[1:]]
    assert sorted(map(sorted, found)) == [["click"], ["noise"], ["tone"]]
    assert "click.wav" in outliers.splitlines()[1]
    embed_sounds(AaSPEncoder.from_pretrained(), find_sounds(tmp_path), tmp_path / "emb.npy")
    run_example("cluster_sounds.py", tmp_path, 3, tmp_path / "emb.npy")
    assert capsys.readouterr().out == printed


def test_events_are_where_the_sounds_are(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Two seconds of noise in the midst of a tone, learnt from clips of each."""
    rng = np.random.default_rng(0)

    def tone(seconds: float, frequency: float) -> np.ndarray:
        return 0.2 * np.sin(2 * np.pi * frequency * np.arange(int(16000 * seconds)) / 16000)

    for name in ("tone", "noise"):
        (tmp_path / "clips" / name).mkdir(parents=True)
        for index in range(6):
            clip = tone(1, 400 + 20 * index) if name == "tone" else 0.1 * rng.standard_normal(16000)
            soundfile.write(tmp_path / "clips" / name / f"{index}.wav", clip, 16000)
    recording = np.concatenate([tone(3, 430), 0.1 * rng.standard_normal(32000), tone(3, 430)])
    soundfile.write(tmp_path / "recording.wav", recording, 16000)
    options = [str(tmp_path / "clips"), "--out", str(tmp_path / "classifier"), "--no-cache"]
    assert CliRunner().invoke(app, ["classify", *options]).exit_code == 0
    run_example("detect_events.py", tmp_path / "classifier", tmp_path / "recording.wav")
    events = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [label for _, _, label in events] == ["tone", "noise", "tone"]
    bounds = [[float(start), float(end)] for start, end, _ in events]
    np.testing.assert_allclose(bounds, [[0, 3], [3, 5], [5, 8]], atol=0.5)  # half of the time that is averaged


def test_the_picture_of_similarities(tmp_path: Path) -> None:
    """It is drawn, and shows what it says: while a sound is heard, the vectors are most like that sound's own."""
    pytest.importorskip("matplotlib")
    assert (ROOT / "docs" / "similarity.png").stat().st_size < 150_000
    script = runpy.run_path(str(ROOT / "examples" / "plot_similarity.py"))
    figure = script["draw"](AaSPEncoder.from_pretrained())
    figure.savefig(tmp_path / "similarity.png")
    alike = figure.axes[1].images[0].get_array()
    names, parts = [label.get_text() for label in figure.axes[1].get_yticklabels()], script["clips"]()
    likest = np.array(names)[alike.argmax(axis=0)]
    times = (np.arange(len(likest)) + 0.5) * script["SECONDS"] / len(likest)
    for name, start, _ in script["SCENE"]:
        heard = (times > start) & (times < start + len(parts[name]) / script["RATE"])
        assert (likest[heard] == name).mean() > 0.6, f"{name} at {start} s"


def test_pictures_of_rates(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("matplotlib")
    run_example("plot_rates.py", tmp_path)
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == ["rates_bird_chirps.png", "rates_modulated_noise.png", "rates_vowels.png"]
    assert capsys.readouterr().out.count(".png") == 3


def ended(process: int) -> bool:
    """Is a process that is not our child gone, though perhaps nobody has asked for its exit code?"""
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def small_training(folder: Path) -> dict[str, str]:
    """Four sounds and a teacher in ``folder``; the environment in which the bash examples learn from them."""
    rng = np.random.default_rng(0)
    for name in ("sounds", "teachers"):
        (folder / name).mkdir()
    for index in range(4):
        soundfile.write(folder / "sounds" / f"{index}.wav", 0.1 * rng.normal(size=16000), 16000)
    (folder / "teachers" / "levels.py").write_text(TEACHER)
    card = "name: levels\nsource: a test\nlicence: CC0\nlabels: none\ncallable: levels.py:load\n"
    (folder / "teachers" / "levels.yaml").write_text(card)
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TEACHERS": str(folder / "teachers"),
        "CROPS": "256",
        "NICE": "0",  # at the lowest priority a busy machine would not let it run at all
        "SETTINGS": "distillation.batch=4 run.precision=float32 run.log_every=1 run.save_seconds=0.001",
    }


@pytest.mark.skipif(os.name != "posix", reason="a bash script")
def test_training_in_the_background_and_finishing(tmp_path: Path) -> None:
    environment = small_training(tmp_path)
    script = ["bash", str(ROOT / "examples" / "train_in_background.sh")]
    arguments = [str(tmp_path / "sounds"), str(tmp_path), str(tmp_path / "state")]
    early = subprocess.run([*script, "--finish", *arguments], env=environment, capture_output=True, text=True)
    assert early.returncode == 2
    assert "no run to finish" in early.stderr
    started = subprocess.run([*script, *arguments], env=environment, capture_output=True, text=True)
    assert started.returncode == 0, started.stderr
    process = int(started.stdout.split("process ")[1].split(";")[0])
    metrics = tmp_path / "state" / "run" / "metrics.jsonl"
    while not (metrics.exists() and len(metrics.read_text().splitlines()) > 21):
        assert not ended(process), (tmp_path / "state" / "run.log").read_text()
        time.sleep(0.1)
    os.kill(process, signal.SIGKILL)
    while not ended(process):
        time.sleep(0.1)
    assert json.loads(metrics.read_text().splitlines()[20])["learning_rate"] > 6e-5
    before = (tmp_path / "state" / "run" / "state.safetensors").read_bytes()
    done = subprocess.run([*script, "--finish", *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(re.findall(r"complete at step (\d+)", done.stderr)[0]) > 20  # a quarter of the time ends it
    assert (tmp_path / "state" / "run" / "state.safetensors").read_bytes() == before
    assert not (tmp_path / "state" / "finish").exists()
    encoder = AaSPEncoder.from_pretrained(tmp_path / "state" / "checkpoint")
    assert (encoder.config.name, encoder.config.last_layers) == ("aasp-tiny-mine-1", 4)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a bash script")
def test_the_default_checkpoint_can_be_trained_anew(tmp_path: Path) -> None:
    environment = small_training(tmp_path)
    environment |= {"WORKERS": "1", "THREADS": "1"}
    environment["SETTINGS"] += " run.steps=1 distillation.crops=256 distillation.fit_crops=256"
    environment["SETTINGS"] += " distillation.balanced_by=levels"
    out = tmp_path / "out"
    script = ["bash", str(ROOT / "examples" / "open_audio" / "rebuild.sh"), str(tmp_path / "sounds"), str(tmp_path)]
    for _ in range(2):  # the second time, all is there
        done = subprocess.run([*script, str(out)], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    starts = [read_record(out / run)[1]["start_from"] for run in ("first", "open-1", "open-2", "open-3")]
    assert starts == ["aasp-tiny-pack-1", *(f"{out}/{run}/checkpoint" for run in ("first", "open-1", "open-2"))]
    assert "`checkpoint`'s (50 %)" in (out / "open-3" / "checkpoint" / "README.md").read_text()
    made, shipped = (AaSPEncoder.from_pretrained(it).config for it in (out / "open-3" / "checkpoint", None))
    assert made == shipped.replace(name=made.name, mean=made.mean, std=made.std)


def test_ablation_trains_measures_and_goes_on(
    sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], env: dict[str, str], **_: object) -> subprocess.CompletedProcess:
        return run_python("import aasp_features.train.__main__", *command[3:], env=env)

    monkeypatch.setattr(subprocess, "run", run)  # its commands need not import torch anew
    rng = np.random.default_rng(0)
    for number in range(12):
        tone = np.sin(np.arange(4000) * (2 * np.pi * (300 + 1500 * (number % 2)) / 16000)) + rng.normal(size=4000) / 50
        (tmp_path / "mine" / f"{number % 2}").mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "mine" / f"{number % 2}" / f"{number}.wav", tone.astype(np.float32) / 2, 16000)
        long = rng.normal(size=40_000).cumsum() / 2000
        (tmp_path / "long").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "long" / f"{number}.wav", np.sin(long).astype(np.float32), 16000)
    places = ["--data", sounds, "--tasks", tmp_path / "mine", "--moved", tmp_path / "long", "--out", tmp_path / "out"]
    small = ["--steps", 1, "--seeds", 1, "--recordings", 3, "--modulated", 6, "--only", "aape", "--only", "no contrast"]
    settings = ["data.stages=[{until: 1.0, columns: 3, sounds: 4}]", "model.depth=4", "model.dim=48", "model.heads=2"]
    settings += ["objective.target_layers=2", "objective.predictor_depth=1"]
    run_example("ablate_patch_embedding.py", "masked", *places, *small, *settings)
    said = capsys.readouterr().out
    assert "Means over seeds: aape 1, no contrast 1." in said
    assert said == (tmp_path / "out" / "table.md").read_text()
    rows = [line.split(" | ") for line in said.splitlines() if line.startswith("| aape |")]
    assert [len(row) for row in rows] == [3, 3, 6]  # a task and the average, twice; steadiness and cost
    moved = json.loads((tmp_path / "out" / "aape-0" / "stability.json").read_text())["moved"]
    assert rows[2][1] == f"{moved:.2f} ({moved:.2f}–{moved:.2f})"
    assert (tmp_path / "out" / "ablation.png").stat().st_size > 10_000
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.safetensors")}
    assert len(kept) == 4  # two states, two checkpoints
    shutil.rmtree(tmp_path / "out" / "aape-0" / "checkpoint")  # killed while it was written
    run_example("ablate_patch_embedding.py", "masked", *places, *small, *settings)
    kept = {path: stamp for path, stamp in kept.items() if "aape-0" not in path.parts}
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    with pytest.raises(SystemExit, match="holds an ablation with recordings 3, now 2: give another --out"):
        run_example("ablate_patch_embedding.py", "masked", *places, *small, "--recordings", 2, *settings)
    with pytest.raises(SystemExit):
        run_example("ablate_patch_embedding.py", "masked", *places, "--only", "lowpass")
    assert "--only lowpass: masked has aape, conv, no contrast" in capsys.readouterr().err


def test_the_notebook_prints_what_it_shows(sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")
    matplotlib.use("Agg")
    shutil.copytree(sounds, tmp_path / "sounds")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "notebook"}
    cells = json.loads((ROOT / "examples" / "quickstart.ipynb").read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        code = "".join(line for line in cell["source"] if not line.startswith("%"))
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            if cell["cell_type"] == "code":
                exec(compile(code, "<cell>", "exec"), names)
        shown = ["".join(one["text"]) for one in cell.get("outputs", []) if one["output_type"] == "stream"]
        assert printed.getvalue() == "".join(shown)
    for link in re.findall(r"\]\((\.\./[^)]+)\)", str(cells)):
        assert (ROOT / "examples" / link).exists(), link
