"""Attribution: every source with its licence, a link only where its URL is known."""

import json
from pathlib import Path

import pytest

from aasp_features.checkpoints import BUNDLED, bundled_folder
from aasp_features.train.release.attribution import source_link, write_attribution


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
    assert "| my own recorder |  | 1 | 0.2 |\n" in text
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
