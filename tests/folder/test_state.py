"""A run on disk: what was committed stays, whatever happens to the rest; what was damaged does not count."""

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_settings import run_settings

from aasp_features.folder.parts import OpenSound, Outcome, Part
from aasp_features.folder.plan import Plan, make_plan
from aasp_features.folder.state import LOG_FILE, NPY_HEADER, PLAN_FILE, ROWS_FILE, ChangedRunError, RunState
from aasp_features.sounds.sound import Sound

FILES = (ROWS_FILE, LOG_FILE, PLAN_FILE)


def plan(sounds: int = 6, **settings: object) -> Plan:
    return make_plan([Sound(Path(f"{place}.wav")) for place in range(sounds)], run_settings(**settings))


def rows(first: int, count: int) -> np.ndarray:
    return np.arange(first * 3, (first + count) * 3, dtype=np.float32).reshape(count, 3)


def part(pieces: list[np.ndarray], outcomes: list[Outcome], opened: OpenSound | None = None) -> Part:
    """``opened`` has the last piece."""
    settled = pieces[:-1] if opened else pieces
    return Part(outcomes, opened, False, iter(settled), iter(pieces[len(settled) :]))


# Sounds of one row; then one of seven rows over three parts; one of which two parts were done when it failed; one more.
PARTS = [
    lambda: part([rows(0, 1), rows(1, 1), rows(2, 2)], [Outcome(1), Outcome(1)], OpenSound(1, 2, 9)),
    lambda: part([rows(4, 3)], [], OpenSound(2, 5, 99)),
    lambda: part([rows(7, 2), rows(50, 1)], [Outcome(7, frames=100)], OpenSound(1, 1, 9)),
    lambda: part([rows(60, 4)], [], OpenSound(2, 5, 99)),
    lambda: part([], [Outcome(error="broken")]),
    lambda: part([rows(9, 1)], [Outcome(1)]),
]


