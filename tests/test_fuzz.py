"""A few of each kind of hostile input; ``python tests/fuzz.py`` tries thousands."""

import pytest
from fuzz import TARGETS, run


@pytest.mark.parametrize("name", list(TARGETS))
def test_hostile_input_gives_sound_or_a_sentence(name: str) -> None:
    outcomes = run(name, 150)
    assert outcomes["sound"]
    assert outcomes["sentence"]
