"""``aasp-embed --classifier`` against ``AaSPClassifier`` itself, whatever a run was."""

import json
import os
import shutil
from pathlib import Path, PurePath

import numpy as np
import pytest
import soundfile
import torch
from helpers import noise, read_csv, run_command
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from aasp_features import AaSPClassifier, AaSPConfig, AaSPEncoder, Event
from aasp_features.cli import app
from aasp_features.events import EventOptions
from aasp_features.folder import OutputError, predict_run, predictions
from aasp_features.folder.predictions import check_replaceable, label_tracks
from aasp_features.folder.state import read_sealed, seal

LABELS = ("wind", "bell, small", "voice")


def made_classifier(folder: Path, **changes: object) -> Path:
    torch.manual_seed(0)
    encoder = AaSPEncoder(AaSPConfig.tiny(depth=1, name="aasp-test-random-1", **changes))
    return AaSPClassifier(encoder, LABELS, nn.Linear(encoder.embedding_dim, 3)).save_pretrained(folder)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_classifier(tmp_path_factory.mktemp("classifier"))


@pytest.fixture
def sounds(sounds: Path, tmp_path: Path) -> Path:
    """Some of the repository's, and one that cannot be read."""
    folder = tmp_path / "sounds"
    shutil.copytree(sounds / "nature", folder / "nature")
    shutil.copytree(sounds / "voice", folder / "voice")
    (folder / "voice" / "broken.wav").write_bytes(b"no sound")
    return folder


def embed(*arguments: object, cwd: Path) -> tuple[int, str]:
    done = run_command(app, *arguments, cwd=cwd)
    return done.returncode, done.stderr


def tables(folder: Path) -> dict[str, bytes]:
    kept = (path for path in folder.rglob("emb.*") if path.is_file())
    tracks = (path for path in (folder / "emb.labels").rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in (*kept, *tracks)}


def test_one_row_for_each_sound(
    classifier: Path, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "CHUNK_ROWS", 3)
    code, said = embed("sounds", "--out", "emb.npy", "--classifier", classifier, cwd=tmp_path)
    assert code == 1  # one was not read
    assert said.splitlines()[-1] == "predictions in emb.predictions.csv"
    rows, whole = read_csv(tmp_path / "emb.predictions.csv"), AaSPClassifier.from_pretrained(classifier)
    assert [{key: row[key] for key in list(row)[:5]} for row in rows] == read_csv(tmp_path / "emb.csv")
    assert len(rows) == 4
    scores = whole.scores([tmp_path / row["path"] for row in rows])
    found = [[float(row[f"p({label})"]) for label in LABELS] for row in rows]
    np.testing.assert_allclose(found, scores, atol=2e-6)
    assert [row["label"] for row in rows] == [LABELS[index] for index in scores.argmax(axis=1)]
    assert [float(row["probability"]) for row in rows] == [max(row) for row in found]
    before = tables(tmp_path)
    embed("sounds", "--out", "emb.npy", "--classifier", classifier, cwd=tmp_path)
    assert tables(tmp_path) == before
    assert not (tmp_path / "emb.npy.partial").exists()


def test_frames_become_events_and_label_tracks(classifier: Path, sounds: Path, tmp_path: Path) -> None:
    soundfile.write(sounds / "long.wav", noise(16000 * 14), 16000)
    options = ["--frames", "--hop", "0.08", "--threshold", "0.4"]
    code, said = embed("sounds", "--out", "emb.npy", "--classifier", classifier, *options, cwd=tmp_path)
    assert code == 1
    assert said.splitlines()[-1].endswith("events in emb.events.csv and emb.selections.txt, label tracks in emb.labels")
    whole = AaSPClassifier.from_pretrained(classifier)
    paths = sorted({row["path"] for row in read_csv(tmp_path / "emb.csv")})
    events = whole.events([tmp_path / path for path in paths], threshold=0.4, hop=0.08)
    expected = [(path, event) for path, found in zip(paths, events, strict=True) for event in found]
    rows = read_csv(tmp_path / "emb.events.csv")
    assert len(rows) == len(expected) > 5
    for row, (path, event) in zip(rows, expected, strict=True):
        assert (row["path"], row["label"]) == (path, event.label)
        assert [float(row[name]) for name in ("start", "end", "probability")] == pytest.approx(
            [event.start, event.end, event.probability], abs=2e-6
        )
    for path, found in zip(paths, events, strict=True):
        track = (tmp_path / "emb.labels" / f"{path.removeprefix('sounds/')}.txt").read_text().splitlines()
        read = [(float(start), float(end), label) for start, end, label in (line.split("\t") for line in track)]
        assert [label for *_, label in read] == [event.label for event in found]
        assert [times for *times, _ in read] == [pytest.approx(event[:2], abs=2e-6) for event in found]
    assert len(list((tmp_path / "emb.labels").rglob("*.txt"))) == 5  # none for what was not read


