"""bfloat16 and compiled networks: near the plain one, and the promises hold for them too."""

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import cosine, mixed_sounds, run_command

from aasp_features import AaSPEncoder, OptionError
from aasp_features.cli import app
from aasp_features.folder.options import RunOptions


@pytest.fixture(scope="module")
def rough() -> AaSPEncoder:
    return AaSPEncoder.from_pretrained(precision="bfloat16")


@pytest.fixture(scope="module")
def rough_and_small(checkpoint: Path) -> AaSPEncoder:
    return AaSPEncoder.from_pretrained(checkpoint, precision="bfloat16")


@pytest.fixture(scope="module")
def compiled(checkpoint: Path) -> Iterator[AaSPEncoder]:
    encoder = AaSPEncoder.from_pretrained(checkpoint)
    encoder.compile()
    yield encoder
    torch.set_flush_denormal(False)  # what older torch compiles turns it on, for the tests to come too


def test_bfloat16_is_near_float32(rough: AaSPEncoder, sounds: Path) -> None:
    files = sorted(sounds.rglob("*.flac"))
    exact, near = AaSPEncoder.from_pretrained().embed(files), rough.embed(files)
    assert near.dtype == np.float32
    assert not np.array_equal(exact, near)
    assert cosine(exact, near).min() > 0.999


def test_bfloat16_keeps_the_promises(rough_and_small: AaSPEncoder) -> None:
    rough, clips = rough_and_small, mixed_sounds()
    together = rough.embed(clips)
    np.testing.assert_array_equal(rough.embed(clips), together)
    for clip, vector in zip(clips, together, strict=True):
        assert cosine(rough.embed(clip), vector) > 0.9999
    stream = rough.stream(16000)
    streamed = np.concatenate([stream.push(clips[-1]).embeddings, stream.finish().embeddings])
    assert cosine(streamed, rough.embed_frames(clips[-1]).embeddings).min() > 0.9999


def test_compiled_equals_plain(compiled: AaSPEncoder, checkpoint: Path) -> None:
    """One clip at a time: torch compiles anew for a batch of several, which takes ten seconds more."""
    plain = AaSPEncoder.from_pretrained(checkpoint)
    assert (plain.compiled, compiled.compiled) == (False, True)
    for clip in mixed_sounds()[:-1]:  # of one window
        np.testing.assert_allclose(compiled.embed(clip), plain.embed(clip), atol=1e-5, rtol=1e-5)


def test_copies_of_a_compiled_encoder_are_compiled(compiled: AaSPEncoder) -> None:
    clip = mixed_sounds()[1]
    for other in (copy.deepcopy(compiled), pickle.loads(pickle.dumps(compiled))):
        assert other.compiled
        assert all(block._compiled_call_impl is not None for block in other.network.blocks)
        np.testing.assert_allclose(other.embed(clip), compiled.embed(clip), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("precision", ["half", "float8", None])
def test_a_precision_is_checked_before_anything_is_loaded(precision: Any) -> None:
    with pytest.raises(OptionError, match=f"precision must be one of float32, bfloat16, got {precision!r}"):
        AaSPEncoder.from_pretrained("no/such-checkpoint", precision=precision)


def test_a_run_of_another_precision_is_another_run(rough: AaSPEncoder, compiled: AaSPEncoder) -> None:
    settings = [RunOptions().resolve(encoder, "cpu").to_dict() for encoder in (rough, compiled)]
    assert [(one["precision"], one["compiled"]) for one in settings] == [("bfloat16", False), ("float32", True)]


def test_on_the_command_line(checkpoint: Path, sounds: Path, tmp_path: Path) -> None:
    arguments = [sounds / "voice" / "whistle.aiff", "--model", checkpoint, "--out", tmp_path / "emb.npy", "--quiet"]

    def run(*more: str) -> Any:
        return run_command(app, *arguments, *more)

    assert run("--compile").returncode == 0
    other = run("--precision", "bfloat16")
    assert other.returncode == 2
    assert "compiled was True, now False; precision was float32, now bfloat16" in other.stderr
    wrong = run("--precision", "half")
    assert wrong.returncode == 2
    assert "'half' is not one of 'float32', 'bfloat16'" in wrong.stderr