def committed(folder: Path, parts: int) -> RunState:
    folder.mkdir(exist_ok=True)
    state = RunState(folder, plan())
    for make in PARTS[:parts]:
        state.commit(make())
    return state


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The state after 0, 1, … parts."""
    folder = tmp_path_factory.mktemp("after")
    for parts in range(len(PARTS) + 1):
        committed(folder / str(parts), parts)
    return [folder / str(parts) for parts in range(len(PARTS) + 1)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
@given(parts=st.integers(0, 6), extra_rows=st.binary(max_size=50), extra_line=st.text('{}[1,"rows', max_size=30))
def test_what_follows_the_last_whole_part_is_cut_off(
    tmp_path_factory: pytest.TempPathFactory, after: list[Path], parts: int, extra_rows: bytes, extra_line: str
) -> None:
    folder = tmp_path_factory.mktemp("run")
    committed(folder, parts)
    with (folder / ROWS_FILE).open("ab") as file, (folder / LOG_FILE).open("a") as log:
        file.write(extra_rows)
        log.write(extra_line)  # without its line feed, so not whole
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = RunState(folder, plan())
    assert contents(folder) == contents(after[parts])
    for make in PARTS[parts:]:
        again.commit(make())
    assert contents(folder) == contents(after[-1])


def test_a_sound_that_fails_late_leaves_no_rows(tmp_path: Path) -> None:
    state = committed(tmp_path, 6)
    np.testing.assert_array_equal(state.array(), rows(0, 10))
    assert (state.place, state.rows, state.opened) == (5, 10, None)
    assert [outcome.rows for outcome in state.outcomes()] == [1, 1, 7, 0, 1]
    again = RunState(tmp_path, plan())
    assert (again.place, again.rows, again.opened) == (5, 10, None)


def damages(content: bytes, data: st.DataObject) -> bytes:
    """Bits flipped; cut, or emptied; a line lost, doubled, or moved."""
    kind = data.draw(st.sampled_from(["flip", "cut", "zeros", "lose", "double", "swap"]))
    lines, at = content.splitlines(keepends=True), data.draw(st.integers(0, max(0, len(content) - 1)))
    line = data.draw(st.integers(0, max(0, len(lines) - 1)))
    if kind == "flip":
        return content[:at] + bytes([content[at] ^ 1 << data.draw(st.integers(0, 7))]) + content[at + 1 :]
    if kind == "cut":
        return content[:at]
    if kind == "zeros":
        return content[:at] + bytes(len(content) - at)
    lost, doubled = [*lines[:line], *lines[line + 1 :]], [*lines[: line + 1], *lines[line:]]
    return b"".join({"lose": lost, "double": doubled, "swap": [*lost, *lines[line : line + 1]]}[kind])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=300)
@given(data=st.data(), name=st.sampled_from(FILES), delete=st.booleans())
@pytest.mark.filterwarnings("ignore:.*computed again")
def test_damage_is_refused_or_computed_again(
    tmp_path_factory: pytest.TempPathFactory, after: list[Path], data: st.DataObject, name: str, delete: bool
) -> None:
    folder = tmp_path_factory.mktemp("run")
    shutil.copytree(after[-1], folder, dirs_exist_ok=True)
    if delete:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(damages((folder / name).read_bytes(), data))
    try:
        again = RunState(folder, plan())
    except ChangedRunError as error:
        assert "plan.json is missing, damaged" in str(error)  # noqa: PT017
        return
    logs = [(state / LOG_FILE).read_bytes() for state in after]
    for make in PARTS[logs.index((folder / LOG_FILE).read_bytes()) :]:
        again.commit(make())
    assert (folder / LOG_FILE).read_bytes() == logs[-1]
    np.testing.assert_array_equal(again.array(), rows(0, 10))  # the header in front is written at the end


def test_damage_is_said(tmp_path: Path) -> None:
    committed(tmp_path, 6)
    with (tmp_path / ROWS_FILE).open("r+b") as file:
        file.seek(NPY_HEADER + 5 * 12)
        file.write(b"x")
    with pytest.warns(UserWarning, match="damaged after 2 sounds; what follows is computed again"):
        state = RunState(tmp_path, plan())
    assert (state.place, state.rows, state.opened.rows) == (2, 4, 2)


def test_a_commit_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    state = committed(tmp_path, 2)
    before = contents(tmp_path)

    def failing() -> Iterator[np.ndarray]:
        yield rows(4, 1)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        state.commit(Part([Outcome(rows=1)], None, False, failing()))
    assert contents(tmp_path) == before


def test_npy_of_the_rows(tmp_path: Path) -> None:
    for dtype in ("float32", "float16"):
        folder = tmp_path / dtype
        folder.mkdir()
        state = RunState(folder, plan(dtype=dtype))
        state.commit(part([rows(0, 4)], [Outcome(rows=1)] * 4))
        state.write_npy_header()
        loaded = np.load(folder / ROWS_FILE, mmap_mode="r")
        np.testing.assert_array_equal(loaded, rows(0, 4))
        assert loaded.dtype == dtype
        assert os.path.getsize(folder / ROWS_FILE) == NPY_HEADER + 12 * np.dtype(dtype).itemsize


def test_another_run_is_refused_only_if_there_is_something_to_lose(tmp_path: Path) -> None:
    RunState(tmp_path, plan())
    other = plan(pooling="cls")
    RunState(tmp_path, other).commit(part([rows(0, 1)], [Outcome(rows=1)]))
    with pytest.raises(ChangedRunError, match="pooling was cls, now mean"):
        RunState(tmp_path, plan())
    with pytest.raises(ChangedRunError, match="6 sounds then, 7 now"):
        RunState(tmp_path, plan(7, pooling="cls"))
    (tmp_path / PLAN_FILE).unlink()
    with pytest.raises(ChangedRunError, match=r"plan.json is missing"):
        RunState(tmp_path, plan())
    assert RunState(tmp_path, other).rows == 1  # its first line says whose it is
    assert (tmp_path / PLAN_FILE).exists()


def test_the_state_of_an_older_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / PLAN_FILE).write_text(json.dumps(plan().identity(), indent=2))
    (tmp_path / "batches.jsonl").write_text('{"rows": 2, "sounds": [{"rows": 1}, {"rows": 1}]}\n')
    with pytest.raises(ChangedRunError, match="of another version of aasp-features"):
        RunState(tmp_path, plan())


def test_threads_are_noted_and_do_not_matter(tmp_path: Path) -> None:
    for threads in (8, 2, 2, 8):
        RunState(tmp_path, plan(threads=threads)).commit(part([rows(0, 1)], [Outcome(rows=1)]))
    assert RunState(tmp_path, plan()).threads == [8, 2]


def read_sounds(folder: Path) -> tuple[list[Sound], list[Outcome]]:
    """Four files, and what became of them."""
    folder.mkdir()
    for place in range(4):
        (folder / f"{place}.wav").write_bytes(b"%d" % place)
    sounds = [Sound(path) for path in sorted(folder.iterdir())]
    return sounds, [Outcome(1, sha256=sound.content().sha256) for sound in sounds]


def test_work_is_known_by_what_was_read(tmp_path: Path) -> None:
    """Two of four sounds are done, of the third the beginning: new times, names and unread sounds are no matter."""
    sounds, outcomes = read_sounds(tmp_path / "a")
    opened = OpenSound(1, 2, 9, sha256=outcomes[2].sha256)
    (tmp_path / "run").mkdir()
    state = RunState(tmp_path / "run", make_plan(sounds, run_settings()))
    state.commit(part([rows(0, 1), rows(1, 1), rows(2, 2)], outcomes[:2], opened))
    os.utime(sounds[0].path, (1, 1))
    (tmp_path / "a").rename(tmp_path / "b")
    moved = [Sound(tmp_path / "b" / sound.path.name) for sound in sounds]
    moved[3].path.write_bytes(b"longer now")
    again = RunState(tmp_path / "run", make_plan(moved, run_settings()))
    assert (again.place, again.rows, again.opened) == (2, 4, opened)
    renewed = json.loads((tmp_path / "run" / PLAN_FILE).read_text())
    assert renewed["stamps_sha256"] == make_plan(moved, run_settings()).digests["stamps_sha256"]
    (tmp_path / "run" / PLAN_FILE).unlink()  # who does not know the times reads
    assert RunState(tmp_path / "run", make_plan(moved, run_settings())).place == 2
    for place in range(3):
        kept = moved[place].path.read_bytes()
        moved[place].path.write_bytes(b"x")
        with pytest.raises(ChangedRunError, match=rf"{place}\.wav was changed or removed after it was read"):
            RunState(tmp_path / "run", make_plan(moved, run_settings()))
        moved[place].path.write_bytes(kept)
    with pytest.raises(ChangedRunError, match="the sounds are others, or in another order"):
        RunState(tmp_path / "run", make_plan(moved[::-1], run_settings()))
    assert RunState(tmp_path / "run", make_plan(moved, run_settings())).place == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "line"])
def test_what_does_not_hold_any_more_is_taken_back(tmp_path: Path, damage: str) -> None:
    state = committed(tmp_path, 6)
    assert state.holds()
    if damage == "line":
        lines = (tmp_path / LOG_FILE).read_bytes().splitlines(keepends=True)
        (tmp_path / LOG_FILE).write_bytes(b"".join([*lines[:2], lines[2][:-5] + b"\n", *lines[3:]]))
    elif damage == "cut":
        os.truncate(tmp_path / ROWS_FILE, NPY_HEADER + 7 * 12 + 5)
    else:
        content = bytearray((tmp_path / ROWS_FILE).read_bytes())
        content[NPY_HEADER + 8 * 12] ^= 1
        (tmp_path / ROWS_FILE).write_bytes(content)
    with pytest.warns(UserWarning, match="damaged after 2 sounds; what follows is computed again"):
        assert not state.holds()
    for make in PARTS[2:]:
        state.commit(make())
    assert state.holds()
    np.testing.assert_array_equal(state.array(), rows(0, 10))
