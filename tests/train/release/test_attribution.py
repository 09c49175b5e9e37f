"""Manifests and attributions: what columns tell, every source with its licence, links where a URL is known."""

import json
from pathlib import Path

import pytest

from aasp_features.checkpoints import BUNDLED, bundled_folder
from aasp_features.train.release.attribution import (
    ManifestRow,
    duration,
    read_manifest,
    source_link,
    total_seconds,
    write_attribution,
)


def attribution(folder: Path, manifest: str, host: str | None = None) -> str:
    (folder / "manifest.csv").write_text(manifest)
    return write_attribution(folder, folder / "ATTRIBUTION.md", host).read_text()


def test_sources_on_two_hosts(tmp_path: Path) -> None:
    manifest = "source,url,licence,seconds\n"
    manifest += "Rain of Oslo,https://freesound.org/s/1,CC0,30\nRain of Oslo,https://freesound.org/s/1,CC0,60\n"
    manifest += "https://zenodo.org/records/2,,CC BY 4.0,6\nmy own recorder,,,12\norg/c,ftp://x.org/c,MIT,6\n"
    text = attribution(tmp_path, manifest)
    assert "| source | licence of the recordings | clips | minutes |\n|---|---|---|---|\n" in text
    assert "| [Rain of Oslo](https://freesound.org/s/1) | CC0 | 2 | 1.5 |\n" in text
    assert "| <https://zenodo.org/records/2> | CC BY 4.0 | 1 | 0.1 |\n" in text
    assert "| my own recorder | | 1 | 0.2 |\n" in text
    assert "| org/c | MIT | 1 | 0.1 |\n" in text
    assert "github" not in text


def test_a_stated_host_makes_paths_links(tmp_path: Path) -> None:
    manifest = "source_repo,commit,licence\norg/a,0123456789abcdef,CC0\n"
    assert "| org/a | `0123456789ab` | CC0 | 1 |\n" in attribution(tmp_path, manifest)
    row = "| [org/a](https://codeberg.org/org/a) | `0123456789ab` | CC0 | 1 |\n"
    assert row in attribution(tmp_path, manifest, "codeberg.org")
    assert row in attribution(tmp_path, manifest, "https://codeberg.org/")


@pytest.mark.parametrize(
    ("source", "url", "link"),
    [
        ("a", "https://x.org/a (1)|b", "[a](https://x.org/a%20%281%29%7Cb)"),
        ("a", "javascript:alert(1)", "a"),
        ("https://x.org/a b", "", "<https://x.org/a%20b>"),
        ("https://x.org/a", "https://y.org/a", "[https://x.org/a](https://y.org/a)"),
    ],
)
def test_links(source: str, url: str, link: str) -> None:
    assert source_link(source, url, None) == link


def test_where_licences_are_stated(tmp_path: Path) -> None:
    evidence = [{"part": "all", "licence": "CC0", "evidence": "README", "language": "en"}]
    (tmp_path / "licences.json").write_text(json.dumps({"org/unused": evidence, "org/a": evidence}))
    text = attribution(tmp_path, "source,licence\norg/a,CC0\n")
    assert text.endswith("## Where each licence is stated\n\n- **org/a** (all): CC0. README\n")
    (tmp_path / "licences.json").write_text(json.dumps({"org/a": "CC0"}))
    with pytest.raises(ValueError, match="must map each source to a list of objects with part, licence and evid"):
        attribution(tmp_path, "source,licence\norg/a,CC0\n")


def test_a_row_without_a_source(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="every row of the manifest needs a source"):
        attribution(tmp_path, "source,licence\norg/a,CC0\n,CC0\n")


@pytest.mark.data
@pytest.mark.parametrize("name", BUNDLED)
def test_the_bundled_attributions_can_be_made_again(shared_audio: Path, tmp_path: Path, name: str) -> None:
    made = write_attribution(shared_audio / "pack", tmp_path / "ATTRIBUTION.md", "https://github.com").read_text()
    shipped = (bundled_folder(name) / "ATTRIBUTION.md").read_text(encoding="utf-8")
    opening, _, tables = made.partition("\n| source ")
    assert tables == shipped.partition("\n| source ")[2]
    assert opening.startswith("# Attribution of the training audio\n")


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