def test_vectors_that_it_does_not_read(classifier: Path, checkpoint: Path, sounds: Path, tmp_path: Path) -> None:
    """From Python, where any vectors may be given; its own are taken though the command was not told of it."""
    whole = AaSPClassifier.from_pretrained(classifier)
    embed("sounds", "--out", "emb.npy", "--model", classifier, cwd=tmp_path)
    assert predict_run(tmp_path / "emb.npy", whole).table.exists()
    for name, options, sentence in (
        ("other", ["--model", checkpoint], "weights_sha256 was"),
        ("pooled", ["--model", classifier, "--pooling", "mean"], "pooling was mean, and is frequency"),
        ("unit", ["--model", classifier, "--normalize"], "normalize was True"),
    ):
        embed("sounds", "--out", f"{name}.npy", *options, cwd=tmp_path)
        with pytest.raises(OutputError, match=f"not those that the classifier reads .{sentence}"):
            predict_run(tmp_path / f"{name}.npy", whole)
    with pytest.raises(OutputError, match=r"is no \.npy of a finished run"):
        predict_run(tmp_path / "gone.npy", whole)


def test_parts_of_a_file_are_told_in_its_own_time(classifier: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "noise.wav", noise(16000 * 9), 16000)
    (tmp_path / "parts.csv").write_text("path,start,end\nnoise.wav,5,9\nnoise.wav,1,3.5\nnoise.wav,1,3.5\n")
    options = ["--files", "parts.csv", "--frames", "--threshold", "0.3"]
    code, _ = embed(*options, "--out", "emb.npy", "--classifier", classifier, cwd=tmp_path)
    assert code == 0
    sound, _ = soundfile.read(tmp_path / "noise.wav", dtype="float32")
    found = AaSPClassifier.from_pretrained(classifier).events([sound[80000:], sound[16000:56000]], threshold=0.3)
    late, early = (
        [Event(e.start + by, e.end + by, *e[2:]) for e in part] for part, by in zip(found, (5, 1), strict=True)
    )
    rows = read_csv(tmp_path / "emb.events.csv")
    assert [row["label"] for row in rows] == [event.label for event in [*late, *early, *early]]
    starts = [event.start for event in [*late, *early, *early]]
    assert [float(row["start"]) for row in rows] == pytest.approx(starts, abs=2e-6)
    track = (tmp_path / "emb.labels" / "noise.wav.txt").read_text().splitlines()
    assert [float(line.split("\t")[0]) for line in track] == pytest.approx(starts, abs=2e-6)


def test_another_head_replaces_what_the_former_said(classifier: Path, sounds: Path, tmp_path: Path) -> None:
    """The vectors are kept, as the encoder is the same."""
    again = AaSPClassifier.from_pretrained(classifier)
    with torch.no_grad():
        again.head.bias += torch.tensor([0.0, 0.0, 50.0])
    other = again.save_pretrained(tmp_path / "other")
    frames = ["sounds", "--out", "emb.npy", "--frames", "--threshold", "0.9"]
    embed(*frames, "--classifier", classifier, cwd=tmp_path)
    vectors = (tmp_path / "emb.npy").stat().st_mtime_ns
    code, _ = embed(*frames, "--classifier", other, cwd=tmp_path)
    assert code == 1
    assert {row["label"] for row in read_csv(tmp_path / "emb.events.csv")} == {"voice"}
    assert (tmp_path / "emb.npy").stat().st_mtime_ns == vectors


