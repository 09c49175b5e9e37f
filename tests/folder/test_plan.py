"""The list of sounds and their sizes alone decide the batches."""

import json
import os
from pathlib import Path

from engine_runs import run_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from aasp_features.folder.plan import BATCH_BYTES, make_plan
from aasp_features.sounds.sound import Sound


class Sized(Sound):
    def stamp(self) -> tuple[int, int, int]:
        return self.size, 0, 0


def test_names_and_times_are_no_other_work(tmp_path: Path) -> None:
    path, settings = tmp_path / "a.wav", run_settings()
    path.write_bytes(b"1")
    before = make_plan([Sound(path)], settings)
    then = json.loads(json.dumps(before.identity()))
    assert then == before.identity()
    renamed = make_plan([Sound(path.rename(tmp_path / "b.wav"))], settings)
    assert not renamed.is_of(then, "names_sha256")
    path.write_bytes(b"2")
    os.utime(path, (1, 1))
    after = make_plan([Sound(path)], settings)
    assert after.is_of(then, "names_sha256")
    assert not after.is_of(then, "stamps_sha256")
    for same in (before, renamed, after):
        assert same.differs_from(then) == ""
    assert before.is_of(then, "names_sha256", "parts_sha256", "stamps_sha256")


def test_what_is_other_work_is_said() -> None:
    then = make_plan([Sound(Path("a")), Sound(Path("b"), 0, 1)], run_settings()).identity()
    for sounds, asked, reason in [
        ([Sound(Path("a"))], run_settings(), "the sounds are others (2 sounds then, 1 now)"),
        ([Sound(Path("a")), Sound(Path("b"), 0, 2)], run_settings(), "other parts of the sounds are asked for"),
        ([Sound(Path("a")), Sound(Path("b"), 0, 1)], run_settings("cls"), "pooling was mean, now cls"),
    ]:
        assert make_plan(sounds, asked).differs_from(then) == reason


@settings(deadline=None)
@given(st.lists(st.integers(0, 2 * BATCH_BYTES), max_size=700))
def test_batches_cover_all_sounds_in_order_within_their_limits(sizes: list[int]) -> None:
    batches = make_plan([Sized(Path("x"), size=size) for size in sizes], run_settings()).batches()
    assert [index for batch in batches for index in batch] == list(range(len(sizes)))
    for batch in batches:
        assert len(batch) == 1 or (len(batch) <= 256 and sum(sizes[index] for index in batch) <= BATCH_BYTES)


def test_short_parts_of_a_long_file_share_a_batch() -> None:
    parts = [Sized(Path("x"), start, start + 1, size=2 * BATCH_BYTES) for start in range(256)]
    assert make_plan(parts, run_settings()).batches() == [list(range(256))]
