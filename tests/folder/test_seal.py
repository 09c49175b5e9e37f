"""Any change of what was sealed shows, and any of a file's ends or size."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from aasp_features.folder.seal import END_BYTES, fingerprint, read_sealed, seal, unseal, write_whole

VALUES = {"rows": 12, "sounds": [{"seconds": 1.5, "error": "caf\udce9"}], "open": None}


@given(st.data())
def test_a_flipped_bit_shows(data: st.DataObject) -> None:
    """But where what is read stays the same, as with another letter of an escape."""
    text = seal(VALUES, "before").encode()
    at, bit = data.draw(st.integers(0, len(text) - 1)), data.draw(st.integers(0, 7))
    changed = text[:at] + bytes([text[at] ^ 1 << bit]) + text[at + 1 :]
    read = unseal(changed, "before")
    assert read is None or read == json.loads(text)


def test_what_came_before_counts(tmp_path: Path) -> None:
    text = seal(VALUES, "before").encode()
    assert unseal(text, "before") == json.loads(text)
    assert {name: unseal(text, "before")[name] for name in VALUES} == VALUES
    for other in ("", "befor", "before "):
        assert unseal(text, other) is None
    for nonsense in (b"", b"[]", b"{}", b'{"sha256": 1}', b"\xff", text[:-5]):
        assert unseal(nonsense, "before") is None
    assert read_sealed(tmp_path / "gone") is None
    write_whole(tmp_path / "here", seal(VALUES))
    assert read_sealed(tmp_path / "here")["rows"] == 12


def test_fingerprints_tell_sizes_and_ends(tmp_path: Path) -> None:
    content = bytes(range(256)) * 12288  # three MiB
    path, seen = tmp_path / "file", set()
    for changed in (content, content[:-1], content + b"\0", b"x" + content[1:], content[:-1] + b"x", content[:10], b""):
        path.write_bytes(changed)
        assert fingerprint(path)["bytes"] == len(changed)
        seen.add(json.dumps(fingerprint(path)))
    assert len(seen) == 7
    assert len(content) > 2 * END_BYTES
