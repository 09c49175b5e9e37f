"""Folders and shards become one corpus: the files' own log-mels, standardised by their own statistics."""

import io
import logging
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from aasp_features import AaSPConfig, LogMel, load_audio
from aasp_features.train.data.cached import load_corpus

CONFIG = AaSPConfig.tiny()


def test_folder_and_shards_give_the_same_corpus(sound_folder: Path, tmp_path: Path) -> None:
    files = sorted(sound_folder.rglob("*.wav"))
    for number in range(2):
        with tarfile.open(tmp_path / f"shard-{number}.tar", "w") as shard:
            for path in files[6 * number : 6 * number + 6]:
                shard.add(path, f"{path.stem}.wav")
                label = tarfile.TarInfo(f"{path.stem}.json")
                label.size = 2
                shard.addfile(label, io.BytesIO(b"{}"))
    one, other = load_corpus(sound_folder, CONFIG), load_corpus(tmp_path, CONFIG)
    assert torch.equal(one.log_mel, other.log_mel)
    assert torch.equal(one.start, other.start)
    assert (one.mean, one.std) == (other.mean, other.std)


def test_statistics_and_content(sound_folder: Path) -> None:
    corpus = load_corpus(sound_folder, CONFIG)
    front_end = LogMel(CONFIG.replace(mean=0.0, std=1.0))
    log_mels = [front_end(torch.from_numpy(load_audio(path))).numpy() for path in sorted(sound_folder.rglob("*.wav"))]
    everything = np.concatenate(log_mels)
    assert corpus.mean == pytest.approx(everything.mean(), abs=1e-3)
    assert corpus.std == pytest.approx(everything.std(), abs=1e-3)
    assert corpus.frame_lengths.tolist() == [len(log_mel) for log_mel in log_mels]
    third = corpus.log_mel[corpus.start[3] : corpus.start[3] + corpus.frame_lengths[3]].float()
    np.testing.assert_allclose(third, (log_mels[3] - corpus.mean) / corpus.std, atol=5e-3)


def test_broken_files_are_left_out_and_named(
    sound_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "letter.wav").write_text("dear all")
    (tmp_path / "sound.wav").write_bytes(next(sound_folder.rglob("*.wav")).read_bytes())
    soundfile.write(tmp_path / "click.wav", np.zeros(399), 16000)
    with caplog.at_level(logging.WARNING):
        assert len(load_corpus(tmp_path, CONFIG).frame_lengths) == 1
    assert "letter.wav" in caplog.text
    assert "click.wav: 399 samples, under 25 ms" in caplog.text
    with pytest.raises(ValueError, match=r"empty: no such file or folder"):
        load_corpus(tmp_path / "empty", CONFIG)
