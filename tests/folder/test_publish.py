"""Results reach their places all or none; a move that was cut off is ended by the next process."""

from pathlib import Path

import numpy as np
import pytest
from run_settings import run_settings

from aasp_features.folder.output import finished_record
from aasp_features.folder.parts import Outcome, Part
from aasp_features.folder.plan import Plan, make_plan
from aasp_features.folder.publish import READY, clear, make_results, move_results
from aasp_features.folder.state import RunState
from aasp_features.folder.table import RowTable
from aasp_features.sounds.sound import Sound

ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


def done_run(folder: Path) -> tuple[RunState, Plan]:
    plan = make_plan([Sound(Path("a.wav")), Sound(Path("b.wav")), Sound(Path("c.wav"))], run_settings())
    state = RunState(folder, plan)
    state.commit(Part([Outcome(1), Outcome(error="broken"), Outcome(1)], None, True, iter([ROWS])))
    return state, plan


def test_a_move_may_be_cut_off_after_any_file(tmp_path: Path) -> None:
    for moved in range(4):
        place, out = tmp_path / str(moved), tmp_path / str(moved) / "emb.npy"
        folder = place / "emb.npy.partial"
        folder.mkdir(parents=True)
        state, plan = done_run(folder)
        assert not move_results(folder, out)  # nothing is ready
        make_results(state, plan, RowTable(plan.sounds, state.outcomes), out, {})
        for path in sorted((folder / READY).iterdir(), key=lambda path: path.name == "emb.json")[:moved]:
            path.replace(place / path.name)  # as far as a process came that died
        if not (folder / READY / "emb.json").exists():
            state.rows_path.replace(out)  # it had moved the rows before
        assert move_results(folder, out)
        assert sorted(path.name for path in place.iterdir() if path.is_file()) == [
            "emb.csv", "emb.errors.csv", "emb.json", "emb.npy"
        ]  # fmt: skip
        np.testing.assert_array_equal(np.load(out), ROWS)
        assert finished_record(out, plan)["failures"] == 1
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["rows.bin", "ready/emb.csv", "ready/emb.errors.csv", "ready/emb.json"])
def test_results_that_were_damaged_before_they_were_moved_are_made_again(tmp_path: Path, name: str) -> None:
    out, folder = tmp_path / "emb.npy", tmp_path / "emb.npy.partial"
    folder.mkdir()
    state, plan = done_run(folder)
    make_results(state, plan, RowTable(plan.sounds, state.outcomes), out, {})
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    assert not move_results(folder, out)
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert not (folder / READY).exists()


def test_clearing_leaves_the_lock(tmp_path: Path) -> None:
    done_run(tmp_path)
    (tmp_path / "lock").touch()
    clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
