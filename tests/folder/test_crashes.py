"""Kill a run at every step on the disk, or damage its work: the same command again ends with the same bytes."""

import multiprocessing
import os
import sys
from collections import Counter
from pathlib import Path

import pytest
from faults import moved
from faults_of_state import damaged

from aasp_features.folder import plan

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills processes by POSIX signals")


@pytest.fixture(scope="module")
def start():
    """Starts ``killed_run.run`` in processes that have torch loaded already."""
    sys.path.insert(0, str(Path(__file__).parent))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["killed_run", "aasp_features.encoder", "aasp_features.folder.run"])

    def start(*arguments: object) -> int:
        import killed_run

        process = context.Process(target=killed_run.run, args=arguments)
        process.daemon = True  # should it hang, it ends with the tests
        process.start()
        process.join()
        return process.exitcode

    yield start
    sys.path.pop(0)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("name", "options", "stride"),
    [
        ("emb.npy", {}, 4),
        pytest.param("emb.npy", {}, 1, marks=pytest.mark.slow),
        pytest.param("emb.npz", {"frames": True, "hop": 0.08, "pooling": "mean"}, 1, marks=pytest.mark.slow),
    ],
)
def test_killed_anywhere(
    start, checkpoint: Path, sounds: Path, tmp_path: Path, name: str, options: dict, stride: int
) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    assert start(checkpoint, sounds, whole / name, options, 0) == 0
    expected, deaths = contents(whole), 0
    assert set(expected) == {name, "emb.csv", "emb.json", "emb.sounds.jsonl"}
    for step in range(1, 200, stride):
        folder = tmp_path / str(step)
        folder.mkdir()
        code = start(checkpoint, sounds, folder / name, options, step)
        if code == 0:
            break
        deaths += 1
        assert code == -9
        assert start(checkpoint, sounds, folder / name, options, 0) == 0
        assert contents(folder) == expected, step
    assert deaths >= 15 / stride
    assert os.listdir(folder) != []


def test_killed_again_and_again_it_still_gets_there(start, checkpoint: Path, sounds: Path, tmp_path: Path) -> None:
    """Each life gets a little further than the one before."""
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    start(checkpoint, sounds, tmp_path / "whole/emb.npy", {}, 0)
    lives = 0
    while start(checkpoint, sounds, tmp_path / "cut/emb.npy", {}, 13) != 0:
        lives += 1
        assert lives < 20
    assert lives >= 2
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_damaged_work_is_never_wrong_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """``tests/faults.py --damaged`` does it more often."""
    monkeypatch.setattr(plan, "BATCH_SOUNDS", plan.BATCH_SOUNDS)  # which it changes
    endings = Counter(ending for _, ending in damaged(40, seed=1))
    assert set(endings) == {"same bytes", "refused in a sentence"}
    assert endings["same bytes"] > 20


def test_moved_sounds_are_the_same_sounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """``tests/faults.py --moved`` does it more often."""
    monkeypatch.setattr(plan, "BATCH_SOUNDS", plan.BATCH_SOUNDS)  # which it changes
    endings = Counter(ending for _, ending in moved(30, seed=1))
    assert set(endings) == {"same bytes", "refused in a sentence"}
    assert endings["same bytes"] > 15
