"""``aasp-embed`` judged by files, exit code and stderr: in this process, or in one of its own where that matters."""

import os
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers import check_help, noise, run_command, sound_bytes

from aasp_features.cli import app
from aasp_features.folder import plan
from aasp_features.model.network import AaSPNetwork

COMMAND = [sys.executable, "-c", "from aasp_features.cli import main; main()"]


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess:
    return run_command(app, *arguments, **options)


def test_folder_to_vectors(checkpoint: Path, sounds: Path, tmp_path: Path) -> None:
    done = run(sounds, "--out", tmp_path / "emb.npy", "--model", checkpoint)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [f"12 vectors in {tmp_path / 'emb.npy'}; passed over: 1 .md, 1 .py"]
    assert np.load(tmp_path / "emb.npy").shape == (12, 384)
    assert len((tmp_path / "emb.csv").read_text().splitlines()) == 13
    assert sorted(os.listdir(tmp_path)) == ["emb.csv", "emb.json", "emb.npy", "emb.sounds.jsonl"]
    again = run(sounds, "--out", tmp_path / "emb.npy", "--model", checkpoint)
    assert again.stderr.startswith(f"12 vectors in {tmp_path / 'emb.npy'}, 12 sounds of an earlier run; passed over")
    other = run(sounds, "--out", tmp_path / "emb.npy", "--model", checkpoint, "--pooling", "mean")
    assert other.returncode == 2
    assert "pooling was frequency, now mean; choose another --out, or give --overwrite." in other.stderr


def test_frames_of_parts_with_other_windows(checkpoint: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "noise.wav", np.random.default_rng(0).normal(size=16000 * 9) * 0.1, 16000)
    (tmp_path / "parts.csv").write_text("path,start,end\nnoise.wav,1,8\nnoise.wav,8.5,\n")
    options = ["--frames", "--hop", 0.08, "--window", 1.92, "--context", 0.32, "--pooling", "mean", "--normalize"]
    done = run("--files", "parts.csv", "--out", "x.npz", "--model", checkpoint, *options, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "94 vectors in x.npz\n")
    with np.load(tmp_path / "x.npz") as file:
        np.testing.assert_allclose(np.linalg.norm(file["embeddings"], axis=1), 1, rtol=1e-5)
        assert file["start"].tolist() == [1.0] * 88 + [8.5] * 6
        assert file["time"][:3].tolist() == [0.0875, 0.1675, 0.2475]


