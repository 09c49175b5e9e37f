"""What a map is coloured by."""

import re
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sklearn")

from aasp_features import OptionError
from aasp_features.folder.map_colours import (
    MAX_GROUPS,
    NONE,
    REST,
    clusters,
    colourings,
    folder_levels,
    minutes,
    read_labels,
    recording_time,
)
from aasp_features.sounds.sound import Sound


def test_folders_level_by_level() -> None:
    names = ["/a/b/x.wav", "/a/b/c/y.wav", "/a/b/c/d/z.wav", "/a/b/e/w.wav"]
    assert [tuple(one) for one in folder_levels(names)] == [
        ("folder", ["", "c", "c", "e"]),
        ("folder, level 2", ["", "", "d", ""]),
    ]
    assert folder_levels(["/a/x.wav"]) == []


def test_clusters_have_the_names_that_their_files_share() -> None:
    names = [f"{kind}_{index}-recording.wav" for kind in ("dog", "rain", "bell") for index in range(8)]
    points = np.repeat(np.eye(3) * 10, 8, axis=0) + np.random.default_rng(0).normal(size=(24, 3)) * 0.1
    found = clusters(names, points, seed=0).groups
    assert [name.partition(" ")[0] for name in found] == [name.partition("_")[0] for name in names]
    assert "recording" not in found  # all have it
    assert clusters(names, points, seed=0).groups == found
    nameless = clusters([f"{index}.wav" for index in range(24)], points, seed=0).groups
    assert set(nameless) <= {f"cluster {number}" for number in range(1, 25)}


@given(st.datetimes(datetime(2005, 1, 1), datetime(2037, 1, 1)), st.sampled_from(["", "SITE-1_"]))
def test_the_time_in_a_recorders_name(time: datetime, prefix: str) -> None:
    time = time.replace(microsecond=0)
    assert recording_time(f"/data/{prefix}{time:%Y%m%d_%H%M%S}.WAV") == time
    seconds = int(time.replace(tzinfo=timezone.utc).timestamp())
    assert recording_time(f"{seconds:08X}.WAV") == time


@pytest.mark.parametrize("name", ["bell.wav", "20261399_000000.wav", "12345678.wav", "ABCDEF.wav", "20260101.wav"])
def test_names_without_a_time(name: str) -> None:
    assert recording_time(name) is None


@given(st.lists(st.floats(0, 400_000), min_size=1).map(sorted))
def test_minutes_are_equal_steps_in_order(starts: list[float]) -> None:
    groups = minutes([Sound(Path("a.wav"), start) for start in starts]).groups
    seconds = [sum(int(part) * 60**k for k, part in enumerate(reversed(group.split(":")))) for group in groups]
    assert len(set(groups)) <= 12
    assert seconds == sorted(seconds)
    assert all(start - second >= 0 for start, second in zip(starts, seconds, strict=True))


def test_what_tells_most_comes_first() -> None:
    points = np.random.default_rng(0).normal(size=(40, 3))
    flat = [f"/d/20260521_{index % 24:02}0000.wav" for index in range(40)]
    assert [one.title for one in colourings(flat, points)] == ["cluster", "hour"]  # of one day
    assert [one.title for one in colourings([f"/d/{index % 2}/{index}.wav" for index in range(40)], points)] == [
        "folder",
        "cluster",
    ]
    assert [one.title for one in colourings(["/d/a.wav"], points[:1])] == ["folder"]
    many = colourings([f"/d/{index}/a.wav" for index in range(100)], np.zeros((100, 2)))[0]
    assert len(set(many.groups)) == MAX_GROUPS
    assert many.groups.count(REST) == 100 - MAX_GROUPS + 1


def test_labels_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("x.wav", "y.wav"):
        (tmp_path / "a" / name).touch()
    table = tmp_path / "labels.csv"
    table.write_text(f"file,label,site\na/x.wav,bell,north\n{tmp_path}/a/y.wav,,south\nother.wav,rain,west\n")
    lines = [{"path": str(tmp_path / "a" / name)} for name in ("x.wav", "y.wav", "z.wav")]
    assert [tuple(one) for one in read_labels(table, lines)] == [
        ("label", ["bell", NONE, NONE]),
        ("site", ["north", "south", NONE]),
    ]
    table.write_text("path,start,label\na/x.wav,0.5,bell\na/x.wav,1.0,rain\n")
    parts = [{"path": str(tmp_path / "a" / "x.wav"), "start": start, "end": start + 0.5} for start in (0.5, 1.0, 1.5)]
    assert read_labels(table, parts)[0].groups == ["bell", "rain", NONE]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, r"--labels .* is no table with labels and a column file or path \(.*No such file"),
        ("name,label\na,b\n", "no table with labels and a column file or path"),
        ("file,label\nb.wav,bell\n", "labels none of the 1 sounds; its column file must hold their paths"),
        ("file,start,label\na.wav,soon,bell\n", "could not convert"),
        ("file,label\n", "has no labels; give each file a row, and a column beside it"),
        ("file\na.wav\n", "has no labels"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, text: str | None, sentence: str) -> None:
    if text is not None:
        (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(OptionError) as error:
        read_labels(tmp_path / "labels.csv", [{"path": "a.wav"}])
    assert re.search(sentence, error.value.flagged)
