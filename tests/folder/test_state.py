"""A run on disk: what was committed stays, whatever happens to the rest; what was damaged does not count."""

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from engine_runs import run_settings
from faults_of_state import CHANGES, Change
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aasp_features.folder.ledger import Outcome
from aasp_features.folder.plan import Plan, make_plan
from aasp_features.folder.state import (
    END_BYTES,
    LOG_FILE,
    NPY_HEADER,
    PLAN_FILE,
    ROWS_FILE,
    BatchResult,
    ChangedRunError,
    RunState,
    fingerprint,
    read_sealed,
    seal,
    unseal,
    write_npy_header,
    write_whole,
)
from aasp_features.sounds.sound import Sound

FILES = (ROWS_FILE, LOG_FILE, PLAN_FILE)


def plan(sounds: int = 6, **settings: object) -> Plan:
    return make_plan([Sound(Path(f"{index}.wav")) for index in range(sounds)], run_settings(**settings))


def rows(first: int, count: int) -> np.ndarray:
    return np.arange(first * 3, (first + count) * 3, dtype=np.float32).reshape(count, 3)


def batch(outcomes: list[Outcome], *pieces: np.ndarray) -> BatchResult:
    return BatchResult(outcomes, iter(pieces))


BATCHES = [
    lambda: batch([Outcome(1), Outcome(1)], rows(0, 1), rows(1, 1)),
    lambda: batch([Outcome(7, frames=100)], rows(2, 5), rows(7, 2)),
    lambda: batch([Outcome(error="broken")]),
    lambda: batch([Outcome(1)], rows(9, 1)),
]


INDICES = [[0, 1], [2], [3], [4]]


def committed(folder: Path, batches: int) -> RunState:
    folder.mkdir(exist_ok=True)
    state = RunState(folder, plan())
    state.begin()
    commit_all(state, batches)
    return state


