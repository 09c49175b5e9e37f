"""Strict JSON: what Python's json reads, less what no writer of ours writes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aasp_features.strict_json import read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_reads_what_json_writes(value: object) -> None:
    text = json.dumps(value)
    assert read_json(text, 10**6) == value
    assert read_json(text.encode(), 10**6) == value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"a": {"b": 1, "c": 2, "b": 1}}', "key 'b' stands there twice"),
        ("[NaN]", "NaN is no number"),
        ("[-Infinity]", "-Infinity is no number"),
        (b"\xff", "not UTF-8"),
        ("[" * 200_000 + "]" * 200_000, "nested too deeply"),
        ("1 2", "Extra data"),
        (" " * 10**6, "longer than the 500000 bytes"),
    ],
)
def test_refused(text: str | bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_json(text, 500_000)
