"""A run on disk: what was committed stays, whatever happens to the rest."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_settings import run_settings

from aasp_features.folder.plan import Plan, make_plan
from aasp_features.folder.state import LOG_FILE, NPY_HEADER, ROWS_FILE, ChangedRunError, Outcome, RunState
from aasp_features.sounds.sound import Sound


def plan(sounds: int = 6, **settings: str) -> Plan:
    return make_plan([Sound(Path(f"{place}.wav")) for place in range(sounds)], run_settings(**settings))


def rows(first: int, count: int) -> np.ndarray:
    return np.arange(first * 3, (first + count) * 3, dtype=np.float32).reshape(count, 3)


def committed(folder: Path, batches: int) -> RunState:
    state = RunState(folder, plan())
    for batch in range(batches):
        state.commit(iter([rows(2 * batch, 1), rows(2 * batch + 1, 1)]), [Outcome(rows=1), Outcome(rows=1)])
    return state


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
@given(batches=st.integers(0, 3), extra_rows=st.binary(max_size=50), extra_line=st.text('{}[1,"rows', max_size=30))
def test_what_follows_the_last_whole_batch_is_cut_off(
    tmp_path_factory: pytest.TempPathFactory, batches: int, extra_rows: bytes, extra_line: str
) -> None:
    folder = tmp_path_factory.mktemp("run")
    committed(folder, batches)
    with (folder / ROWS_FILE).open("ab") as file, (folder / LOG_FILE).open("a") as log:
        file.write(extra_rows)
        log.write(extra_line)  # without its line feed, so not whole
    again = RunState(folder, plan())
    assert (again.batches_done, again.rows) == (batches, 2 * batches)
    again.commit(iter([rows(2 * batches, 2)]), [Outcome(rows=1), Outcome(rows=1)])
    np.testing.assert_array_equal(again.array(), rows(0, 2 * batches + 2))
    assert len(list(again.outcomes())) == 2 * batches + 2


def test_a_commit_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    state = committed(tmp_path, 2)
    before = {name: (tmp_path / name).read_bytes() for name in (ROWS_FILE, LOG_FILE)}

    def failing() -> object:
        yield rows(4, 1)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        state.commit(failing(), [Outcome(rows=1)])
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_npy_of_the_rows(tmp_path: Path) -> None:
    for dtype in ("float32", "float16"):
        folder = tmp_path / dtype
        folder.mkdir()
        state = RunState(folder, plan(dtype=dtype))
        state.commit(iter([rows(0, 4)]), [Outcome(rows=1)] * 4)
        state.write_npy_header()
        loaded = np.load(folder / ROWS_FILE, mmap_mode="r")
        np.testing.assert_array_equal(loaded, rows(0, 4))
        assert loaded.dtype == dtype
        assert os.path.getsize(folder / ROWS_FILE) == NPY_HEADER + 12 * np.dtype(dtype).itemsize


def test_another_run_is_refused_only_if_there_is_something_to_lose(tmp_path: Path) -> None:
    RunState(tmp_path, plan())
    other = plan(pooling="cls")
    RunState(tmp_path, other).commit(iter([rows(0, 1)]), [Outcome(rows=1)])
    with pytest.raises(ChangedRunError, match="pooling was cls, now mean"):
        RunState(tmp_path, plan())
    with pytest.raises(ChangedRunError, match="6 sounds then, 7 now"):
        RunState(tmp_path, plan(7, pooling="cls"))