def test_what_is_missing_mended_or_passed_over_is_said(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    died = sound_bytes(noise(8000), 16000, "WAV", "PCM_16")
    (tmp_path / "sub" / "died.wav").write_bytes(died.replace(b"data" + struct.pack("<I", 16000), b"data" + bytes(4)))
    for name in ("a.txt", "b.txt", "c.tar.gz"):
        (tmp_path / "sub" / name).touch()
    (tmp_path / "list.txt").write_text("gone.wav\nsub  \n", encoding="utf-16")
    done = run("--files", "list.txt", "--out", "x.npy", "--model", checkpoint, cwd=tmp_path)
    assert done.returncode == 1
    assert sorted(done.stderr.splitlines()) == [
        "1 vectors in x.npy, 1 failed (see x.errors.csv); passed over: 2 .txt, 1 .tar.gz",
        "aasp-embed: gone.wav: no such file.",
        "aasp-embed: sub/died.wav: its header says 0 samples (a recorder that died); it was read to the end of the "
        "file.",
    ]
    assert (tmp_path / "x.errors.csv").read_text().splitlines() == ["path,error", "gone.wav,no such file."]


def test_hours_are_bounded(checkpoint: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(16000 * 4), 16000)
    options = [tmp_path / "silence.wav", "--out", tmp_path / "x.npy", "--model", checkpoint, "--max-hours"]
    assert run(*options, 0.0012).returncode == 0
    done = run(*options, 0.001, "--overwrite")
    assert done.returncode == 2  # it is the only sound
    assert "silence.wav: longer than 0.001 hours; if it really is, allow more hours (--max-hours)." in done.stderr
    assert run(*options, "nan").returncode == 2


def test_paths_on_standard_input(checkpoint: Path, sounds: Path, tmp_path: Path) -> None:
    done = run("--files", "-", "--out", tmp_path / "emb.npy", "--model", checkpoint, input=f"{sounds / 'voice'}\n")
    assert (done.returncode, done.stderr) == (0, f"2 vectors in {tmp_path / 'emb.npy'}\n")


def test_a_broken_file_does_not_stop_the_rest(checkpoint: Path, sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("a letter")
    given = [tmp_path / "text.wav", sounds, "--out", tmp_path / "emb.npy", "--model", checkpoint]
    done = run(*given, "--pooling", "mean+cls", "--last-layers", 2, "--batch-size", 1, "--workers", 1)
    assert done.returncode == 1
    first, last = done.stderr.splitlines()
    assert first.startswith(f"aasp-embed: {tmp_path / 'text.wav'}: not a sound file")
    assert last.endswith(f"1 failed (see {tmp_path / 'emb.errors.csv'}); passed over: 1 .md, 1 .py")
    assert np.load(tmp_path / "emb.npy").shape == (12, 96)


def test_what_torch_warns_of_is_a_sentence(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_available() -> bool:
        warnings.warn("the driver is too old", stacklevel=2)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    soundfile.write(tmp_path / "sound.wav", np.zeros(16000), 16000)
    done = run(tmp_path / "sound.wav", "--out", tmp_path / "emb.npy", "--model", checkpoint, "--quiet")
    assert (done.returncode, done.stderr) == (0, "aasp-embed: the driver is too old\n")


def test_a_short_file_is_a_sentence_not_a_warning(checkpoint: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.zeros(160), 16000)
    done = run(tmp_path / "short.wav", "--out", tmp_path / "emb.npy", "--model", checkpoint)
    assert done.returncode == 0
    assert done.stderr.startswith("aasp-embed: a clip of 160 samples at 16 kHz is shorter than one 25 ms frame")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["gone"], "gone: no such file or folder."),
        (["empty"], "no sound found in empty; known endings are"),
        ([], "give files or folders, or --files LIST."),
        (["--files", "gone.txt"], "list gone.txt: cannot be read"),
        (["sound.wav", "--hop", "0.04"], "--hop needs frames: it is the distance between them."),
        (
            ["sound.wav", "--frames", "--hop", "nan"],
            "--hop must be one of 0.16, 0.08, 0.04, 0.02, 0.01 seconds, got nan.",
        ),
        (["sound.wav", "--window", "nan"], "--window must be a multiple of 0.16 seconds, got nan."),
        (["sound.wav", "--context", "inf"], "--context must be a multiple of 0.16 seconds, got inf."),
        (["sound.wav", "--window", "1"], "--window must be a multiple of 0.16 seconds, got 1.0; nearest is 0.96."),
        (
            ["sound.wav", "--window", "0"],
            "--window must be 1 to 64 columns of 160 ms, as trained, got 0 (0.00 of 10.24 s",
        ),
        (["sound.wav", "--window", "-inf"], "--window must be a multiple of 0.16 seconds, got -inf."),
        (
            ["sound.wav", "--window", "16"],
            "--window must be 1 to 64 columns of 160 ms, as trained, got 100 (16.00 of 10.24 s",
        ),
        (["sound.wav", "--context", "5.12"], "--context must leave columns in the window, got 32 on each side of 64"),
        (["sound.wav", "--context", "-0.16"], "--context must leave columns in the window, got -1"),
        (["sound.wav", "--map", "map.png"], "--map must end in .html, got map.png"),
        (
            ["sound.wav", "sound.wav", "--frames", "--map", "map.html"],
            "--map shows the frames of one recording, got 2; remove --frames, or give one.",
        ),
        (["sound.wav", "--labels", "labels.csv"], "--labels needs --map."),
        (["sound.wav", "--map", "map.html", "--labels", "gone.csv"], "--labels gone.csv is no table with labels"),
        (["sound.wav", "--dtype", "int8"], "'int8' is not one of 'float32', 'float16'"),
        (["sound.wav", "--out", "emb.txt"], "--out must end in one of .npy"),
        (["sound.wav", "--out", "no/emb.npy"], "the folder no does not exist"),
        (["sound.wav", "--model", "nothing"], "'nothing' is no folder and no checkpoint's name"),
        (["sound.wav", "--pooling", "max"], "'max' is not one of 'mean', 'cls'"),
        (["sound.wav", "--last-layers", "99"], "--last-layers must be 1 to 2 (the last k blocks), got 99."),
        (
            ["sound.wav", "--device", "gpu"],
            "--device must be one that torch can use here: cpu, cuda, cuda:1 or mps; got",
        ),
        (["sound.wav", "--device", ""], "--device must be one that torch can use here"),
        (["sound.wav", "--device", "meta"], "--device must be one that torch can use here"),
        (["sound.wav", "--device", "cpu,meta"], "--device cpu,meta names several kinds"),
        (["sound.wav", "--engine", "ray", "--device", "gpu"], "--device must be one that torch can use here"),
        (["sound.wav", "--engine", "spark"], "'spark' is not one of 'local', 'ray'"),
        (["sound.wav", "--replicas", "2"], "--replicas counts the encoders of --engine ray"),
        (["sound.wav", "--workers", "0"], "--workers must be at least 1, got 0"),
        (["sound.wav", "--batch-size", "0"], "--batch-size must be at least 1, got 0"),
        (["sound.wav", "--engine", "ray", "--replicas", "0"], "--replicas must be at least 1, got 0"),
    ],
)
def test_usage_errors(checkpoint: Path, tmp_path: Path, arguments: list[str], sentence: str) -> None:
    (tmp_path / "empty").mkdir()
    soundfile.write(tmp_path / "sound.wav", np.zeros(1600), 16000)
    defaults = [] if "--out" in arguments else ["--out", "emb.npy"]
    defaults += [] if "--model" in arguments else ["--model", str(checkpoint)]
    done = run(*arguments, *defaults, cwd=tmp_path)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert (done.stderr[:12], done.stderr.count("\n")) == ("aasp-embed: ", 1)
    assert sorted(os.listdir(tmp_path)) == ["empty", "sound.wav"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--hop", "0.04"],
        ["--frames", "--hop", "inf"],
        ["--window", "nan"],
        ["--context", "1"],
        ["--last-layers", "0"],
        ["--batch-size", "-1"],
        ["--workers", "0"],
        ["--replicas", "2"],
        ["--device", "gpu"],
        ["--map", "map.png"],
    ],
)
def test_options_are_checked_before_the_checkpoint_is_looked_for(tmp_path: Path, arguments: list[str]) -> None:
    soundfile.write(tmp_path / "sound.wav", np.zeros(1600), 16000)
    done = run("sound.wav", "--out", "emb.npy", "--model", "no such model", *arguments, cwd=tmp_path)
    name = "--hop" if "--hop" in arguments else arguments[0]
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"aasp-embed: {name}")


