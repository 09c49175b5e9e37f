"""Files of pieces, against the bytes joined."""

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from aasp_features.audio.byte_pieces import join_pieces

CONTENT = np.random.default_rng(0).bytes(300_000)
PIECES = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.integers(0, 90_000),
        st.tuples(st.integers(0, 300_000), st.integers(0, 150_000)).map(
            lambda place: range(place[0], min(300_000, sum(place)))
        ),
    ),
    max_size=6,
)


def joined(pieces: list) -> bytes:
    return b"".join(CONTENT[piece.start : piece.stop] if isinstance(piece, range) else bytes(piece) for piece in pieces)


@given(PIECES, st.lists(st.tuples(st.integers(0, 200_000), st.integers(-1, 100_000)), max_size=5))
def test_any_reads_give_the_joined_bytes(pieces: list, reads: list[tuple[int, int]]) -> None:
    file, expected = join_pieces(io.BytesIO(CONTENT), pieces, "pieces"), io.BytesIO(joined(pieces))
    for place, size in reads:
        assert (file.seek(place), file.tell()) == (expected.seek(place), place)
        assert file.read(size) == expected.read(size)
    assert file.seek(0, io.SEEK_END) == len(expected.getvalue())


def test_what_is_cut_off_ends_early() -> None:
    file = join_pieces(io.BytesIO(b"abc"), [b"xy", range(1, 100), b"never"], "cut")
    assert file.read() == b"xybc"


def test_the_file_is_closed_where_it_is_owned() -> None:
    for owned in (True, False):
        under = io.BytesIO(b"abc")
        join_pieces(under, [range(0, 3)], "owned", owned).close()
        assert under.closed is owned