def test_one_that_was_stopped_ends_as_the_other(
    classifier: Path, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each file that is opened to be written, in turn."""
    frames = ["sounds", "--out", "emb.npy", "--frames", "--classifier", classifier, "--threshold", "0.4"]
    embed(*frames, cwd=tmp_path)
    expected = tables(tmp_path)
    for name in list(tables(tmp_path)):
        if "predictions" in name or "events" in name or "labels" in name or "selections" in name:
            (tmp_path / name).unlink()
    for stop in range(4):
        with monkeypatch.context() as patch:
            writes = iter(range(100))

            def failing(source: object, place: object, own=os.replace, stop=stop, writes=writes) -> None:
                if next(writes) == stop:
                    raise OSError(28, "No space left on device")
                own(source, place)

            patch.setattr(os, "replace", failing)
            code, said = embed(*frames, cwd=tmp_path)
        assert code == 1
        assert "the vectors are complete: run the same command again" in said
    assert embed(*frames, cwd=tmp_path)[0] == 1
    assert tables(tmp_path) == expected
    assert json.loads((tmp_path / "emb.predictions.json").read_text())["complete"]


@pytest.fixture(scope="module")
def finished(classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of frames and what was predicted of them."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "a").mkdir()
    soundfile.write(folder / "a" / "x.wav", noise(32000), 16000)
    code, _ = embed("a", "--out", "emb.npy", "--classifier", classifier, "--frames", cwd=folder)
    assert code == 0
    return folder


@pytest.fixture
def predicted(classifier: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That run in another folder, whose path Raven's table has."""
    shutil.copytree(finished, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    predict_run(Path("emb.npy"), AaSPClassifier.from_pretrained(classifier))
    for row in Path("emb.selections.txt").read_text().splitlines()[1:]:
        assert str(Path("a/x.wav").resolve()) in row.split("\t")
    return Path("emb.npy")


@pytest.mark.parametrize(
    "name", ["predictions.csv", "events.csv", "selections.txt", "labels/x.wav.txt", "predictions.json"]
)
@pytest.mark.parametrize("change", ["changed", "deleted", "a folder"])
def test_only_an_earlier_prediction_as_it_was_left_is_replaced(
    classifier: Path, predicted: Path, name: str, change: str
) -> None:
    before, path, whole = tables(Path()), Path(f"emb.{name}"), AaSPClassifier.from_pretrained(classifier)
    path.unlink()
    if change == "changed":
        path.write_text("mended by hand")
    elif change == "a folder":
        path.mkdir()
    if change == "deleted" and name != "predictions.json":
        check_replaceable(predicted, False)
        predict_run(predicted, whole)
        assert tables(Path()) == before
        return
    with pytest.raises(OutputError, match=r"is no earlier prediction for emb.npy, or was changed since; move it away"):
        predict_run(predicted, whole)
    with pytest.raises(OutputError, match="is no earlier prediction"):
        check_replaceable(predicted, False)
    if change != "a folder":
        predict_run(predicted, whole, overwrite=True)
        assert tables(Path()) == before


def test_files_of_others_in_the_folder_of_tracks_stay(classifier: Path, predicted: Path) -> None:
    notes = Path("emb.labels/notes.txt")
    notes.write_text("mine")
    predict_run(predicted, AaSPClassifier.from_pretrained(classifier), EventOptions(threshold=0.3))
    assert notes.read_text() == "mine"
    with pytest.raises(OutputError, match=r"emb\.labels/notes\.txt is no earlier prediction"):
        check_replaceable(predicted, False, written=[notes])


@pytest.mark.parametrize("name", ["../kept.txt", "/etc/kept.txt", "emb.labels/../kept.txt", "kept.txt"])
def test_a_record_that_names_other_files_deletes_none(classifier: Path, predicted: Path, name: str) -> None:
    kept, record = Path("kept.txt"), Path("emb.predictions.json")
    kept.write_text("kept")
    values = {**read_sealed(record), "files": {name: None}}
    del values["sha256"]
    record.write_text(seal(values))
    with pytest.raises(OutputError, match="is no earlier prediction"):
        check_replaceable(predicted, False)
    predict_run(predicted, AaSPClassifier.from_pretrained(classifier), overwrite=True)
    assert kept.read_text() == "kept"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--model", "other"], "has its own encoder; remove --model other"),
        (["--out", "emb.npz"], "--classifier needs an --out that ends in .npy"),
        (["--normalize"], "remove --dtype and --normalize"),
        (["--dtype", "float16"], "remove --dtype and --normalize"),
        (["--pooling", "cls"], "reads the pooling frequency of the last block; remove"),
        (["--threshold", "0.5"], "--threshold is for events: it needs --classifier and --frames"),
        (["--frames", "--threshold", "2"], "threshold must be a probability"),
    ],
)
def test_what_does_not_go_together(
    classifier: Path, sounds: Path, tmp_path: Path, options: list[str], sentence: str
) -> None:
    code, said = embed(sounds, "--out", "emb.npy", "--classifier", classifier, *options, cwd=tmp_path)
    assert (code, len(said.splitlines())) == (2, 1)
    assert sentence in said
    assert not list(tmp_path.glob("emb*"))


def test_what_is_no_classifier_of_frames(checkpoint: Path, sounds: Path, tmp_path: Path) -> None:
    code, said = embed(sounds, "--out", "emb.npy", "--classifier", checkpoint, cwd=tmp_path)
    assert code == 2
    assert "it is an encoder alone" in said
    cls = made_classifier(tmp_path / "cls", pooling="cls")
    code, said = embed(sounds, "--out", "emb.npy", "--classifier", cls, "--frames", cwd=tmp_path)
    assert code == 2
    assert "reads the pooling cls, which is not the mean of frame vectors" in said
    code, said = embed(sounds, "--out", "emb.npy", "--classifier", cls, cwd=tmp_path)
    assert code == 1


RESULTS = ["emb.npy", "emb.csv", "emb.json", "emb.errors.csv", "emb.predictions.csv", "emb.predictions.json"]
RESULTS += ["emb.events.csv", "emb.labels/a.wav.txt", "emb.npy.partial/rows.bin", "emb.html"]


