"""Clips under other endings than the lists say."""

from pathlib import Path

from aasp_features.train.evaluate.tasks.clip_files import ClipFiles


def test_the_listed_file_or_one_of_its_name(tmp_path: Path) -> None:
    for name in ("a.wav", "a.flac", "b.mp3", "b.flac", "c.OGG", "d.txt", "e.00001.flac", ".f.wav"):
        (tmp_path / name).touch()
    clips = ClipFiles()
    found = {name: clips.find(tmp_path / name).name for name in ("a.wav", "a.flac", "b.wav", "c.wav", "e.00001.wav")}
    assert found == {
        "a.wav": "a.wav",
        "a.flac": "a.flac",
        "b.wav": "b.flac",
        "c.wav": "c.OGG",
        "e.00001.wav": "e.00001.flac",
    }
    for absent in ("d.wav", "e.wav", ".f.flac", "deep/a.wav"):
        assert clips.find(tmp_path / absent) == tmp_path / absent
    assert [path.name for path in clips.each(tmp_path)] == ["a.wav", "b.flac", "c.OGG", "e.00001.flac"]
    assert clips.each(tmp_path / "gone") == []
