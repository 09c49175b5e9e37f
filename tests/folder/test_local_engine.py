"""Batches on this machine: the row or rows of each sound, failures, and several devices."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from engine_runs import FRAMES, embed, written
from helpers import noise, read_csv, relative_difference

from aasp_features import AaSPEncoder, inference
from aasp_features.folder import Discovery, local_engine, plan
from aasp_features.folder.local_engine import LocalEngine
from aasp_features.folder.options import RunOptions
from aasp_features.folder.run import embed_sounds
from aasp_features.model.network import Features
from aasp_features.sounds.discovery import find_sounds

BOTH = pytest.mark.parametrize("options", [RunOptions(), FRAMES], ids=["clips", "frames"])


@pytest.mark.usefixtures("small_batches")
@BOTH
def test_devices_give_the_bytes_of_one(
    small_encoder: AaSPEncoder, corpus: list[Path], long_sounds: Discovery, tmp_path: Path, options: RunOptions
) -> None:
    paths = [*corpus, *(sound.path for sound in long_sounds.sounds)]
    embed(small_encoder, paths, tmp_path / "one", options)
    for devices in (2, 3):
        result = embed(LocalEngine([small_encoder] * devices, 4), paths, tmp_path / f"{devices}", options)
        assert (result.rows > 0, result.failures) == (True, 2)
        assert written(tmp_path / f"{devices}") == written(tmp_path / "one")


@pytest.mark.usefixtures("small_batches")
def test_a_failing_device_ends_the_run_with_its_error(
    small_encoder: AaSPEncoder, corpus: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = AaSPEncoder(small_encoder.config)
    monkeypatch.setattr(other.network, "forward", lambda *_: (_ for _ in ()).throw(RuntimeError("device lost")))
    with pytest.raises(RuntimeError, match="device lost"):
        embed(LocalEngine([small_encoder, other]), corpus, tmp_path / "run", RunOptions())
    embed(small_encoder, corpus, tmp_path / "run", RunOptions())
    embed(small_encoder, corpus, tmp_path / "whole", RunOptions())
    assert written(tmp_path / "run") == written(tmp_path / "whole")


@pytest.mark.parametrize(("hop", "pooling"), [(0.16, "frequency"), (0.04, "mean")])
def test_frames_equal_embed_frames(
    small_encoder: AaSPEncoder,
    mixed: Discovery,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hop: float,
    pooling: str,
) -> None:
    """Read from the temporary file in pieces, in a batch with sounds too short for every offset."""
    monkeypatch.setattr(local_engine, "CHUNK_ROWS", 32)
    short = [tmp_path / f"{samples}.wav" for samples in (1, 800, 3000)]
    for path in short:
        soundfile.write(path, noise(int(path.stem)), 16000)
    found, out = find_sounds([*(sound.path for sound in mixed.sounds), *short]), tmp_path / "frames.npy"
    embed_sounds(small_encoder, found, out, RunOptions(frames=True, hop=hop, pooling=pooling))
    vectors, rows = np.load(out), read_csv(out.with_suffix(".csv"))
    names = list(dict.fromkeys(row["path"] for row in rows))
    assert len(names) == 16
    for name in names:
        own = [int(row["row"]) for row in rows if row["path"] == name]
        alone = small_encoder.embed_frames(name, hop=hop, pooling=pooling)
        assert relative_difference(alone.embeddings, vectors[own]) <= 1e-5
        np.testing.assert_allclose([float(rows[row]["time"]) for row in own], alone.times, atol=1e-6)


@BOTH
def test_a_sound_that_changes_during_the_run_has_no_row(
    small_encoder: AaSPEncoder, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: RunOptions
) -> None:
    """It may still be written; one that is gone after it was read is all right."""
    monkeypatch.setattr(plan, "BATCH_SOUNDS", 3)
    shutil.copytree(sounds, tmp_path / "sounds")
    found, out = find_sounds([tmp_path / "sounds"]), tmp_path / "emb.npy"
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


def linked(folder: Path) -> None:
    shutil.copytree(folder, folder.with_name("backup"), copy_function=os.link)


def exchanged(folder: Path) -> None:
    """The first two files, by name; both were read."""
    first, second = sorted(folder.iterdir())[:2]
    first.rename(folder / "x")
    second.rename(first)
    (folder / "x").rename(second)


@pytest.mark.parametrize("change", [lambda folder: [path.chmod(0o600) for path in folder.iterdir()], linked, exchanged])
def test_other_rights_links_and_names_are_no_changes(
    small_encoder: AaSPEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]
) -> None:
    """Made when the first batch is done."""
    monkeypatch.setattr(plan, "BATCH_SOUNDS", 3)
    (tmp_path / "sounds").mkdir()
    for number in range(9):
        soundfile.write(tmp_path / "sounds" / f"{number}.wav", noise(8000 + number), 16000)
    found, changed = find_sounds([tmp_path / "sounds"]), []
    embed_sounds(small_encoder, found, tmp_path / "before.npy")

    def on_sound(name: str, error: str | None) -> None:
        if not changed:
            changed.append(change(tmp_path / "sounds"))

    assert embed_sounds(small_encoder, found, tmp_path / "emb.npy", on_sound=on_sound).failures == 0
    assert (tmp_path / "emb.npy").read_bytes() == (tmp_path / "before.npy").read_bytes()


@BOTH
@pytest.mark.parametrize("other", [False, True])
def test_a_sound_is_changed_while_it_is_read_if_its_bytes_are(
    small_encoder: AaSPEncoder, tmp_path: Path, options: RunOptions, other: bool
) -> None:
    """In its middle, behind its size and time: the rows of its beginning go, too."""
    paths, seen = [tmp_path / "a.wav", tmp_path / "b.wav"], []
    for path in paths:
        soundfile.write(path, noise(16000 * 180), 16000)  # more windows than may wait to be encoded

    def on_seconds(seconds: float) -> None:
        seen.append(seconds)
        if len(seen) == 2:  # the first call tells what earlier runs did
            content, times = bytearray(paths[0].read_bytes()), paths[0].stat()
            content[-100] ^= other
            paths[0].write_bytes(content)
            os.utime(paths[0], ns=(times.st_atime_ns, times.st_mtime_ns))

    embed_sounds(
        LocalEngine([small_encoder], 1), find_sounds(paths), tmp_path / "emb.npy", options, on_seconds=on_seconds
    )
    assert {row["path"] for row in read_csv(tmp_path / "emb.csv")} == {str(path) for path in paths[other:]}
    if other:
        (failure,) = read_csv(tmp_path / "emb.errors.csv")
        assert failure["error"].startswith("it was changed during the run")


def test_an_unexpected_failure_costs_one_sound(
    small_encoder: AaSPEncoder, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = inference.log_mel_windows

    def failing(blocks: object, *options: object) -> object:
        if "bell" in blocks.name:
            raise MemoryError("no memory for a bell")
        return original(blocks, *options)

    monkeypatch.setattr(inference, "log_mel_windows", failing)
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
    """Of a sound of several windows; those around it have their rows."""
    for name, level in zip("abcd", [0.001, 0.9, 0.002, 0.001], strict=True):
        sound = level * noise(400_000 if name == "b" else 30_000) / 0.5
        soundfile.write(tmp_path / f"{name}.wav", sound, 16000, subtype="FLOAT")
    result = embed_sounds(deaf_to_loud, find_sounds(tmp_path), tmp_path / "emb.npy", RunOptions(frames=frames))
    assert result.failures == 1
    (failure,) = read_csv(tmp_path / "emb.errors.csv")
    assert failure["path"].endswith("b.wav")
    assert "the network answers with NaN" in failure["error"]
    quiet = [deaf_to_loud.embed_frames(tmp_path / f"{name}.wav", hop=0.16).embeddings for name in "acd"]
    if not frames:
        quiet = [deaf_to_loud.embed(tmp_path / f"{name}.wav")[None] for name in "acd"]
    np.testing.assert_allclose(np.load(tmp_path / "emb.npy"), np.concatenate(quiet), atol=1e-5)
