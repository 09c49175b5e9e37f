"""Sounds to vectors on disk, in threads."""

import contextlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from engine_runs import FRAMES, SEGMENTS, embed, grow, stop_after, written
from helpers import read_csv, relative_difference

from aasp_features import AaSPEncoder
from aasp_features.folder.local_engine import LocalEngine
from aasp_features.folder.options import RunOptions
from aasp_features.folder.output import OutputError
from aasp_features.folder.run import AllFailedError, InterruptedRun, WriteError, embed_sounds
from aasp_features.sounds.discovery import Discovery, find_sounds


@pytest.mark.parametrize("workers", [1, 4])
def test_rows_stand_in_order_and_equal_embed(
    small_encoder: AaSPEncoder, mixed: Discovery, tmp_path: Path, workers: int
) -> None:
    out, seen = tmp_path / "emb.npy", {}
    result = embed_sounds(
        LocalEngine([small_encoder], workers),
        mixed,
        out,
        RunOptions(batch_size=3),
        on_sound=lambda name, error: seen.update({name: error}),
    )
    vectors, rows = np.load(out), read_csv(tmp_path / "emb.csv")
    assert (result.rows, result.failures) == (len(vectors), 3) == (len(rows), 3) == (13, 3)
    assert list(seen) == [sound.name for sound in mixed.sounds]
    assert [row["path"] for row in rows] == [name for name, error in seen.items() if error is None]
    for row, vector in zip(rows, vectors, strict=True):
        assert relative_difference(small_encoder.embed(row["path"]), vector) <= 1e-5
        info = soundfile.info(row["path"])
        assert float(row["seconds"]) == pytest.approx(info.duration, abs=1e-5)
        assert (int(row["sample_rate"]), int(row["channels"])) == (info.samplerate, info.channels)
    listed = {Path(row["path"]).name: row["error"] for row in read_csv(tmp_path / "emb.errors.csv")}
    assert set(listed) == {"text.wav", "nan.wav", "none.wav"}
    assert "NaN" in listed["nan.wav"]


def test_an_overwriting_run_stopped_early_goes_on_and_leaves_others_refused(
    small_encoder: AaSPEncoder, sounds: Path, tmp_path: Path
) -> None:
    found, out = find_sounds([sounds / "voice"]), tmp_path / "emb.npy"
    embed_sounds(small_encoder, found, out)

    def interrupt(name: str, error: str | None) -> None:
        raise KeyboardInterrupt

    before = out.read_bytes()
    with pytest.raises(InterruptedRun, match="run the command again without --overwrite to go on"):
        embed_sounds(small_encoder, find_sounds([sounds]), out, overwrite=True, on_sound=interrupt)
    with pytest.raises(OutputError, match="unfinished run was another one"):  # a batch of it is there
        embed_sounds(small_encoder, found, out)
    (tmp_path / "emb.npy.partial" / "log.jsonl").write_bytes(b"")  # stopped before its first batch
    with pytest.raises(OutputError, match="holds the results of another run"):
        embed_sounds(small_encoder, find_sounds([sounds / "music"]), out)
    assert out.read_bytes() == before
    assert embed_sounds(small_encoder, find_sounds([sounds]), out).rows == len(find_sounds([sounds]).sounds)