@pytest.mark.parametrize(
    ("name", "link"), [*((name, None) for name in RESULTS), ("emb.csv", "symlink_to"), ("emb.labels/a", "hardlink_to")]
)
def test_a_sound_under_the_name_of_a_result_is_kept(
    classifier: Path, sounds: Path, tmp_path: Path, name: str, link: str | None
) -> None:
    sound = next((sounds / "nature").iterdir())
    (tmp_path / name).parent.mkdir(exist_ok=True)
    if link is None:
        shutil.copy(sound, tmp_path / name)
    else:
        getattr(tmp_path / name, link)(sound)
    given = tmp_path / name if link is None else sound
    before = given.read_bytes()
    options = ["--classifier", classifier, "--frames", "--overwrite"]
    if name == "emb.html":
        options = ["--map", "emb.html", "--overwrite"]
    code, said = embed(given, "--out", "emb.npy", *options, cwd=tmp_path)
    assert (code, len(said.splitlines())) == (2, 1)
    assert f"writing {name} would replace {given}, which is read; choose another output" in said
    assert given.read_bytes() == before


@pytest.mark.parametrize("option", ["--classifier", "--model"])
@pytest.mark.parametrize("name", ["config", "classifier"])
def test_a_checkpoint_is_never_replaced(classifier: Path, sounds: Path, tmp_path: Path, option: str, name: str) -> None:
    own = Path(shutil.copytree(classifier, tmp_path / "own"))
    before = {path.name: path.read_bytes() for path in own.iterdir()}
    code, said = embed(sounds, "--out", f"own/{name}.npy", option, "own", "--overwrite", cwd=tmp_path)
    assert (code, f"writing own/{name}.json would replace own/{name}.json" in said) == (2, True)
    assert {path.name: path.read_bytes() for path in own.iterdir()} == before


def test_from_python_a_sound_is_kept_too(
    classifier: Path, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(next((sounds / "nature").iterdir()), "emb.predictions.csv")
    before = Path("emb.predictions.csv").read_bytes()
    embed("emb.predictions.csv", "--out", "emb.npy", "--model", classifier, cwd=tmp_path)
    with pytest.raises(OutputError, match=r"writing emb.predictions.csv would replace emb.predictions.csv, which is"):
        predict_run(Path("emb.npy"), AaSPClassifier.from_pretrained(classifier), overwrite=True)
    assert Path("emb.predictions.csv").read_bytes() == before


def test_label_tracks_keep_the_folders_that_not_all_share() -> None:
    names = ["/data/a/x.wav", "/data/b/x.wav", "/data/b/shard.tar/dir/y.flac"]
    assert label_tracks(names) == {
        "/data/a/x.wav": os.path.join("a", "x.wav.txt"),
        "/data/b/x.wav": os.path.join("b", "x.wav.txt"),
        "/data/b/shard.tar/dir/y.flac": os.path.join("b", "shard.tar", "dir", "y.flac.txt"),
    }
    assert label_tracks(["some/folder/x.wav"]) == {"some/folder/x.wav": "x.wav.txt"}
    assert label_tracks([]) == {}
    assert label_tracks(["a/\udcff.wav"]) == {"a/\udcff.wav": "\\xff.wav.txt"}


pieces = st.sampled_from(["a", "b", "..", ".", "shard.tar", ""])


@given(st.lists(st.lists(pieces, min_size=1, max_size=6), min_size=1, max_size=5))
def test_no_name_leads_a_label_track_out_of_its_folder(paths: list[list[str]]) -> None:
    tracks = label_tracks("/".join([*path, "x.wav"]) for path in paths)
    for track in tracks.values():
        assert not os.path.isabs(track)
        assert ".." not in PurePath(track).parts
    absolute = [os.path.abspath("/".join([*path, "x.wav"])) for path in paths]
    files = {path.replace("//", "/") for path in absolute}  # abspath leaves "//x.wav" as it is
    assert len(set(tracks.values())) == len(files)


def test_label_tracks_with_names_that_file_systems_refuse_are_short(tmp_path: Path) -> None:
    """A sound's name may fill what a name may have, and a shard's member is not bound by that at all."""
    names = [f"/data/{'é' * 125}.wav", f"/data/{'é' * 124}e.wav", f"/data/s.tar/{'x' * 3000}.wav", "/data/a.wav"]
    names += [f"/data/s.tar/{'deep/' * 500}b.wav", f"/data/{'long' * 62}.wav"]
    tracks = label_tracks(names)
    assert len(set(tracks.values())) == len(names)
    assert tracks["/data/a.wav"] == "a.wav.txt"
    for track in tracks.values():
        (tmp_path / track).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / track).touch()
        assert track.endswith(".wav.txt")
