"""``aasp-train`` from audio to a checkpoint that embeds."""

import json
import logging
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import check_help
from safetensors import safe_open
from teacher_helpers import write_callable
from typer.testing import CliRunner
from warm_process import run_python

from aasp_features import AaSPEncoder
from aasp_features.train.cli import app

SETTINGS = ["run.steps=4", "run.log_every=1", "run.precision=float32", "model.dim=32", "model.depth=2", "model.heads=2"]
SETTINGS += ["objective.target_layers=2", "objective.predictor_depth=1"]
STAGES = ["data.stages.0.sounds=3", "data.stages.0.columns=4", "data.stages.1.sounds=2", "data.stages.1.columns=8"]

PRETRAIN = ["pretrain", "--data", "gone", "--out", "run", "--recipe", "tiny_cpu"]


def run(*arguments: object) -> object:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_help_reads_well() -> None:
    check_help(app)


@pytest.fixture(scope="module")
def finished(sound_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run through a process of its own, paused once at once, then finished."""
    out = tmp_path_factory.mktemp("run")
    base = ["pretrain", "--data", sound_folder, "--out", out, "--recipe", "tiny_cpu", "--device", "cpu"]
    for extra, said in [(["--stop-after", "0"], "paused at step"), ([], "complete at step 4")]:
        done = run_python("import aasp_features.train.__main__", *base, *extra, *SETTINGS, *STAGES)
        assert done.returncode == 0, done.stderr
        assert said in done.stderr
    return out


@pytest.mark.parametrize("which", ["average", "last"])
def test_export_gives_a_checkpoint_that_embeds(finished: Path, tmp_path: Path, which: str) -> None:
    options = ["--name", "aasp-tiny-test-1", "--which", which, "--pooling", "mean", "--last-layers", 2]
    done = run("export", finished, "--out", tmp_path / "ck", *options)
    assert done.exit_code == 0, done.output
    encoder = AaSPEncoder.from_pretrained(tmp_path / "ck")
    assert (encoder.config.name, encoder.config.pooling, encoder.config.last_layers) == ("aasp-tiny-test-1", "mean", 2)
    assert encoder.config.mean != 0
    assert encoder.embed(np.random.default_rng(0).normal(size=9000).astype("f")).shape == (32,)
    prefix = "objective.ema_teacher.network." if which == "average" else "objective.student."
    with safe_open(finished / "state.safetensors", framework="pt") as state:
        for key, value in encoder.network.state_dict().items():
            torch.testing.assert_close(value, state.get_tensor(prefix + key).half().float(), atol=0, rtol=0)


def test_card(finished: Path, tmp_path: Path) -> None:
    run("export", finished, "--out", tmp_path / "ck", "--name", "aasp-tiny-test-1")
    (tmp_path / "results.md").write_text("| a | b |\n")
    manifest = "source_repo,commit,licence,seconds\norg/a,abc,CC0,30\norg/a,abc,CC0,60\norg/b,def,CC BY 4.0,6\n"
    (tmp_path / "manifest.csv").write_text(manifest)
    evidence = [{"part": "all", "licence": "CC0", "evidence": "README"}]
    (tmp_path / "licences.json").write_text(json.dumps({"org/a": evidence, "org/unused": evidence}))
    done = run(
        *("card", finished, "--checkpoint", tmp_path / "ck", "--results", tmp_path / "results.md"),
        *("--data", tmp_path, "--host", "https://github.com"),
    )
    assert done.exit_code == 0, done.output
    card = (tmp_path / "ck" / "README.md").read_text()
    assert "Recipe `tiny_cpu`, 4 steps" in card
    assert "| a | b |" in card
    assert "loss frame" in card
    attribution = (tmp_path / "ck" / "ATTRIBUTION.md").read_text()
    assert "| [org/a](https://github.com/org/a) | `abc` | CC0 | 2 | 1.5 |" in attribution
    assert "org/unused" not in attribution


@pytest.fixture(scope="module")
def distilled(sound_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run that learns from one teacher beside AaSP's own losses: its folder, and the teacher's."""
    out, teachers = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("teachers")
    write_callable(teachers, licence="CC BY 4.0", labels="levels of noise")
    settings = [*SETTINGS, f"distillation.teachers={teachers}", "objective.weights.frame=0.5"]
    settings += ["distillation.crops=256", "distillation.last_layers=2"]
    settings += ["distillation.crop.lengths=[{columns: 3, share: 1.0}]", "distillation.batch=16", "run.steps=20"]
    done = run("pretrain", "--data", sound_folder, "--out", out, "--recipe", "tiny_distilled", *settings)
    assert done.exit_code == 0, done.output
    assert "complete at step 20" in done.output
    return out, teachers


def test_a_distilled_run_becomes_a_checkpoint_with_its_card(
    distilled: tuple[Path, Path], sound_folder: Path, tmp_path: Path
) -> None:
    out, _teachers = distilled
    assert run("export", out, "--out", tmp_path / "ck", "--name", "aasp-tiny-test-2").exit_code == 0
    encoder = AaSPEncoder.from_pretrained(tmp_path / "ck")
    assert encoder.embed(np.ones(9000, np.float32)).shape == (256,)
    assert (encoder.config.pooling, encoder.config.last_layers) == ("frequency", 2)  # what the heads read
    assert "levels (CC BY 4.0; labels: levels of noise)" in (tmp_path / "ck" / "README.md").read_text()
    (tmp_path / "results.md").write_text("| a | b |\n")
    done = run("card", out, "--checkpoint", tmp_path / "ck", "--results", tmp_path / "results.md")
    assert done.exit_code == 0, done.output
    card = (tmp_path / "ck" / "README.md").read_text()
    assert "pre-trained without labels by AaSP and distilled from other networks (levels)" in card
    assert "| levels | a test | CC BY 4.0 | levels of noise |" in card
    assert "Recipe `tiny_distilled`, 20 steps, 320 crops, 256 of them distinct" in card
    assert "| loss levels | " in card
    assert "each second of sound equally often" in card
    before = tmp_path / "before"
    assert (
        run("pretrain", "--data", sound_folder, "--out", before, "--recipe", "tiny_cpu", *SETTINGS, *STAGES).exit_code
        == 0
    )
    command = ["card", out, "--checkpoint", tmp_path / "ck", "--results", tmp_path / "results.md", "--earlier", before]
    assert run(*command).exit_code == 0
    earlier, _, last = (tmp_path / "ck" / "README.md").read_text().partition("Recipe `tiny_distilled`")
    assert "Earlier: Recipe `tiny_cpu`, 4 steps" in earlier
    assert "320 crops" in last
    assert run("report", out, "--out", tmp_path / "report.html").exit_code == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<td>levels</td><td>CC BY 4.0</td><td>levels of noise</td>" in page
    assert "loss levels" in page
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert {"loss_frame", "loss_levels", "rankme_mean"} <= set(lines[-1])


def test_weights_of_teachers(
    distilled: tuple[Path, Path], sound_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out, teachers = distilled
    common = ["pretrain", "--data", sound_folder, "--out", out, "--recipe", "tiny_distilled"]
    settings = [*SETTINGS, f"distillation.teachers={teachers}", "distillation.last_layers=2"]
    done = run(*common, *settings, "objective.weights.levels=0")
    assert done.exit_code == 2
    assert "every teacher (levels) has weight 0" in done.output
    settings += ["distillation.crop.lengths=[{columns: 3, share: 1.0}]", "distillation.crops=256"]
    with caplog.at_level(logging.WARNING):
        done = run(*common, *settings, "objective.weights.levles=2", "distillation.variance=0.3")
    assert "unused loss weights, which name no teacher: levles, log_mel, mn04, speech, voice" in caplog.text
    assert done.exit_code == 2
    assert "distillation.variance=0.97, not 0.3" in done.output


def test_a_run_keeps_the_statistics_its_weights_are_used_to(distilled: tuple[Path, Path], tmp_path: Path) -> None:
    from aasp_features.train.pretrain.crop_source import _statistics
    from aasp_features.train.run.state import read_record

    model = read_record(distilled[0])[1]["recipe"]["model"]["changes"]
    assert _statistics(distilled[0], "aasp-tiny-pack-1") == (model["mean"], model["std"])
    config = AaSPEncoder.from_pretrained("aasp-tiny-pack-1").config
    assert _statistics(tmp_path, "aasp-tiny-pack-1") == (config.mean, config.std)
    assert _statistics(tmp_path, None) is None


def test_features_alone_and_shared(distilled: tuple[Path, Path], sound_folder: Path, tmp_path: Path) -> None:
    out, teachers = distilled
    settings = [
        f"distillation.teachers={teachers}",
        "distillation.crops=256",
        "model.depth=4",
        "objective.target_layers=2",
    ]
    settings += ["distillation.crop.lengths=[{columns: 3, share: 1.0}]"]
    done = run("teacher-features", "--data", sound_folder, "--out", tmp_path / "f", *settings)
    assert done.exit_code == 0, done.output
    piece = "levels/000000.npy"
    assert (tmp_path / "f" / piece).read_bytes() == (out / "teacher_features" / piece).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["pretrain", "--data", "gone", "--out", "run", "--recipe", "tiny_cpu"], "gone: no such file or folder"),
        (["pretrain", "--data", "gone", "--out", "run", "--recipe", "huge"], "got 'huge'"),
        (["pretrain", "--data", "gone", "--out", "run", "--recipe", "tiny_cpu", "colour=1"], "colour"),
        (
            ["pretrain", "--data", ".", "--out", "run", "--recipe", "tiny_distilled"],
            "give distillation.teachers=",
        ),
        (
            [
                "pretrain",
                "--data",
                ".",
                "--out",
                "run",
                "--recipe",
                "tiny_distilled",
                "distillation.teachers=gone.yaml",
            ],
            "gone.yaml is not a teacher's description",
        ),
        (["teacher-features", "--data", ".", "--out", "f", "distillation.teachers=."], "no teachers in .;"),
        (["knn", "--task", ".", "--beside", "gone"], "--beside must be untrained, log-mel,"),
        *(
            ([command, *task, "--device", "gpu"], "device must be one that torch can use here")
            for command, *task in (
                *(["linear", "--task", "."], ["knn", "--task", "."], ["robustness", "--task", "."]),
                ["stability"],
            )
        ),
        (["export", "gone", "--out", "ck", "--name", "x"], "gone holds no run"),
        (
            ["export", "gone", "--out", "ck", "--name", "x", "--which", "both"],
            "'both' is not one of",
        ),
        (["report", "gone"], "gone holds no metrics.jsonl"),
        (["knn", "--task", "gone"], "gone is no file or folder"),
        (["info", "gone"], "'gone' is no folder"),
        ([*PRETRAIN, "--device", "gpu"], "device must be one that torch can use here"),
        ([*PRETRAIN, "--device", "meta"], "device must be one that torch can use here"),
        ([*PRETRAIN, "--max-time", "nan"], "--max-time must be at least 0 minutes, got nan"),
        ([*PRETRAIN, "--max-time", "0"], "--max-time must be above 0 minutes"),
        ([*PRETRAIN, "--stop-after", "inf"], "--stop-after must be at least 0 minutes, got inf"),
        ([*PRETRAIN, "data.gain_db=.nan"], "recipe: data.gain_db must be a number within ±1e+12, got nan"),
        ([*PRETRAIN, "run.seed=99999999999999999999"], "recipe: run.seed must be a number within"),
        ([*PRETRAIN, "run.seed=-1"], "run.save_seconds, run.seed and run.keep_states must be at least 0"),
        ([*PRETRAIN, "optimizer.learning_rate=fast"], "Value 'fast' of type 'str' could not be converted to Float"),
        ([*PRETRAIN, "model.dim=null"], "config: dim"),
        ([*PRETRAIN, "--out", "file"], "file cannot be used as a run folder (File exists)"),
        (["pretrain", "--data", "empty", "--out", "run", "--recipe", "tiny_cpu"], "no sound found in empty"),
        (
            ["pretrain", "--data", "junk", "--out", "run", "--recipe", "tiny_cpu"],
            "none of the sounds in junk can be used",
        ),
        (["pretrain", "--data", "cut.tar", "--out", "run", "--recipe", "tiny_cpu"], "cut.tar"),
        (["export", "states", "--out", "ck", "--name", "x"], "is damaged"),
        (["card", "states", "--checkpoint", "empty"], "empty/config.json cannot be read"),
        (["report", "file"], "file holds no metrics.jsonl"),
        (["linear", "--task", "file"], "file cannot be read as a comma-separated UTF-8 table"),
        (["linear", "--task", "empty"], "must hold at least two folders with sounds"),
        (["teacher-features", "--data", "junk", "--out", "file", "distillation.teachers=."], "no teachers in .;"),
        (["export-onnx", "--out", "model.onnx", "--model", "gone"], "'gone' is no folder"),
    ],
)
def test_wrong_arguments(arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "junk", "states"):
        (tmp_path / folder).mkdir()
    for file in ("file", "junk/a.wav", "junk/b.mp3", "states/state.safetensors"):
        (tmp_path / file).write_bytes(bytes(range(200)))
    with tarfile.open(tmp_path / "whole.tar", "w") as shard:
        shard.add(tmp_path / "file", "a.wav")
    (tmp_path / "cut.tar").write_bytes((tmp_path / "whole.tar").read_bytes()[:600])
    done = run(*arguments)
    assert done.exit_code == 2
    assert sentence in done.output
    assert "Traceback" not in done.output
    assert len(done.output.strip().splitlines()) == 1
    assert isinstance(done.exception, SystemExit)


