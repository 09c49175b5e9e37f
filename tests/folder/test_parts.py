"""What is committed at once, as plain values and back."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aasp_features.folder.parts import OpenSound, Outcome


@given(arrays(np.float64, st.integers(1, 9)), st.integers(0, 10**9))
def test_sums_survive_to_the_last_bit(total: np.ndarray, frames: int) -> None:
    opened = OpenSound(3, 0, frames, {"total": total, "cls": total / 3})
    again = OpenSound.from_json(json.loads(json.dumps(opened.to_json())))
    assert (again.rounds, again.rows, again.frames) == (3, 0, frames)
    assert {name: value.tobytes() for name, value in again.sums.items()} == {
        name: value.tobytes() for name, value in opened.sums.items()
    }


def test_outcomes_without_their_defaults() -> None:
    for outcome in (Outcome(), Outcome(1, 2.5, 8000, 2), Outcome(error="broken")):
        assert Outcome(**json.loads(json.dumps(outcome.to_json()))) == outcome
    assert Outcome(error="broken").to_json() == {"error": "broken"}