def test_the_same_again_does_nothing_and_other_runs_are_refused(
    small_encoder: AaSPEncoder, sounds: Path, tmp_path: Path
) -> None:
    found, out = find_sounds([sounds]), tmp_path / "emb.npy"
    embed_sounds(small_encoder, found, out)
    before = out.stat().st_mtime_ns
    assert embed_sounds(small_encoder, found, out).resumed == 12
    assert out.stat().st_mtime_ns == before
    with pytest.raises(OutputError, match=r"the sounds are others .12 sounds then, 3 now"):
        embed_sounds(small_encoder, find_sounds([sounds / "voice", sounds / "nature/rain.flac"]), out)
    with pytest.raises(OutputError, match="normalize was False, now True"):
        embed_sounds(small_encoder, found, out, RunOptions(normalize=True))
    embed_sounds(small_encoder, found, out, RunOptions(normalize=True), overwrite=True)
    np.testing.assert_allclose(np.linalg.norm(np.load(out), axis=1), 1, rtol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["emb.csv", "emb.json", "emb.npy", "emb.sounds.jsonl"]


def test_all_sounds_fail(small_encoder: AaSPEncoder, sounds: Path, tmp_path: Path) -> None:
    """Nothing is written, what was there stays, and the next run tries again."""
    (tmp_path / "text.wav").write_text("not a sound")
    found = find_sounds([tmp_path / "text.wav"])
    for _ in range(2):
        with pytest.raises(AllFailedError, match=r"none of the 1 sounds could be read, so nothing is .*text.wav"):
            embed_sounds(small_encoder, found, tmp_path / "emb.npy")
        assert os.listdir(tmp_path) == ["text.wav"]
    embed_sounds(small_encoder, find_sounds([sounds / "voice"]), tmp_path / "emb.npy")
    before = (tmp_path / "emb.npy").read_bytes()
    with pytest.raises(AllFailedError):
        embed_sounds(small_encoder, found, tmp_path / "emb.npy", overwrite=True)
    assert (tmp_path / "emb.npy").read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["emb.csv", "emb.json", "emb.npy", "emb.sounds.jsonl", "text.wav"]


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(
    "options",
    [
        RunOptions(pooling="mean+std"),
        RunOptions(pooling="mean+cls", dtype="float16"),
        RunOptions(frames=True, hop=0.04, pooling="mean", normalize=True),
    ],
    ids=["mean+std", "mean+cls", "frames"],
)
def test_stopped_after_every_batch_a_run_gives_the_bytes_of_one_that_was_not(
    small_encoder: AaSPEncoder, long_sounds: Discovery, tmp_path: Path, options: RunOptions
) -> None:
    corpus = [sound.path for sound in long_sounds.sounds]
    assert embed(small_encoder, corpus, tmp_path / "whole", options).failures == 1
    lives, result = 0, None
    while result is None:
        lives += 1
        with stop_after(1), contextlib.suppress(InterruptedRun):
            result = embed(small_encoder, corpus, tmp_path / "cut", options)
    assert lives >= 5
    assert result.resumed == len(corpus)
    assert written(tmp_path / "cut") == written(tmp_path / "whole")
    names = [path for path in corpus if "failing" not in path.name]
    vectors, rows = np.load(tmp_path / "whole" / "emb.npy"), read_csv(tmp_path / "whole" / "emb.csv")
    for name in names:
        own = vectors[[int(row["row"]) for row in rows if row["path"] == str(name)]].astype(np.float32)
        if options.frames:
            alone = small_encoder.embed_frames(name, hop=options.hop, pooling=options.pooling).embeddings
        else:
            alone = small_encoder.embed(name, pooling=options.pooling)[None]
        if options.normalize:
            alone = alone / np.linalg.norm(alone, axis=1, keepdims=True)
        assert relative_difference(alone, own) <= (1e-3 if options.dtype == "float16" else 1e-5)


def test_another_config_or_other_weights_are_another_run(checkpoint: Path, sounds: Path, tmp_path: Path) -> None:
    found, out = find_sounds([sounds / "voice"]), tmp_path / "emb.npy"
    embed_sounds(AaSPEncoder.from_pretrained(checkpoint), found, out)
    changed = tmp_path / "changed"
    shutil.copytree(checkpoint, changed)
    config = json.loads((changed / "config.json").read_text())
    (changed / "config.json").write_text(json.dumps({**config, "mean": config["mean"] + 1}))
    with pytest.raises(OutputError, match=r"config_sha256 was \w+, now \w+; choose another"):
        embed_sounds(AaSPEncoder.from_pretrained(changed), found, out)
    tuned = AaSPEncoder.from_pretrained(checkpoint)
    with torch.no_grad():
        tuned.network.cls.add_(1)
    with pytest.raises(OutputError, match=r"weights_sha256 was \w+, now \w+; choose another"):
        embed_sounds(tuned, found, out)
    with stop_after(1), pytest.raises(InterruptedRun):
        embed_sounds(AaSPEncoder.from_pretrained(checkpoint), found, tmp_path / "unfinished.npy")
    with pytest.raises(OutputError, match=r"its unfinished run was another one: config_sha256 was"):
        embed_sounds(AaSPEncoder.from_pretrained(changed), found, tmp_path / "unfinished.npy")


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("keep_times", [True, False])
def test_a_copy_of_sounds_and_work_goes_on(
    small_encoder: AaSPEncoder, sounds: Path, tmp_path: Path, keep_times: bool
) -> None:
    """By ``cp -a`` or ``cp -r``, to another place; results are done in their copy, too."""
    copy = shutil.copy2 if keep_times else shutil.copy
    first, second = tmp_path / "first", tmp_path / "second"
    shutil.copytree(sounds, first / "sounds")
    with stop_after(2), pytest.raises(InterruptedRun):
        embed_sounds(small_encoder, find_sounds(first / "sounds"), first / "emb.npy")
    shutil.copytree(first, second, copy_function=copy)
    result = embed_sounds(small_encoder, find_sounds(second / "sounds"), second / "emb.npy")
    assert (result.rows, result.resumed) == (12, 4)
    assert {Path(row["path"]).relative_to(second).parts[0] for row in read_csv(second / "emb.csv")} == {"sounds"}
    embed_sounds(small_encoder, find_sounds(first / "sounds"), first / "emb.npy")
    assert (first / "emb.npy").read_bytes() == (second / "emb.npy").read_bytes()
    for path in second.rglob("*.flac"):
        path.touch()
    assert embed_sounds(small_encoder, find_sounds(second / "sounds"), second / "emb.npy").resumed == 12
    with pytest.raises(OutputError, match=r"its table has other names .*second/sounds/\S+ is its first"):
        embed_sounds(small_encoder, find_sounds(first / "sounds"), second / "emb.npy")


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("damage", ["flip", "cut", "always"])
@pytest.mark.filterwarnings("ignore:.*computed again")
def test_rows_that_were_damaged_during_the_run_are_not_published(
    small_encoder: AaSPEncoder, sounds: Path, tmp_path: Path, damage: str
) -> None:
    found, folder, told = find_sounds([sounds]), tmp_path / "emb.npy.partial", []
    embed_sounds(small_encoder, found, tmp_path / "whole.npy")

    def on_sound(name: str, error: str | None) -> None:
        told.append(name)
        if len(told) == 5 or damage == "always":
            with (folder / "rows.bin").open("r+b") as file:
                file.seek(2000)
                if damage == "cut":
                    file.truncate()
                file.write(b"x")

    if damage == "always":
        with pytest.raises(WriteError, match=r"emb\.npy\.partial does not keep what is written.*same command again"):
            embed_sounds(small_encoder, found, tmp_path / "emb.npy", on_sound=on_sound)
        assert not (tmp_path / "emb.npy").exists()
        damage = "none any more"
    result = embed_sounds(small_encoder, found, tmp_path / "emb.npy", on_sound=on_sound)
    assert result.rows == 12
    for ending in (".npy", ".csv"):
        assert (tmp_path / f"emb{ending}").read_bytes() == (tmp_path / f"whole{ending}").read_bytes()


def test_files_of_others_are_left_alone(small_encoder: AaSPEncoder, sounds: Path, tmp_path: Path) -> None:
    found, notes = find_sounds([sounds / "voice"]), tmp_path / "emb.errors.csv"
    notes.write_text("mine")
    with pytest.raises(OutputError, match=r"emb.errors.csv exists and has no record"):
        embed_sounds(small_encoder, found, tmp_path / "emb.npy")
    assert os.listdir(tmp_path) == [notes.name]
    notes.unlink()
    with pytest.raises(OutputError, match=r"emb.errors.csv exists and has no record"):  # made during the run
        embed_sounds(small_encoder, found, tmp_path / "emb.npy", on_sound=lambda *_: notes.write_text("mine"))
    assert notes.read_text() == "mine"
    notes.unlink()
    assert embed_sounds(small_encoder, found, tmp_path / "emb.npy").resumed == 2  # all its work was kept
    with pytest.raises(OutputError, match=r"emb.json and its table belong to emb.npy"):
        embed_sounds(small_encoder, found, tmp_path / "emb.npz")
    embed_sounds(small_encoder, found, tmp_path / "emb.npz", overwrite=True)
    with pytest.raises(OutputError, match=r"emb.json and its table belong to emb.npz"):
        embed_sounds(small_encoder, found, tmp_path / "emb.npy")


@pytest.mark.parametrize("moment", ["before a batch", "after the last batch"])
def test_a_folder_of_work_deleted_meanwhile(
    small_encoder: AaSPEncoder, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    folder, found = tmp_path / "emb.npy.partial", find_sounds([sounds / "voice"])

    def delete(*_: object) -> None:
        shutil.rmtree(folder, ignore_errors=True)

    hook = {"on_seconds": delete} if moment == "before a batch" else {"on_sound": delete}
    with pytest.raises(WriteError, match=r"emb.npy.partial was deleted meanwhile, and nothing is kept; .*same command"):
        embed_sounds(small_encoder, found, tmp_path / "emb.npy", **hook)
    assert embed_sounds(small_encoder, found, tmp_path / "emb.npy").rows == 2


def test_the_record_names_the_weights(checkpoint: Path, sounds: Path, tmp_path: Path) -> None:
    import hashlib

    encoder = AaSPEncoder.from_pretrained(checkpoint)
    embed_sounds(encoder, find_sounds([sounds / "voice"]), tmp_path / "emb.npy")
    record = json.loads((tmp_path / "emb.json").read_text())
    expected = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()
    assert (record["checkpoint_sha256"], record["rows"], record["dimension"]) == (expected, 2, 384)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("options", [RunOptions(pooling="mean"), FRAMES, SEGMENTS], ids=["clips", "frames", "segments"])
@pytest.mark.parametrize("batches", [None, 1, 2])
def test_an_update_embeds_what_changed_and_keeps_the_other_rows(
    small_encoder: AaSPEncoder, growing: Path, tmp_path: Path, options: RunOptions, batches: int | None
) -> None:
    """Also when it is killed, and more is added before it continues."""
    assert embed(small_encoder, [growing], tmp_path / "run", options).failures == 1
    before = by_name(tmp_path / "run")
    grow(growing)
    with pytest.raises(OutputError, match="give --update to keep the rows"):
        embed(small_encoder, [growing], tmp_path / "run", options)
    if batches is not None:
        with stop_after(batches), pytest.raises(InterruptedRun):
            embed(small_encoder, [growing], tmp_path / "run", options, update=True)
        shutil.copy(growing / "a.wav", growing / "late.wav")
        (growing / "z.wav").unlink()
    result = embed(small_encoder, [growing], tmp_path / "run", options, update=True)
    assert result.failures == 0
    assert result.resumed == 2 + {None: 0, 1: 2, 2: 3}[batches]
    embed(small_encoder, [growing], tmp_path / "fresh", options)
    assert (tmp_path / "run" / "emb.csv").read_bytes() == (tmp_path / "fresh" / "emb.csv").read_bytes()
    np.testing.assert_allclose(
        np.load(tmp_path / "run" / "emb.npy"), np.load(tmp_path / "fresh" / "emb.npy"), atol=1e-5
    )
    after = by_name(tmp_path / "run")
    assert after["a.wav"] == before["a.wav"]
    assert after["renamed.wav"] == before["d.wav"]
    assert after["b.wav"] != before["b.wav"]
    written_then = (tmp_path / "run" / "emb.json").read_bytes()
    assert embed(small_encoder, [growing], tmp_path / "run", options, update=True).resumed == len(os.listdir(growing))
    assert (tmp_path / "run" / "emb.json").read_bytes() == written_then
    embed(small_encoder, [growing], tmp_path / "run", options)  # done without --update, too


def by_name(folder: Path) -> dict[str, bytes]:
    """The rows of each sound."""
    vectors, rows = np.load(folder / "emb.npy"), read_csv(folder / "emb.csv")
    names = dict.fromkeys(Path(row["path"]).name for row in rows)
    return {name: vectors[[Path(row["path"]).name == name for row in rows]].tobytes() for name in names}


def test_an_update_keeps_rows_of_the_same_settings_only(
    small_encoder: AaSPEncoder, growing: Path, tmp_path: Path
) -> None:
    embed(small_encoder, [growing], tmp_path, RunOptions(pooling="mean"))
    before = (tmp_path / "emb.npy").read_bytes()
    with pytest.raises(OutputError, match="keeps rows of the same settings only: pooling was mean, now cls"):
        embed(small_encoder, [growing], tmp_path, RunOptions(pooling="cls"), update=True)
    (tmp_path / "emb.sounds.jsonl").rename(tmp_path / "kept")
    grow(growing)
    with pytest.raises(OutputError, match="some of the earlier results are missing"):
        embed(small_encoder, [growing], tmp_path, RunOptions(pooling="mean"), update=True)
    assert (tmp_path / "emb.npy").read_bytes() == before
    (tmp_path / "first").mkdir()
    assert embed(small_encoder, [growing], tmp_path / "first", RunOptions(), update=True).rows == 6  # nothing was there


@pytest.mark.parametrize("name", ["emb.npy", "emb.lance"])
def test_an_update_drops_no_rows_of_a_folder_that_cannot_be_searched(
    small_encoder: AaSPEncoder, sounds: Path, tmp_path: Path, name: str
) -> None:
    pytest.importorskip("lancedb") if name == "emb.lance" else None
    out = tmp_path / name
    embed_sounds(small_encoder, find_sounds([sounds / "voice", sounds / "nature"]), out)
    found = find_sounds(sounds / "voice")
    found.problems[str(sounds / "nature")] = "this folder may not be read (Permission denied)."
    with pytest.raises(OutputError, match=r"would drop the rows of \S*/nature, which cannot be searched now"):
        embed_sounds(small_encoder, found, out, update=True)
    found.problems = {str(tmp_path / "elsewhere"): "this folder may not be read (Permission denied)."}
    assert embed_sounds(small_encoder, found, out, update=True).rows == 2