def test_info(checkpoint: Path) -> None:
    done = run("info", str(checkpoint), "--card")
    assert done.exit_code == 0
    assert "aasp-test-random-1" in done.output
    assert "384 numbers (pooling frequency of the last block)" in done.output
    assert "An AaSP audio encoder saved by aasp-features." in done.output
    assert "bundled" in done.output
    assert "aasp-tiny-open-3, aasp-tiny-pack-1" in done.output


LIMITED = """
import resource, signal, sys
from aasp_features.train.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.argv = ["aasp-train", *sys.argv[2:]]
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_no_room_for_the_state_is_a_sentence_and_loses_nothing(
    finished: Path, sound_folder: Path, tmp_path: Path
) -> None:
    """No file may grow beyond a limit, as on a full disk; with room again the run goes on and ends as the other."""
    settings = ["--recipe", "tiny_cpu", "--device", "cpu", *SETTINGS, *STAGES]
    command = ["pretrain", "--data", str(sound_folder), "--out", str(tmp_path), *settings]
    assert run(*command, "--stop-after", "0").exit_code == 0
    before = (tmp_path / "state.safetensors").read_bytes()
    done = run_python(LIMITED, len(before) // 2, *command)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"aasp-train: {tmp_path / 'state.safetensors'} cannot be written (")
    assert "Traceback" not in done.stderr
    assert (tmp_path / "state.safetensors").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "run.lock", "state.safetensors"]
    assert run(*command).exit_code == 0
    with (
        safe_open(finished / "state.safetensors", "pt") as one,
        safe_open(tmp_path / "state.safetensors", "pt") as other,
    ):
        assert set(one.keys()) == set(other.keys())
        assert all(torch.equal(one.get_tensor(key), other.get_tensor(key)) for key in one.keys())  # noqa: SIM118
