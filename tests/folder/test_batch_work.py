"""What becomes of each sound of a batch."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers import noise, read_csv

from aasp_features import AaSPEncoder, VectorError
from aasp_features.folder import options as run_options
from aasp_features.folder import plan
from aasp_features.folder.options import RunOptions
from aasp_features.folder.run import embed_sounds
from aasp_features.network import Features
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


@pytest.fixture
def deaf_to_loud(small_encoder: AaSPEncoder) -> Iterator[AaSPEncoder]:
    """A network whose answer to loud sounds is NaN."""

    def damage(network: object, inputs: tuple[torch.Tensor, ...], features: Features) -> None:
        features.tokens[inputs[0].amax(dim=(1, 2)) > 2] = torch.nan

    hook = small_encoder.network.register_forward_hook(damage)
    yield small_encoder
    hook.remove()


@pytest.mark.parametrize("frames", [False, True])
def test_an_answer_that_is_not_finite_is_no_row(deaf_to_loud: AaSPEncoder, tmp_path: Path, frames: bool) -> None:
    levels = [0.001, 0.9, 0.002, 0.001]
    for name, level in zip("abcd", levels, strict=True):
        soundfile.write(tmp_path / f"{name}.wav", level * noise(30_000) / 0.5, 16000, subtype="FLOAT")
    result = embed_sounds(deaf_to_loud, find_sounds(tmp_path), tmp_path / "emb.npy", RunOptions(frames=frames))
    assert result.failures == 1
    (failure,) = read_csv(tmp_path / "emb.errors.csv")
    assert failure["path"].endswith("b.wav")
    assert "the network answers with NaN" in failure["error"]
    quiet = [deaf_to_loud.embed_frames(tmp_path / f"{name}.wav", hop=0.16).embeddings for name in "acd"]
    if not frames:
        quiet = [deaf_to_loud.embed(tmp_path / f"{name}.wav")[None] for name in "acd"]
    np.testing.assert_allclose(np.load(tmp_path / "emb.npy"), np.concatenate(quiet), atol=1e-5)


def test_a_long_sound_with_such_an_answer_ends_the_run(
    deaf_to_loud: AaSPEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_options, "PART_SECONDS", 5.0)
    soundfile.write(tmp_path / "long.wav", noise(16000 * 30), 16000)
    with pytest.raises(VectorError, match=r"long\.wav: the network answers with NaN"):
        embed_sounds(deaf_to_loud, find_sounds(tmp_path), tmp_path / "emb.npy", RunOptions(frames=True))
