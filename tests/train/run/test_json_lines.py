"""Lines of JSON: what a kill leaves is read on, what is damaged is said."""

from pathlib import Path

import pytest

from aasp_features.train.run.json_lines import append_json_line, read_json_lines, write_json_lines


def test_cut_anywhere(tmp_path: Path) -> None:
    """Whatever a file is cut to, what is read are the lines that lie whole before the cut."""
    path, lines = tmp_path / "a.jsonl", [{"step": n, "é": n / 3} for n in range(3)]
    for line in lines:
        append_json_line(path, line)
    content = path.read_bytes()
    ends = [index for index, byte in enumerate(content) if byte == ord("}")]
    for size in range(len(content) + 1):
        path.write_bytes(content[:size])
        assert read_json_lines(path, ["step"]) == lines[: sum(end < size for end in ends)]
    path.write_bytes(content + bytes(100))  # as a file system may leave it when the power fails
    assert read_json_lines(path, ["step"]) == lines
    assert read_json_lines(tmp_path / "gone", ["step"]) == []


@pytest.mark.parametrize(
    "line", [b"{", b"", b"[]", b'{"stop": 1}', b'{"step": "1"}', b"\xff\xfe", b'{"step": 2}{"step": 3}']
)
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"a.jsonl, line 2 is damaged: it is no object of numbers with step"):
        read_json_lines(tmp_path / "a.jsonl", ["step"])


def test_lines_are_replaced_where_they_differ(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_json_lines(path, [])
    assert not path.exists()
    path.write_text('{"step": 1}\n{"st')
    write_json_lines(path, read_json_lines(path, ["step"]))
    assert path.read_text() == '{"step": 1}\n'
    before = path.stat().st_ino
    write_json_lines(path, [{"step": 1}])
    assert path.stat().st_ino == before
