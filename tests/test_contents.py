"""Size and times decide quickly; where they differ, the bytes do."""

import hashlib
import io
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from aasp_features.contents import Content, sha256


def test_bytes_are_read_only_where_the_stamp_is_another() -> None:
    read = []

    def content(stamp: tuple[int, int, int], known: Content | None = None) -> Content:
        return Content.of(lambda: stamp, lambda: read.append(stamp) or "hash", known)

    first = content((1, 2, 3))
    assert content((1, 2, 3), first) is first
    assert read == [(1, 2, 3)]
    for stamp in ((9, 2, 3), (1, 9, 3), (1, 2, 9)):
        assert content(stamp, first) == Content(stamp, "hash")
    assert len(read) == 4


@given(st.binary(max_size=200), st.lists(st.tuples(st.integers(0, 250), st.integers(0, 250)), max_size=4))
def test_ranges_are_hashed_as_far_as_there_are_bytes(content: bytes, ranges: list[tuple[int, int]]) -> None:
    assert sha256(io.BytesIO(content)) == hashlib.sha256(content).hexdigest()
    pieces = [range(min(pair), max(pair)) for pair in ranges]
    expected = hashlib.sha256(b"".join(content[piece.start : piece.stop] for piece in pieces)).hexdigest()
    assert sha256(io.BytesIO(content), pieces) == expected


def test_files_longer_than_what_is_read_at_once(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    (tmp_path / "file").write_bytes(content)
    with (tmp_path / "file").open("rb") as file:
        assert sha256(file) == hashlib.sha256(content).hexdigest()
        assert sha256(file, [range(7, 2_000_000)]) == hashlib.sha256(content[7:2_000_000]).hexdigest()
