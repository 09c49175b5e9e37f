"""``aasp-search`` judged by its output and files."""

import csv
import tarfile
import webbrowser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import check_help, run_command

from aasp_features import AaSPEncoder, search
from aasp_features.folder import RunOptions, embed_sounds, find_sounds
from aasp_features.search_command import app
from aasp_features.similarity import hit_sounds
from aasp_features.sounds import discovery
from aasp_features.sounds.shards import ShardReader


@pytest.fixture(scope="module")
def folder(small_encoder: AaSPEncoder, sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    embed_sounds(small_encoder, find_sounds([sounds]), folder / "emb.npy")
    return folder


def test_table_labels_and_clips(folder: Path, sounds: Path, checkpoint: Path, tmp_path: Path) -> None:
    bell = sounds / "music/bell.flac"
    (tmp_path / "copy.flac").write_bytes(bell.read_bytes())
    options = [
        "--model",
        checkpoint,
        "--top",
        3,
        "--out",
        "hits.csv",
        "--export",
        "clips",
        "--labels",
        "hits.selections.txt",
    ]
    done = run_command(app, folder / "emb.npy", "copy.flac", *options, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    shown = done.stdout.splitlines()
    assert shown[0].split() == ["score", "path", "start", "end"]
    assert shown[1].split()[:3] == ["+1.000", str(bell), "0.00"]
    with (tmp_path / "hits.csv").open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [line.split()[1] for line in shown[1:]]
    clip, rate = soundfile.read(next((tmp_path / "clips").glob("001_*")))
    original, own_rate = soundfile.read(bell)
    np.testing.assert_array_equal(clip, original)
    assert rate == own_rate
    with (tmp_path / "hits.selections.txt").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [int(row["Selection"]) for row in rows] == [1, 2, 3]
    assert float(rows[0]["End Time (s)"]) == pytest.approx(len(clip) / rate, abs=1e-3)
    again = run_command(app, folder / "emb.npy", bell, "--out", "hits.csv", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (
        2,
        "aasp-search: hits.csv exists and is not replaced; choose another name.\n",
    )
    clips = run_command(app, folder / "emb.npy", bell, "--export", "clips", cwd=tmp_path)
    assert clips.returncode == 2
    assert "exists and is not replaced" in clips.stderr


def test_what_cannot_be_searched_ends_in_a_sentence(folder: Path) -> None:
    done = run_command(app, "gone.npy", "a.wav", cwd=folder)
    assert (done.returncode, done.stderr) == (2, "aasp-search: gone.npy: no such file; write it with aasp-embed.\n")


def test_help_reads_well() -> None:
    check_help(app)


def test_parts_and_their_labels(folder: Path, sounds: Path, checkpoint: Path, tmp_path: Path) -> None:
    """Hits of one file as an Audacity label track; the part that is asked for is the first, and comes out as it is."""
    sound = np.random.default_rng(0).normal(size=(3 * 22050, 2)) * np.repeat([0.1, 0.01, 0.3], 22050)[:, None]
    soundfile.write(tmp_path / "a.wav", sound, 22050, subtype="FLOAT")
    encoder = AaSPEncoder.from_pretrained(checkpoint)
    embed_sounds(encoder, find_sounds([tmp_path / "a.wav"]), tmp_path / "s.npy", RunOptions(segment=1.0))
    options = ["--model", checkpoint, "--start", 1, "--end", 2, "--top", 1, "--labels", "hits.txt", "--export", "clips"]
    done = run_command(app, "s.npy", "a.wav", *options, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].split() == ["+1.000", str(tmp_path / "a.wav"), "1.00", "2.00"]
    assert (tmp_path / "hits.txt").read_text() == "1.000000\t2.000000\ta 1.000\n"
    clip, rate = soundfile.read(tmp_path / "clips" / "001_a.wav", dtype="float32")
    assert rate == 22050
    np.testing.assert_array_equal(clip, sound[22050 : 2 * 22050].astype(np.float32))
    many = run_command(app, folder / "emb.npy", sounds / "music/bell.flac", "--labels", "all.txt", cwd=tmp_path)
    assert (many.returncode, "hits are of several files" in many.stderr) == (2, True)


def test_a_member_of_a_shard_is_exported(small_encoder: AaSPEncoder, sounds: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        shard.add(sounds / "music/bell.flac", "in/bell.flac")
    embed_sounds(small_encoder, find_sounds([tmp_path / "a.tar", sounds / "nature"]), tmp_path / "emb.npy")
    done = run_command(app, "emb.npy", tmp_path / "a.tar/in/bell.flac", "--top", 1, "--export", "clips", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    expected, _ = soundfile.read(sounds / "music/bell.flac")
    np.testing.assert_array_equal(soundfile.read(tmp_path / "clips" / "001_bell.wav")[0], expected)


def test_a_table_with_an_index(small_encoder: AaSPEncoder, sounds: Path, tmp_path: Path) -> None:
    pytest.importorskip("lancedb")
    embed_sounds(small_encoder, find_sounds([sounds]), tmp_path / "library.lance")
    bell = sounds / "music/bell.flac"
    exact = run_command(app, "library.lance", bell, cwd=tmp_path)
    built = run_command(app, "library.lance", bell, "--index", cwd=tmp_path)
    told = "library.lance has an index, so the hits are approximate.\n"
    assert (exact.stderr, built.stderr) == ("", f"building the index of library.lance\n{told}")
    assert exact.stdout == built.stdout
    assert run_command(app, "library.lance", bell, cwd=tmp_path).stderr == told
    none = run_command(app, "emb.npy", bell, "--index", cwd=tmp_path)
    assert (none.returncode, none.stderr.splitlines()[-1]) == (
        2,
        "aasp-search: --index needs a .lance table, got emb.npy; aasp-embed convert makes one.",
    )


def test_the_map_opens_at_the_hit(
    browser: object, small_encoder: AaSPEncoder, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's browser is Chromium here; parts are found by their times."""
    pytest.importorskip("sklearn")
    from aasp_features.folder.map_page import map_run

    options = RunOptions(segment=0.5)
    (tmp_path / "a+b ü").mkdir()
    (tmp_path / "a+b ü" / "bell #1.flac").write_bytes((sounds / "music/bell.flac").read_bytes())
    embed_sounds(small_encoder, find_sounds([tmp_path / "a+b ü", sounds / "nature"]), tmp_path / "emb.npy", options)
    query = [tmp_path / "emb.npy", tmp_path / "a+b ü" / "bell #1.flac", "--open"]
    missing = run_command(app, *query)
    assert (missing.returncode, "--open needs the map of" in missing.stderr) == (2, True)
    map_run(tmp_path / "emb.npy", tmp_path / "sounds.html")
    monkeypatch.setattr(webbrowser, "open", browser.get)
    shown = run_command(app, *query, "--top", 1).stdout.splitlines()[1]
    start, end = shown.split()[-2:]
    assert [browser.find_element("id", name).text for name in ("name", "note")] == [
        str(query[1]),
        f"{start} to {end} s",
    ]
    x, y = browser.execute_script("return place(selected)")
    size = browser.find_element("id", "map").size
    assert (x, y) == (pytest.approx(size["width"] / 2), pytest.approx(size["height"] / 2))
    browser.execute_script("location.hash = '#sound=gone.wav'")
    assert browser.find_element("id", "note").text == "This map has no sound gone.wav."
    assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]


def test_a_shard_is_listed_once_for_all_hits(
    small_encoder: AaSPEncoder, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        for path in sorted((sounds / "music").iterdir()):
            shard.add(path, path.name)
    embed_sounds(small_encoder, find_sounds([tmp_path / "a.tar"]), tmp_path / "emb.npy")
    hits, listed = search(tmp_path / "emb.npy", np.load(tmp_path / "emb.npy")[0]), []
    monkeypatch.setattr(discovery, "ShardReader", lambda path: (listed.append(path), ShardReader(path))[1])
    assert [sound.name for sound in hit_sounds(hits)] == [hit.path for hit in hits]
    assert listed == [tmp_path / "a.tar"]
