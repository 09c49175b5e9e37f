"""Rows of many sounds in one file."""

from contextlib import closing
from pathlib import Path

import numpy as np

from aasp_features.folder.spill_file import SpilledVectors, SpillFile
from aasp_features.inference import ColumnVectors


def test_thousands_of_sounds_spill_into_one_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    expected = [rng.normal(size=(int(rng.integers(1, 9)), 4)).astype(np.float32) for _ in range(3000)]
    with closing(SpillFile(tmp_path)) as spill:
        spilled = [SpilledVectors(spill) for _ in expected]
        for half in (slice(None, 2), slice(2, None)):  # windows of many sounds come interleaved
            for one, rows in zip(spilled, expected, strict=True):
                one.add(ColumnVectors(rows[half], np.full(len(rows[half]), 16), np.zeros(4, np.float32)))
        for one, rows in zip(spilled, expected, strict=True):
            np.testing.assert_array_equal(one.read(0, 100), rows)
            np.testing.assert_array_equal(one.read(1, 3), rows[1:3])
            assert one.frames == 16 * len(rows)
