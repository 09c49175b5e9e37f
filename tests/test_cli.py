"""``aasp-embed`` as users run it: in a process of its own, judged by files, exit code and stderr."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

COMMAND = [sys.executable, "-c", "from aasp_features.cli import main; main()"]


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, **options)


def test_folder_to_vectors(checkpoint: Path, sounds: Path, tmp_path: Path) -> None:
    done = run(sounds, "--out", tmp_path / "emb.npy", "--model", checkpoint)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [f"12 vectors in {tmp_path / 'emb.npy'}"]
    assert np.load(tmp_path / "emb.npy").shape == (12, 1536)
    assert len((tmp_path / "emb.csv").read_text().splitlines()) == 13
    assert sorted(os.listdir(tmp_path)) == ["emb.csv", "emb.npy"]


def test_options_reach_the_encoder(checkpoint: Path, sounds: Path, tmp_path: Path) -> None:
    options = ["--pooling", "mean+cls", "--layers", 2, "--batch-size", 1, "--workers", 1, "--quiet"]
    done = run(sounds, "--out", tmp_path / "emb.npy", "--model", checkpoint, *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert np.load(tmp_path / "emb.npy").shape == (12, 384)


def test_a_broken_file_does_not_stop_the_rest(checkpoint: Path, sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("a letter")
    done = run(tmp_path / "text.wav", sounds, "--out", tmp_path / "emb.npy", "--model", checkpoint)
    assert done.returncode == 1
    first, last = done.stderr.splitlines()
    assert first.startswith(f"aasp-embed: {tmp_path / 'text.wav'}: not a sound file")
    assert last.endswith(f"1 failed (see {tmp_path / 'emb.errors.csv'})")
    assert np.load(tmp_path / "emb.npy").shape == (12, 1536)


def test_a_short_file_is_a_sentence_not_a_warning(checkpoint: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.zeros(160), 16000)
    done = run(tmp_path / "short.wav", "--out", tmp_path / "emb.npy", "--model", checkpoint)
    assert done.returncode == 0
    assert done.stderr.startswith("aasp-embed: a recording of 160 samples at 16 kHz is shorter than one 25 ms frame")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["gone"], "gone: no such file or folder."),
        (["empty"], "no sound found in empty; known endings are"),
        (["sound.wav", "--out", "emb.txt"], "--out must end in .npy"),
        (["sound.wav", "--out", "no/emb.npy"], "the folder no does not exist"),
        (["sound.wav", "--model", "nothing"], "'nothing' is no folder and no checkpoint's name"),
        (["sound.wav", "--pooling", "max"], "pooling must be one of"),
        (["sound.wav", "--layers", "99"], "layers must be 1 to 2"),
        (["sound.wav", "--device", "toaster"], "--device toaster"),
        (["sound.wav", "--workers", "0"], "--workers must be at least 1, got 0"),
        (["sound.wav", "--batch-size", "0"], "batch_size must be at least 1, got 0"),
    ],
)
def test_usage_errors(checkpoint: Path, tmp_path: Path, arguments: list[str], sentence: str) -> None:
    (tmp_path / "empty").mkdir()
    soundfile.write(tmp_path / "sound.wav", np.zeros(1600), 16000)
    defaults = [] if "--out" in arguments else ["--out", "emb.npy"]
    defaults += [] if "--model" in arguments else ["--model", str(checkpoint)]
    done = run(*arguments, *defaults, cwd=tmp_path)
    assert done.returncode == 2
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["empty", "sound.wav"]


def test_unknown_model_offline(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "sound.wav", np.zeros(1600), 16000)
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")}
    done = run(tmp_path / "sound.wav", "--out", tmp_path / "emb.npy", "--model", "org/unknown", env=offline)
    assert done.returncode == 2
    assert "org/unknown: not in the local cache" in done.stderr


def test_full_disk(checkpoint: Path, sounds: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        np.save(disk / "emb.npy", np.ones(2))
        done = run(sounds, "--out", disk / "emb.npy", "--model", checkpoint)
        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr
        np.testing.assert_array_equal(np.load(disk / "emb.npy"), np.ones(2))
        assert os.listdir(disk) == ["emb.npy"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_read_only_folder(checkpoint: Path, sounds: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        place = Path("/proc/self")  # root may write to folders that say read-only, but not here
    else:
        place = tmp_path / "locked"
        place.mkdir(mode=0o555)
    done = run(sounds, "--out", place / "emb.npy", "--model", checkpoint)
    assert done.returncode == 2
    assert f"the folder {place} cannot be written" in done.stderr


def test_interrupt_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.zeros(16000 * 3600, np.int16), 16000)
    arguments = [*COMMAND, tmp_path / "long.wav", "--out", tmp_path / "emb.npy", "--model", checkpoint]
    process = subprocess.Popen(list(map(str, arguments)), stderr=subprocess.PIPE, text=True)
    for _ in range(600):
        if list(tmp_path.glob(".emb.npy*.tmp")):
            break
        time.sleep(0.05)
    process.send_signal(2)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; nothing was written" in stderr
    assert os.listdir(tmp_path) == ["long.wav"]


def test_version_and_help() -> None:
    assert run("--version").stdout.startswith("aasp-features ")
    shown = run("--help")
    assert shown.returncode == 0
    assert "--out" in shown.stdout
