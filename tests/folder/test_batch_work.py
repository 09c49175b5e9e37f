"""What becomes of each sound of a batch."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import read_csv

from aasp_features import AaSPEncoder
from aasp_features.folder import plan
from aasp_features.folder.options import RunOptions
from aasp_features.folder.run import embed_sounds
from aasp_features.sounds.discovery import find_sounds


@pytest.mark.parametrize("frames", [False, True])
def test_a_sound_that_changes_during_the_run_has_no_row(
    small_encoder: AaSPEncoder, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: bool
) -> None:
    """It may have been read while it was written; one that is gone after it was read is all right."""
    monkeypatch.setattr(plan, "BATCH_SOUNDS", 3)
    shutil.copytree(sounds, tmp_path / "sounds")
    found, out, options = find_sounds([tmp_path / "sounds"]), tmp_path / "emb.npy", RunOptions(frames=frames)
    embed_sounds(small_encoder, found, tmp_path / "before.npy", options)
    changed, seen = found.sounds[-1].path, []

    def on_sound(name: str, error: str | None) -> None:
        seen.append((name, error))
        if len(seen) == 1:
            with changed.open("ab") as file:
                file.write(b"more")

    result = embed_sounds(small_encoder, found, out, options, on_sound=on_sound)
    assert result.failures == 1
    assert [name for name, error in seen if error] == [str(changed)]
    assert "changed during the run" in (tmp_path / "emb.errors.csv").read_text()
    vectors, whole = np.load(out), np.load(tmp_path / "before.npy")
    assert len(vectors) < len(whole)
    np.testing.assert_allclose(vectors, whole[: len(vectors)], atol=1e-5, rtol=1e-5)


def test_an_unexpected_failure_costs_one_sound(
    small_encoder: AaSPEncoder, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = small_encoder.windows

    def failing(blocks: object, *options: object) -> object:
        if "bell" in blocks.name:
            raise MemoryError("no memory for a bell")
        return original(blocks, *options)

    monkeypatch.setattr(small_encoder, "windows", failing)
    result = embed_sounds(small_encoder, find_sounds([sounds]), tmp_path / "emb.npy")
    assert (result.rows, result.failures) == (11, 1)
    assert read_csv(tmp_path / "emb.errors.csv")[0]["error"] == "no memory for a bell"
