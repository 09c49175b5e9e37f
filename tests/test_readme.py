"""What the README and the examples print and promise works as printed."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp_features import AaSPEncoder, __version__
from aasp_features.hub import BUNDLED, DEFAULT, bundled_folder

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def project() -> dict:
    """The [project] table of pyproject.toml."""
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no TOML reader")
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_python_blocks_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert "1536" in done.stdout


def test_the_two_commands_are_the_first() -> None:
    first, second = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)[:2]
    assert "aasp-embed examples/sounds --out emb.npy" in first
    assert second.strip() == "make setup && make test"
    assert "make setup" in (ROOT / ".ci" / "run").read_text()


def test_the_folder_commands_run(sounds: Path, tmp_path: Path) -> None:
    """The block of ``aasp-embed`` commands, in a folder that has what they name."""
    for module in ("pyarrow", "h5py", "sklearn"):
        pytest.importorskip(module)
    block = next(block for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if "parts.csv" in block)
    for folder in ("recordings", "more"):
        shutil.copytree(sounds, tmp_path / folder)
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards" / "part-0.tar", "w") as tar:
        tar.add(sounds / "music" / "bell.flac", "bell.flac")
    (tmp_path / "list.txt").write_text("recordings/music/bell.flac\n")
    (tmp_path / "parts.csv").write_text("path,start,end\nrecordings/nature/rain.flac,0.5,2\n")
    soundfile.write(tmp_path / "day.wav", np.random.default_rng(0).normal(size=16000 * 30) * 0.1, 16000)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block], cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    made = {path.name for path in tmp_path.iterdir()}
    assert {"all.parquet", "listed.npy", "calls.npz", "frames.h5", "emb.npy", "map.html"} <= made


def test_find_similar_puts_the_sound_itself_first(sounds: Path) -> None:
    command = [sys.executable, "examples/find_similar.py", str(sounds / "music/bell.flac"), str(sounds)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 12
    assert lines[0].startswith("+1.00")
    assert lines[0].endswith("bell.flac")


def test_versions_agree(project: dict) -> None:
    assert project["dynamic"] == ["version"]
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_oldest_versions_are_the_lower_bounds(project: dict) -> None:
    wanted = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    bounds = dict(re.split(">=", line) for line in wanted)
    tested = dict(
        line.split("==") for line in (ROOT / "tests/oldest/requirements.txt").read_text().splitlines() if "==" in line
    )
    for name in set(bounds) & set(tested):
        assert tuple(tested[name].split("."))[: bounds[name].count(".") + 1] == tuple(bounds[name].split(".")), name


def test_the_bundled_checkpoints_are_complete() -> None:
    folders = [bundled_folder(name) for name in BUNDLED]
    assert {path.name for path in (ROOT / "aasp_features" / "checkpoints").iterdir() if path.is_dir()} == set(BUNDLED)
    assert sum(path.stat().st_size for folder in folders for path in folder.iterdir()) <= 24_000_000
    for folder in folders:
        card = (folder / "README.md").read_text(encoding="utf-8")
        assert "license: apache-2.0" in card
        assert "## Limits" in card
        assert "aasp-train probe" in card
        assert "LibriSpeech" in (folder / "ATTRIBUTION.md").read_text(encoding="utf-8")
        assert "Apache License" in (folder / "LICENSE").read_text(encoding="utf-8")
    assert AaSPEncoder.from_pretrained().config.name == DEFAULT


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_checkpoint_gives_the_vectors_it_was_released_with(sounds: Path, name: str) -> None:
    """Made by ``aasp-embed examples/sounds --model NAME --out tests/golden/NAME.npy`` at its release."""
    golden = np.load(ROOT / "tests" / "golden" / f"{name}.npy")
    paths = (ROOT / "tests" / "golden" / f"{name}.csv").read_text().splitlines()[1:]
    files = [ROOT / row.split(",")[1] for row in paths]
    vectors = AaSPEncoder.from_pretrained(name).embed(files)
    assert (np.abs(vectors - golden) / np.maximum(1, np.abs(golden))).max() < 1e-3


@pytest.mark.data
def test_the_bundled_checkpoint_beats_the_untrained_network(shared_audio: Path) -> None:
    """One task here; the card's table has all."""
    from aasp_features.train.evaluate.features import encoder_vectors, untrained_encoder
    from aasp_features.train.evaluate.linear import linear_classifier
    from aasp_features.train.evaluate.probe import probe
    from aasp_features.train.evaluate.tasks import read_task

    task, encoder = read_task(shared_audio / "tasks" / "speaker_id"), AaSPEncoder.from_pretrained()
    scores = [
        probe(encoder_vectors(one, None, None)(task.files), task, linear_classifier).score
        for one in (encoder, untrained_encoder(encoder.config, 0))
    ]
    assert scores[0] > scores[1]
