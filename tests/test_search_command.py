"""``aasp-search`` judged by its output and files."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import check_help, run_command

from aasp_features import AaSPEncoder
from aasp_features.folder import embed_sounds, find_sounds
from aasp_features.search_command import app


@pytest.fixture(scope="module")
def folder(small_encoder: AaSPEncoder, sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    embed_sounds(small_encoder, find_sounds([sounds]), folder / "emb.npy")
    return folder


def test_table_labels_and_clips(folder: Path, sounds: Path, checkpoint: Path, tmp_path: Path) -> None:
    bell = sounds / "music/bell.flac"
    (tmp_path / "copy.flac").write_bytes(bell.read_bytes())
    options = ["--model", checkpoint, "--top", 3, "--out", "hits.csv", "--export", "clips", "--labels", "hits.txt"]
    done = run_command(app, folder / "emb.npy", "copy.flac", *options, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    shown = done.stdout.splitlines()
    assert shown[0].split() == ["score", "path"]
    assert shown[1].split() == ["+1.000", str(bell)]
    with (tmp_path / "hits.csv").open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [line.split()[1] for line in shown[1:]]
    clip, rate = soundfile.read(next((tmp_path / "clips").glob("001-*")))
    original, own_rate = soundfile.read(bell)
    np.testing.assert_allclose(clip, original if original.ndim == 1 else original.mean(axis=1), atol=1e-6)
    assert rate == own_rate
    with (tmp_path / "hits.txt").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [int(row["Selection"]) for row in rows] == [1, 2, 3]
    assert float(rows[0]["End Time (s)"]) == pytest.approx(len(clip) / rate, abs=1e-3)
    again = run_command(app, folder / "emb.npy", bell, "--out", "hits.csv", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (
        2,
        "aasp-search: --out hits.csv exists, or its folder does not; choose another file.\n",
    )
    clips = run_command(app, folder / "emb.npy", bell, "--export", "clips", cwd=tmp_path)
    assert clips.returncode == 2
    assert "exists; choose another folder." in clips.stderr


def test_what_cannot_be_searched_ends_in_a_sentence(folder: Path) -> None:
    done = run_command(app, "gone.npy", "a.wav", cwd=folder)
    assert (done.returncode, done.stderr) == (2, "aasp-search: gone.npy: no such file; write it with aasp-embed.\n")


def test_help_reads_well() -> None:
    check_help(app)
