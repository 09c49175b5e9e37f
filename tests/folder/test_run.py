"""Sounds to vectors on disk, in threads."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import read_csv, relative_difference

from aasp_features import AaSPEncoder
from aasp_features.folder.local_engine import LocalEngine
from aasp_features.folder.options import RunOptions
from aasp_features.folder.output import OutputError
from aasp_features.folder.run import InterruptedRun, embed_sounds
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
    (tmp_path / "emb.npy.partial" / "batches.jsonl").write_bytes(b"")  # stopped before its first batch
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
