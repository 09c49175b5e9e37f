"""The table of rows, read again from what became of each sound."""

import csv
from pathlib import Path

from aasp_features.folder.state import Outcome
from aasp_features.folder.table import RowTable, plain_text, write_csv
from aasp_features.sounds.sound import Sound

SOUNDS = [Sound(Path("a.wav")), Sound(Path("b.wav")), Sound(Path("c.wav"), 0.5, None)]
OUTCOMES = [Outcome(1, 2.5, 8000, 2), Outcome(error="broken"), Outcome(1, 0.25, 16000, 1)]


def test_a_row_for_each_sound_that_has_one() -> None:
    table = RowTable(SOUNDS, lambda: iter(OUTCOMES))
    assert table.columns == ["row", "path", "start", "end", "seconds", "sample_rate", "channels"]
    assert list(table) == [[0, "a.wav", None, None, 2.5, 8000, 2], [1, "c.wav", 0.5, None, 0.25, 16000, 1]]
    assert list(table) == list(table)
    assert list(table.failures()) == [["b.wav", "broken"]]


def test_a_row_for_each_frame() -> None:
    """17 frames of log-mel: a whole column, centre 0.0875 s, and one of a frame at 0.16 s, centre 0.1725 s."""
    table = RowTable(SOUNDS[:1], lambda: iter([Outcome(2, 0.2, 16000, 1, frames=17)]), hop=0.16)
    assert table.columns == ["row", "path", "time"]
    assert list(table) == [[0, "a.wav", 0.0875], [1, "a.wav", 0.1725]]


def test_csv_keeps_odd_names(tmp_path: Path) -> None:
    name = b'caf\xe9, "x"\n.wav'.decode("utf-8", "surrogateescape")
    write_csv(tmp_path / "t.csv", ["path", "seconds"], [[name, 1 / 3]])
    with (tmp_path / "t.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        assert list(csv.reader(file)) == [["path", "seconds"], [name, "0.333333"]]
    assert plain_text(name) == 'caf\\xe9, "x"\n.wav'
