"""A few of each kind of hostile input; ``python tests/fuzz.py`` tries thousands."""

import pytest
from fuzz import TARGETS, run

from aasp_features.train.evaluate import classifier


@pytest.mark.parametrize("name", list(TARGETS))
def test_hostile_input_gives_sound_or_a_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "C_GRID", classifier.C_GRID[:2])  # a choice, but a quick one
    outcomes = run(name, 70 if name == "garbled tasks" else 150)  # some of them train probes
    assert outcomes["sound"]
    assert outcomes["sentence"]
