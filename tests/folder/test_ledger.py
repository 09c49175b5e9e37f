"""What is done is known by what was read, under any name."""

import json
import os
from pathlib import Path

from engine_runs import run_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from aasp_features.folder.ledger import EARLIER, STATE, DoneSound, Ledger, Outcome
from aasp_features.folder.plan import make_plan
from aasp_features.sounds.sound import Sound


def ledger(sounds: list[Sound]) -> Ledger:
    return Ledger(make_plan(sounds, run_settings()))


def done(sounds: list[Sound]) -> list[DoneSound]:
    """Each with as many rows as its index, from 1 on; the second has failed."""
    return [
        DoneSound(sound.name, sound.start, sound.end, sound.stamp(), outcome)
        for index, sound in enumerate(sounds)
        for outcome in [Outcome(index + 1 if index != 1 else 0, 1.5, sha256=sound.content().sha256)]
        for outcome in [outcome if index != 1 else Outcome(error="broken", sha256=outcome.sha256)]
    ]


def test_sounds_are_taken_over_while_they_hold_what_was_read(tmp_path: Path) -> None:
    for index in range(5):
        (tmp_path / f"{index}.wav").write_bytes(b"%d" % index)
    sounds = [Sound(path) for path in sorted(tmp_path.iterdir())]
    then = done(sounds)
    os.utime(sounds[0].path, (1, 1))  # the same bytes, another time
    sounds[2].path.write_bytes(b"x")  # others, of the same size
    sounds[3] = Sound(sounds[3].path.rename(tmp_path / "renamed.wav"))
    added = Sound(tmp_path / "added.wav")
    added.path.write_bytes(b"4")  # a copy of what has its row already
    now = ledger([added, *sounds[:4], Sound(sounds[0].path, 0, 1), sounds[0], sounds[4]])
    now.take(then, STATE)
    assert now.open() == [0, 3, 5, 6]  # added, changed, a part, the same once more
    assert [(*fact,) for fact in now.facts[["first", "rows"]][[1, 2, 4, 7]].tolist()] == [
        (0, 1),
        (1, 0),
        (4, 4),
        (8, 5),
    ]
    assert now.errors == {2: "broken"}
    assert (now.done, now.rows) == (4, 10)
    assert [*now.outcomes()][1] == then[0].outcome
    assert now.in_order().tolist() == [False, True, True, *[False] * 5]
    updated = ledger(sounds)
    updated.take(then, EARLIER)
    assert updated.open() == [1, 2]  # failures are tried again


def test_rows_in_their_final_order(tmp_path: Path) -> None:
    sounds = [Sound(tmp_path / name) for name in "abc"]
    whole = ledger(sounds)
    whole.take(done(sounds), STATE)
    assert whole.in_order().all()
    for others in (sounds[::-1], [sounds[0], Sound(tmp_path / "new"), *sounds[1:]]):
        changed = ledger(others)
        changed.take(done(sounds), STATE)
        assert not changed.in_order().all()


OUTCOMES = st.builds(
    Outcome,
    st.integers(0, 9),
    *(st.floats(0, 1e6), st.integers(0, 10**6), st.integers(0, 99), st.integers(0, 10**9)),
    st.none() | st.text(),
    st.floats(0, 1),
    st.text("0123456789abcdef", max_size=64),
)


@settings(deadline=None)
@given(
    st.builds(
        DoneSound,
        st.text(max_size=9) | st.just("caf\udce9"),
        st.none() | st.floats(0, 9),
        st.none() | st.floats(9, 99),
        st.tuples(*[st.integers(0, 2**62)] * 3),
        OUTCOMES,
    )
)
def test_a_line_holds_a_sound(one: DoneSound) -> None:
    assert DoneSound.from_json(json.loads(json.dumps(one.to_json()))) == one


@given(st.lists(OUTCOMES))
def test_outcomes_come_back(outcomes: list[Outcome]) -> None:
    book = ledger([Sound(Path("x"))] * len(outcomes))
    for index, outcome in enumerate(outcomes):
        book.note(index, outcome, STATE, 7)
    assert list(book.outcomes()) == outcomes
    assert book.rows == sum(outcome.rows for outcome in outcomes)
