"""Lists, right and wrong."""

from pathlib import Path

import pytest

from aasp_features.train.evaluate.tasks.official_lists import first_there, known, read_json, read_lines, read_rows


def test_lines_rows_and_objects(tmp_path: Path) -> None:
    place = tmp_path / "list"
    place.write_bytes("\ufeffa b\r\n\n  c \n".encode())
    assert read_lines(place) == ["a b", "c"]
    place.write_text('a,b\n1,"x,y"\n2,z\n')
    assert read_rows(place, ["b"]) == [{"a": "1", "b": "x,y"}, {"a": "2", "b": "z"}]
    place.write_text('{"a": 1}')
    assert read_json(place) == {"a": 1}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a\n1\n", "row 2 has no 'b'"),
        ("a,b\n1,2\n3\n", "row 3 has no 'b'"),
        ("a,b\n1,\n", "row 2 has no 'b'"),
        ("a,b\n", "has no rows"),
        ("", "has no rows"),
        (f"a,b\n1,{'2' * 200_000}\n", "is not a comma-separated table"),
    ],
)
def test_wrong_tables_are_a_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_rows(tmp_path / "list", ["a", "b"])


def test_what_is_no_text_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gone does not exist"):
        read_lines(tmp_path / "gone")
    with pytest.raises(ValueError, match="cannot be read as UTF-8 text"):
        read_lines(tmp_path)


def test_names_of_parts_and_places(tmp_path: Path) -> None:
    assert known("valid", {"valid": "validation"}, tmp_path, "1.wav") == "validation"
    with pytest.raises(ValueError, match=r"1\.wav is in the part 'dev', but parts must be train, valid"):
        known("dev", {"train": "train", "valid": "validation"}, tmp_path, "1.wav")
    (tmp_path / "b").mkdir()
    assert first_there(tmp_path, ["a", "b"]) == tmp_path / "b"
    assert first_there(tmp_path, ["a", "c"]) == tmp_path / "a"