def commit_all(state: RunState, batches: int = 4) -> None:
    """Commit those of the first batches that are not there yet."""
    for indices, make in list(zip(INDICES, BATCHES, strict=True))[:batches]:
        if indices[0] >= state.sounds:
            state.commit(indices, make())


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def after(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The state after 0, 1, … batches."""
    folder = tmp_path_factory.mktemp("after")
    for batches in range(len(BATCHES) + 1):
        committed(folder / str(batches), batches)
    return [folder / str(batches) for batches in range(len(BATCHES) + 1)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
@given(batches=st.integers(0, 4), extra_rows=st.binary(max_size=50), extra_line=st.text('{}[1,"rows', max_size=30))
def test_what_follows_the_last_whole_line_is_cut_off(
    tmp_path_factory: pytest.TempPathFactory, after: list[Path], batches: int, extra_rows: bytes, extra_line: str
) -> None:
    folder = tmp_path_factory.mktemp("run")
    committed(folder, batches)
    with (folder / ROWS_FILE).open("ab") as file, (folder / LOG_FILE).open("a") as log:
        file.write(extra_rows)
        log.write(extra_line)  # without its line feed, so not whole
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = RunState(folder, plan())
    assert contents(folder) == contents(after[batches])
    commit_all(again)
    assert contents(folder) == contents(after[-1])


def test_what_was_committed_is_read_again(tmp_path: Path) -> None:
    for state in (committed(tmp_path, 4), RunState(tmp_path, plan())):
        np.testing.assert_array_equal(state.array(), rows(0, 10))
        assert (state.sounds, state.rows) == (5, 10)
        done = list(state.done_sounds())
        assert [each.outcome for each in done] == [outcome for make in BATCHES for outcome in make().outcomes]
        assert [each.name for each in done] == [f"{index}.wav" for index in range(5)]
    assert '"stamp": [0, 0, 0], "error": "broken"}' in (tmp_path / LOG_FILE).read_text()  # without what is as always


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=200)
@given(seed=st.integers(0, 2**32), change=st.sampled_from(CHANGES), name=st.sampled_from(FILES), delete=st.booleans())
@pytest.mark.filterwarnings("ignore:.*computed again")
def test_damage_is_refused_or_computed_again(
    tmp_path_factory: pytest.TempPathFactory, after: list[Path], seed: int, change: Change, name: str, delete: bool
) -> None:
    folder = tmp_path_factory.mktemp("run")
    shutil.copytree(after[-1], folder, dirs_exist_ok=True)
    if delete:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(change((folder / name).read_bytes(), np.random.default_rng(seed)))
    try:
        again = RunState(folder, plan())
    except ChangedRunError as error:
        assert "plan.json is missing, damaged" in str(error)  # noqa: PT017
        return
    logs = [(state / LOG_FILE).read_bytes() for state in after]
    assert (folder / LOG_FILE).read_bytes() in logs
    commit_all(again)
    assert (folder / LOG_FILE).read_bytes() == logs[-1]
    np.testing.assert_array_equal(again.array(), rows(0, 10))  # the header in front is written at the end


def test_a_commit_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    state = committed(tmp_path, 2)
    before = contents(tmp_path)

    def failing() -> Iterator[np.ndarray]:
        yield rows(4, 1)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        state.commit([3], BatchResult([Outcome(rows=1)], failing()))
    assert contents(tmp_path) == before


def test_npy_of_the_rows(tmp_path: Path) -> None:
    for dtype in ("float32", "float16"):
        folder = tmp_path / dtype
        folder.mkdir()
        state = RunState(folder, plan(dtype=dtype))
        state.commit([0, 1, 2, 3], batch([Outcome(rows=1)] * 4, rows(0, 4)))
        write_npy_header(state.rows_path, 4, state.plan.settings)
        loaded = np.load(folder / ROWS_FILE, mmap_mode="r")
        np.testing.assert_array_equal(loaded, rows(0, 4))
        assert loaded.dtype == dtype
        assert os.path.getsize(folder / ROWS_FILE) == NPY_HEADER + 12 * np.dtype(dtype).itemsize


def test_another_run_is_refused_only_if_there_is_something_to_lose(tmp_path: Path) -> None:
    RunState(tmp_path, plan()).begin()
    other = RunState(tmp_path, plan(pooling="cls"))
    other.begin()
    other.commit([0], batch([Outcome(rows=1)], rows(0, 1)))
    with pytest.raises(ChangedRunError, match="pooling was cls, now mean"):
        RunState(tmp_path, plan())
    assert RunState(tmp_path, plan(7, pooling="cls")).sounds == 1  # other sounds are the ledger's matter
    (tmp_path / PLAN_FILE).unlink()
    with pytest.raises(ChangedRunError, match=r"plan.json is missing"):
        RunState(tmp_path, plan())
    assert RunState(tmp_path, plan(pooling="cls")).rows == 1  # its first line says whose it is


def test_threads_are_noted_and_do_not_matter(tmp_path: Path) -> None:
    for threads in (8, 2, 2, 8):
        RunState(tmp_path, plan(threads=threads)).commit([0], batch([Outcome(rows=1)], rows(0, 1)))
    assert RunState(tmp_path, plan()).threads == [8, 2]


@pytest.mark.parametrize("damage", ["flip", "cut", "line"])
def test_what_does_not_hold_any_more_is_taken_back(tmp_path: Path, damage: str) -> None:
    """During the run; the next run finds it as it opens the state, by the same check."""
    state = committed(tmp_path, 4)
    assert state.holds()
    if damage == "line":
        lines = (tmp_path / LOG_FILE).read_bytes().splitlines(keepends=True)
        (tmp_path / LOG_FILE).write_bytes(b"".join([lines[0], lines[1][:-5] + b"\n", *lines[2:]]))
    elif damage == "cut":
        os.truncate(tmp_path / ROWS_FILE, NPY_HEADER + 7 * 12 + 5)
    else:
        content = bytearray((tmp_path / ROWS_FILE).read_bytes())
        content[NPY_HEADER + 8 * 12] ^= 1
        (tmp_path / ROWS_FILE).write_bytes(content)
    with pytest.warns(UserWarning, match="damaged after 2 sounds; what follows is computed again"):
        assert not state.holds()
    assert (state.sounds, state.rows) == (2, 2)
    commit_all(state)
    assert state.holds()
    np.testing.assert_array_equal(state.array(), rows(0, 10))


VALUES = {"rows": 12, "sounds": [{"seconds": 1.5, "error": "caf\udce9"}], "open": None}


def test_what_came_before_a_seal_counts(tmp_path: Path) -> None:
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
