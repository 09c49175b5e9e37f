"""Sounds to vectors on disk, in threads."""

import csv
import json
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp_features import AaSPEncoder
from aasp_features.errors import OptionError
from aasp_features.folder import plan
from aasp_features.folder.local_engine import LocalEngine
from aasp_features.folder.options import RunOptions
from aasp_features.folder.output import OutputError
from aasp_features.folder.run import InterruptedRun, embed_sounds
from aasp_features.folder.spill_file import SpilledVectors, SpillFile
from aasp_features.sounds.discovery import Discovery, find_sounds
from aasp_features.vectors import ColumnVectors


@pytest.fixture
def mixed(sounds: Path, tmp_path: Path) -> Discovery:
    """Good files, a long one, and broken ones between them."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "text.wav").write_text("not a sound")
    soundfile.write(folder / "none.wav", np.empty(0), 16000)
    soundfile.write(folder / "nan.wav", np.array([0, np.nan]), 16000, subtype="FLOAT")
    soundfile.write(folder / "long.wav", np.random.default_rng(0).normal(size=16000 * 31) * 0.1, 16000)
    good = [sound.path for sound in find_sounds([sounds]).sounds]
    paths = [folder / "text.wav", *good[:5], folder / "nan.wav", folder / "long.wav", *good[5:], folder / "none.wav"]
    return find_sounds(paths)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def close(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((np.abs(a - b) / np.maximum(1, np.abs(a))).max() <= 1e-5)


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
        assert close(small_encoder.embed(row["path"]), vector)
        info = soundfile.info(row["path"])
        assert float(row["seconds"]) == pytest.approx(info.duration, abs=1e-5)
        assert (int(row["sample_rate"]), int(row["channels"])) == (info.samplerate, info.channels)
    listed = {Path(row["path"]).name: row["error"] for row in read_csv(tmp_path / "emb.errors.csv")}
    assert set(listed) == {"text.wav", "nan.wav", "none.wav"}
    assert "NaN" in listed["nan.wav"]


def test_frames_equal_embed_frames(small_encoder: AaSPEncoder, mixed: Discovery, tmp_path: Path) -> None:
    for hop, pooling in ((0.16, "frequency"), (0.04, "mean")):  # the long file's rows spill to disk in the first
        out = tmp_path / f"frames{hop}.npy"
        embed_sounds(small_encoder, mixed, out, RunOptions(frames=True, hop=hop, pooling=pooling))
        vectors, rows = np.load(out), read_csv(out.with_suffix(".csv"))
        names = list(dict.fromkeys(row["path"] for row in rows))
        assert len(names) == 13
        for name in names:
            own = [int(row["row"]) for row in rows if row["path"] == name]
            alone = small_encoder.embed_frames(name, hop=hop, pooling=pooling)
            assert close(alone.embeddings, vectors[own])
            np.testing.assert_allclose([float(rows[row]["time"]) for row in own], alone.times, atol=1e-6)


def test_frames_of_sounds_too_short_for_every_offset(small_encoder: AaSPEncoder, tmp_path: Path) -> None:
    for samples in (1, 800, 3000):
        soundfile.write(tmp_path / f"{samples:04}.wav", np.random.default_rng(0).normal(size=samples) * 0.1, 16000)
    out = tmp_path / "frames.npy"
    embed_sounds(small_encoder, find_sounds([tmp_path]), out, RunOptions(frames=True, hop=0.04))
    alone = [small_encoder.embed_frames(path, hop=0.04).embeddings for path in sorted(tmp_path.glob("*.wav"))]
    assert [len(vectors) for vectors in alone] == [1, 1, 5]
    assert close(np.concatenate(alone), np.load(out))


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
    (tmp_path / "emb.npy.partial" / "batches.jsonl").write_bytes(b"")  # stopped before its first batch
    with pytest.raises(OutputError, match="holds the results of another run"):
        embed_sounds(small_encoder, find_sounds([sounds / "music"]), out)
    assert out.read_bytes() == before
    assert embed_sounds(small_encoder, find_sounds([sounds]), out).rows == len(find_sounds([sounds]).sounds)


def test_float16_and_unit_length(small_encoder: AaSPEncoder, mixed: Discovery, tmp_path: Path) -> None:
    embed_sounds(small_encoder, mixed, tmp_path / "plain.npy")
    embed_sounds(small_encoder, mixed, tmp_path / "unit.npy", RunOptions(dtype="float16", normalize=True))
    plain, unit = np.load(tmp_path / "plain.npy"), np.load(tmp_path / "unit.npy")
    assert unit.dtype == np.float16
    np.testing.assert_allclose(unit, plain / np.linalg.norm(plain, axis=1, keepdims=True), atol=1e-3)


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
    assert sorted(path.name for path in tmp_path.iterdir()) == ["emb.csv", "emb.json", "emb.npy"]


def test_the_list_of_failures_goes_when_all_is_well(
    small_encoder: AaSPEncoder, mixed: Discovery, sounds: Path, tmp_path: Path
) -> None:
    out = tmp_path / "emb.npy"
    embed_sounds(small_encoder, mixed, out)
    assert (tmp_path / "emb.errors.csv").exists()
    embed_sounds(small_encoder, find_sounds([sounds]), out, overwrite=True)
    assert not (tmp_path / "emb.errors.csv").exists()


@pytest.mark.parametrize("ending", [".npy", ".parquet", ".h5", ".npz", ".safetensors", ".jsonl"])
def test_all_sounds_fail(small_encoder: AaSPEncoder, tmp_path: Path, ending: str) -> None:
    pytest.importorskip({".parquet": "pyarrow", ".h5": "h5py"}.get(ending, "numpy"))
    (tmp_path / "text.wav").write_text("not a sound")
    result = embed_sounds(small_encoder, find_sounds([tmp_path / "text.wav"]), tmp_path / f"none{ending}")
    assert (result.rows, result.failures) == (0, 1)
    if ending == ".npy":
        assert np.load(tmp_path / "none.npy").shape == (0, 1536)


def test_the_record_names_the_weights(checkpoint: Path, sounds: Path, tmp_path: Path) -> None:
    import hashlib

    encoder = AaSPEncoder.from_pretrained(checkpoint)
    embed_sounds(encoder, find_sounds([sounds / "voice"]), tmp_path / "emb.npy")
    record = json.loads((tmp_path / "emb.json").read_text())
    expected = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()
    assert (record["checkpoint_sha256"], record["rows"], record["dimension"]) == (expected, 2, 1536)


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


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"hop": 0.04}, "it needs frames"), ({"frames": True, "hop": 0.1}, "hop must be"), ({"dtype": "int8"}, "dtype")],
)
def test_options_that_are_not_accepted(options: dict, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        RunOptions(**options)
