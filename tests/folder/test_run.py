"""Files to vectors on disk, in threads."""

import csv
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aasp_features import AaSPEncoder
from aasp_features.folder.decode_pool import DecodePool
from aasp_features.folder.discovery import find_files
from aasp_features.folder.run import embed_files


@pytest.fixture
def mixed(sounds: Path, tmp_path: Path) -> list[Path]:
    """Good files, a long one, and broken ones between them."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "text.wav").write_text("not a sound")
    soundfile.write(folder / "none.wav", np.empty(0), 16000)
    soundfile.write(folder / "nan.wav", np.array([0, np.nan]), 16000, subtype="FLOAT")
    soundfile.write(folder / "long.wav", np.random.default_rng(0).normal(size=16000 * 31) * 0.1, 16000)
    good = find_files([sounds])
    return [folder / "text.wav", *good[:5], folder / "nan.wav", folder / "long.wav", *good[5:], folder / "none.wav"]


@pytest.mark.parametrize("workers", [1, 4])
def test_rows_stand_in_order_and_equal_embed(
    small_encoder: AaSPEncoder, mixed: list[Path], tmp_path: Path, workers: int
) -> None:
    out = tmp_path / "emb.npy"
    result = embed_files(small_encoder, mixed, out, workers=workers, batch_size=3)
    vectors = np.load(out)
    with out.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert result.rows == len(vectors) == len(rows) == 13
    assert [Path(row["path"]) for row in rows] == [path for path in mixed if path not in result.failures]
    for row, vector in zip(rows, vectors, strict=True):
        alone = small_encoder.embed(row["path"])
        assert (np.abs(alone - vector) / np.maximum(1, np.abs(alone))).max() <= 1e-5
        info = soundfile.info(row["path"])
        assert float(row["seconds"]) == pytest.approx(info.duration, abs=1e-5)
        assert (int(row["sample_rate"]), int(row["channels"])) == (info.samplerate, info.channels)


def test_failures_are_listed_and_the_list_goes_when_all_is_well(
    small_encoder: AaSPEncoder, mixed: list[Path], tmp_path: Path
) -> None:
    out, seen = tmp_path / "emb.npy", {}
    result = embed_files(small_encoder, mixed, out, on_file=lambda path, error: seen.update({path: error}))
    assert set(seen) == set(mixed)
    assert {path.name for path in result.failures} == {"text.wav", "nan.wav", "none.wav"}
    with out.with_suffix(".errors.csv").open(newline="") as file:
        listed = {row["path"]: row["error"] for row in csv.DictReader(file)}
    assert set(listed) == {str(path) for path in result.failures}
    assert "NaN" in next(error for path, error in listed.items() if path.endswith("nan.wav"))
    embed_files(small_encoder, mixed[1:3], out)
    assert not out.with_suffix(".errors.csv").exists()


def test_decoding_runs_ahead_by_a_bounded_number_of_windows(small_encoder: AaSPEncoder, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(16000 * 60 * 10, np.int16), 16000)
    pool = DecodePool([path], small_encoder, workers=1, ahead=4)
    events = iter(pool)
    next(events)
    threading.Event().wait(0.5)
    assert pool._queue.qsize() <= 4
    events.close()
    assert all(not thread.name.endswith("(_work)") for thread in threading.enumerate())


def test_an_unexpected_failure_costs_one_file(
    small_encoder: AaSPEncoder, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = find_files([sounds])
    original = small_encoder.spectrogram_windows

    def failing(blocks: object) -> object:
        if "bell" in blocks.name:
            raise MemoryError("no memory for a bell")
        return original(blocks)

    monkeypatch.setattr(small_encoder, "spectrogram_windows", failing)
    result = embed_files(small_encoder, files, tmp_path / "emb.npy")
    assert result.rows == 11
    assert list(result.failures.values()) == ["no memory for a bell"]
