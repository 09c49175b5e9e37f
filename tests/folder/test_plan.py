"""Batches are decided by the list of sounds alone."""

import json
import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from run_settings import run_settings

from aasp_features.folder.plan import BATCH_BYTES, make_plan
from aasp_features.sounds.sound import Sound


def test_changed_files_make_another_plan(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"1")
    before = make_plan([Sound(path)], run_settings())
    os.utime(path, (1, 1))
    after = make_plan([Sound(path)], run_settings())
    assert after.differs_from(before.identity()) == "the sounds are others (files were changed)"
    assert json.loads(json.dumps(before.identity())) == before.identity()


@settings(deadline=None)
@given(st.lists(st.integers(0, 2 * BATCH_BYTES), max_size=700))
def test_batches_cover_all_sounds_in_order_within_their_limits(sizes: list[int]) -> None:
    class Sized(Sound):
        def stamp(self) -> tuple[int, int, int]:
            return self.size, 0, 0

    batches = make_plan([Sized(Path("x"), size=size) for size in sizes], run_settings()).batches
    assert [place for batch in batches for place in batch] == list(range(len(sizes)))
    for batch in batches:
        assert len(batch) == 1 or (len(batch) <= 256 and sum(sizes[place] for place in batch) <= BATCH_BYTES)
