"""Places of label tracks: one for each sound, all below their folder."""

import os
from pathlib import Path, PurePath

from hypothesis import given
from hypothesis import strategies as st

from aasp_features.folder.label_tracks import label_places


def test_folders_that_all_share_are_left_out() -> None:
    names = ["/data/a/x.wav", "/data/b/x.wav", "/data/b/shard.tar/dir/y.flac"]
    assert label_places(names) == {
        "/data/a/x.wav": os.path.join("a", "x.wav.txt"),
        "/data/b/x.wav": os.path.join("b", "x.wav.txt"),
        "/data/b/shard.tar/dir/y.flac": os.path.join("b", "shard.tar", "dir", "y.flac.txt"),
    }
    assert label_places(["some/folder/x.wav"]) == {"some/folder/x.wav": "x.wav.txt"}
    assert label_places([]) == {}
    assert label_places(["a/\udcff.wav"]) == {"a/\udcff.wav": "\\xff.wav.txt"}


pieces = st.sampled_from(["a", "b", "..", ".", "shard.tar", ""])


@given(st.lists(st.lists(pieces, min_size=1, max_size=6), min_size=1, max_size=5))
def test_no_name_leads_out_of_the_folder(paths: list[list[str]]) -> None:
    places = label_places("/".join([*path, "x.wav"]) for path in paths)
    for place in places.values():
        assert not os.path.isabs(place)
        assert ".." not in PurePath(place).parts
    absolute = [os.path.abspath("/".join([*path, "x.wav"])) for path in paths]
    files = {path.replace("//", "/") for path in absolute}  # abspath leaves "//x.wav" as it is
    assert len(set(places.values())) == len(files)


def test_places_with_names_that_file_systems_refuse_are_short(tmp_path: Path) -> None:
    """A sound's name may fill what a name may have, and a shard's member is not bound by that at all."""
    names = [f"/data/{'é' * 125}.wav", f"/data/{'é' * 124}e.wav", f"/data/s.tar/{'x' * 3000}.wav", "/data/a.wav"]
    names += [f"/data/s.tar/{'deep/' * 500}b.wav", f"/data/{'long' * 62}.wav"]
    places = label_places(names)
    assert len(set(places.values())) == len(names)
    assert places["/data/a.wav"] == "a.wav.txt"
    for place in places.values():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
        assert place.endswith(".wav.txt")
