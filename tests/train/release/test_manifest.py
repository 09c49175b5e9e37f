"""Manifests: what their columns tell, and one sentence for what cannot be read."""

from pathlib import Path

import pytest

from aasp_features.train.release.manifest import ManifestRow, duration, read_manifest, table, total_seconds


@pytest.mark.parametrize(
    "header", ["source,licence,seconds", "source_repo,license,seconds", "\ufeffsource,licence,seconds"]
)
def test_rows(tmp_path: Path, header: str) -> None:
    path = tmp_path / "manifest.csv"
    path.write_text(f'{header}\na/b,"CC BY 4.0, or later",1.5\n c ,CC0,2\n', encoding="utf-8")
    expected = [ManifestRow("a/b", "", "", "CC BY 4.0, or later", 1.5), ManifestRow("c", "", "", "CC0", 2.0)]
    assert read_manifest(path) == read_manifest(tmp_path) == expected
    assert total_seconds(expected) == 3.5


def test_what_is_not_told_is_empty(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("file,url,seconds\na.wav,https://x.org/a,\nb.wav\n")
    sounds = read_manifest(tmp_path / "m.csv")
    assert sounds == [ManifestRow("", "https://x.org/a", "", "", None), ManifestRow("", "", "", "", None)]
    assert total_seconds([*sounds, ManifestRow("", "", "", "", 3.0)]) is None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"licence,seconds\nCC0,1\nCC0,long\n", "row 2: seconds must be a number of at least 0, got 'long'"),
        (b"licence,seconds\nCC0,-1\n", "row 1: seconds must be a number of at least 0, got '-1'"),
        (b"licence,seconds\nCC0,nan\n", "got 'nan'"),
        (b"licence,seconds\n", "needs rows, and a column of source, url, commit, licence or seconds"),
        (b"", "needs rows"),
        (b"file,label\na,b\n", "needs rows, and a column of"),
        (b"licence\n\xff\xfe\n", "is not UTF-8 CSV"),
    ],
)
def test_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "manifest.csv").write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        read_manifest(tmp_path)


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist; give a CSV file"):
        read_manifest(tmp_path)


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.4, 59, 90, 5400)] == [
        "0.4 seconds",
        "59.0 seconds",
        "1.5 minutes",
        "1.5 hours",
    ]


def test_no_cell_breaks_a_table() -> None:
    lines = table(["a", "b"], [["x|y", "two\nlines"]]).splitlines()
    assert lines == ["| a | b |", "|---|---|", "| x\\|y | two lines |"]