def test_all_sounds_failed(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("a letter")
    done = run(tmp_path / "text.wav", "--out", tmp_path / "emb.npy", "--model", checkpoint)
    assert done.returncode == 2
    assert "none of the 1 sounds could be read, so nothing is written" in done.stderr
    assert os.listdir(tmp_path) == ["text.wav"]


def test_a_closed_standard_input(tmp_path: Path) -> None:
    command = " ".join([*map(shlex.quote, COMMAND), "--files", "-", "--out", "emb.npy", "<&-"])
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "standard input is closed" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_folders_that_may_not_be_searched_do_not_stop_the_rest(checkpoint: Path, sounds: Path) -> None:
    """By a process without root's rights, where the tests run as root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        shutil.copytree(sounds / "voice", folder / "open" / "voice")
        shutil.copytree(checkpoint, folder / "checkpoint")
        (folder / "checkpoint").chmod(0o755)
        for locked in ("locked", "open/locked"):
            shutil.copytree(sounds / "voice", folder / locked / "inner")
            (folder / locked).chmod(0)
        given = ["--model", folder / "checkpoint", "--device", "cpu"]
        run(folder / "open" / "voice", "--out", folder / "first.npy", *given)  # imports what it needs, while it may
        root = os.geteuid() == 0
        try:
            if root:
                os.seteuid(65534)
            paths = [
                folder / "open",
                folder / "locked",
                folder / "locked" / "inner",
                folder / "locked" / "inner" / "a.wav",
            ]
            done = run(*paths, "--out", folder / "emb.npy", *given)
        finally:
            if root:
                os.seteuid(0)
            for locked in ("locked", "open/locked"):
                (folder / locked).chmod(0o755)
    assert done.returncode == 1
    *problems, last = done.stderr.splitlines()
    assert len(problems) == 4
    assert all("may not be" in line and "Permission denied" in line for line in problems)
    assert f"2 vectors in {folder / 'emb.npy'}, 4 failed" in last


def test_a_page_that_is_no_map_of_the_output_is_not_replaced(checkpoint: Path, sounds: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    (tmp_path / "map.html").write_text("<p>mine</p>")
    given = [sounds / "voice", "--model", checkpoint, "--map", "map.html", "--out"]
    done = run(*given, "emb.npy", cwd=tmp_path)
    assert (done.returncode, os.listdir(tmp_path)) == (2, ["map.html"])
    assert "--map map.html exists and is no map of emb.npy; choose another, or use --overwrite." in done.stderr
    done = run(*given, "emb.npy", "--overwrite", cwd=tmp_path)
    assert (done.returncode, "map in map.html" in done.stderr) == (0, True)
    page = (tmp_path / "map.html").read_text()
    assert run(*given, "emb.npy", cwd=tmp_path).returncode == 0  # its own
    assert (tmp_path / "map.html").read_text() == page
    (tmp_path / "labels.csv").write_text(f"file,label\n{sounds}/voice/vowels.wav,speech\n")
    assert run(*given, "emb.npy", "--labels", "labels.csv", cwd=tmp_path).returncode == 0
    assert '"title":"label","groups":["speech","(none)"' in (tmp_path / "map.html").read_text()
    done = run(*given, "labels.npy", "--labels", "labels.csv", "--overwrite", cwd=tmp_path)
    assert (done.returncode, "would replace labels.csv, which is read" in done.stderr) == (2, True)
    (tmp_path / "labels.csv").write_text("file,label\nother.wav,speech\n")
    done = run(*given, "emb.npy", "--labels", "labels.csv", cwd=tmp_path)
    assert (done.returncode, "labels none of the 2 sounds" in done.stderr) == (1, True)
    assert "emb.npy is complete" in done.stderr
    assert "is no map of b.npy" in run(*given, "b.npy", cwd=tmp_path).stderr
    done = run(*given, "c.npy", "--files", "map.html", "--overwrite", cwd=tmp_path)
    assert (done.returncode, "would replace map.html, which is read" in done.stderr) == (2, True)


def test_full_disk(checkpoint: Path, sounds: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        np.save(disk / "emb.npy", np.ones(2))
        done = run(sounds, "--out", disk / "emb.npy", "--model", checkpoint, "--overwrite")
        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr
        assert "0 of 12 sounds are done and kept in" in done.stderr
        np.testing.assert_array_equal(np.load(disk / "emb.npy"), np.ones(2))
        subprocess.run(["mount", "-o", "remount,size=1m", str(disk)], check=True)
        assert run(sounds, "--out", disk / "emb.npy", "--model", checkpoint).returncode == 0
        assert np.load(disk / "emb.npy").shape == (12, 384)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_read_only_folder(checkpoint: Path, sounds: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        folder = Path("/proc/self")  # root may write to folders that say read-only, but not here
    else:
        folder = tmp_path / "locked"
        folder.mkdir(mode=0o555)
    done = run(sounds, "--out", folder / "emb.npy", "--model", checkpoint)
    assert done.returncode == 2
    assert f"the folder {folder} cannot be written" in done.stderr


def test_an_interrupted_run_goes_on(
    checkpoint: Path, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C by the network itself, so that how far a run has come then does not depend on the machine's speed."""
    soundfile.write(tmp_path / "long.wav", noise(16000 * 100), 16000)
    monkeypatch.setattr(plan, "BATCH_BYTES", os.path.getsize(tmp_path / "long.wav") - 1)  # a batch of its own
    left = 0

    def embed(folder: str) -> subprocess.CompletedProcess:
        given = ["--model", checkpoint, "--out", tmp_path / folder / "emb.npy", "--batch-size", 1]
        return run(sounds, tmp_path / "long.wav", *given)

    def interrupt(module: torch.nn.Module, *_: object) -> None:
        nonlocal left
        left -= isinstance(module, AaSPNetwork)
        if left == 0:
            signal.raise_signal(signal.SIGINT)

    for folder in ("whole", "cut"):
        (tmp_path / folder).mkdir()
    assert embed("whole").returncode == 0
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts in the background ignore it
    with torch.nn.modules.module.register_module_forward_hook(interrupt):
        for left, kept in ((3, "0 of 13 sounds"), (15, "12 of 13 sounds")):  # noqa: B007
            cut = embed("cut")
            assert (cut.returncode, f"interrupted; {kept}" in cut.stderr) == (130, True)
    assert embed("cut").returncode == 0
    for name in ("emb.npy", "emb.csv", "emb.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_version_and_help() -> None:
    assert run("--version").stdout.startswith("aasp-features ")
    shown = run("--help")
    assert shown.returncode == 0
    assert "--out" in shown.stdout


def test_help_reads_well() -> None:
    check_help(app)
