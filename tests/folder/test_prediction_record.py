"""Only an earlier prediction, as it was left, is replaced."""

from pathlib import Path

import pytest

from aasp_features.folder.output import OutputError
from aasp_features.folder.prediction_record import begin, check_replaceable, finish, is_whole, prediction_places
from aasp_features.folder.seal import seal

IDENTITY = {"output": "emb.npy", "labels": ["a", "b"]}


@pytest.fixture
def predicted(tmp_path: Path) -> Path:
    """``emb.npy`` with a table, events and a track beside it."""
    out = tmp_path / "emb.npy"
    places = prediction_places(out)
    written = [places.table, places.events, places.tracks / "a" / "x.wav.txt"]
    begin(out, IDENTITY, written)
    written[2].parent.mkdir(parents=True)
    for path in written:
        path.write_text(path.name)
    finish(out, IDENTITY, written)
    return out


def test_what_was_left_may_be_replaced(predicted: Path) -> None:
    check_replaceable(predicted, False)
    assert is_whole(predicted, IDENTITY)
    assert not is_whole(predicted, {**IDENTITY, "labels": ["a", "c"]})
    prediction_places(predicted).events.unlink()
    check_replaceable(predicted, False)
    assert not is_whole(predicted, IDENTITY)


@pytest.mark.parametrize("name", ["emb.predictions.csv", "emb.events.csv", "emb.labels/a/x.wav.txt"])
def test_what_was_changed_is_kept(predicted: Path, name: str) -> None:
    (predicted.parent / name).write_text("mended by hand")
    with pytest.raises(OutputError, match=f"{name} is no earlier prediction for emb.npy, or was changed since"):
        check_replaceable(predicted, False)
    assert not is_whole(predicted, IDENTITY)
    check_replaceable(predicted, True)


def test_what_is_somebody_elses_is_kept(predicted: Path) -> None:
    notes = predicted.parent / "emb.labels" / "notes.txt"
    notes.write_text("mine")
    check_replaceable(predicted, False)  # nothing goes there
    with pytest.raises(OutputError, match=r"emb\.labels/notes\.txt is no earlier prediction"):
        check_replaceable(predicted, False, written=[notes])
    check_replaceable(predicted, True, written=[notes])
    record = predicted.parent / "emb.predictions.json"
    record.write_text("{}")
    with pytest.raises(OutputError, match="is no earlier prediction"):
        check_replaceable(predicted, False)
    record.unlink()
    (predicted.parent / "emb.events.csv").unlink()
    (predicted.parent / "emb.events.csv").mkdir()
    with pytest.raises(OutputError, match="is no earlier prediction"):
        check_replaceable(predicted, False)


def test_one_that_was_stopped_is_gone_on_with(predicted: Path) -> None:
    places = prediction_places(predicted)
    begin(predicted, IDENTITY, [places.table])
    assert not places.events.exists()  # of the earlier one
    assert not list(places.tracks.rglob("*.txt"))
    places.table.write_text("half")
    check_replaceable(predicted, False)
    assert not is_whole(predicted, IDENTITY)
    begin(predicted, IDENTITY, [places.table])
    places.table.write_text("whole")
    finish(predicted, IDENTITY, [places.table])
    assert is_whole(predicted, IDENTITY)


@pytest.mark.parametrize("name", ["../kept.txt", "/etc/kept.txt", "emb.labels/../kept.txt", "kept.txt"])
def test_a_record_that_names_other_files_deletes_none(predicted: Path, name: str) -> None:
    kept = predicted.parent / "kept.txt"
    kept.write_text("kept")
    record = seal({**IDENTITY, "complete": True, "files": {name: None}})
    prediction_places(predicted).record.write_text(record)
    with pytest.raises(OutputError, match="is no earlier prediction"):
        check_replaceable(predicted, False)
    begin(predicted, IDENTITY, [])
    assert kept.read_text() == "kept"
