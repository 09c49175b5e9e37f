"""Log-mels read ahead and kept."""

from pathlib import Path

import numpy as np
import pytest
import torch
from finetune_helpers import tiny_encoder
from helpers import noise
from soundfile import write

from aasp_features import AaSPError, load_audio
from aasp_features.train.evaluate.finetune.clips import LogMels


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.wav" for number in range(4)]
    for number, path in enumerate(paths):
        write(path, noise(4000 + 100 * number), 16000)
    return paths


@pytest.mark.parametrize("memory_gb", [0.0, 2e-5, 1.0])
def test_they_are_the_encoders(files: list[Path], memory_gb: float) -> None:
    front_end = tiny_encoder().log_mel
    log_mels = LogMels(files, front_end, memory_gb, threads=2)
    log_mels.expect([3])
    for places in ([2, 0], [0, 0, 1], [3]):
        for index, found in zip(places, log_mels.of(places), strict=True):
            assert torch.equal(found, front_end(torch.from_numpy(load_audio(files[index]))))
            assert not found.is_inference()
    assert [len(one) for one in log_mels.each([0, 1, 2, 3])] == [23, 24, 24, 25]
    assert sum(one.numel() * 4 for one in log_mels._kept.values()) <= memory_gb * 1e9
    assert len(log_mels._kept) == {0.0: 0, 2e-5: 1, 1.0: 4}[memory_gb]
    log_mels.close()


def test_what_is_kept_is_not_read_again(files: list[Path]) -> None:
    log_mels = LogMels(files, tiny_encoder().log_mel, 1.0)
    before = log_mels.of([0])[0]
    files[0].unlink()
    np.testing.assert_array_equal(log_mels.of([0])[0], before)
    files[1].write_bytes(b"no sound")
    with pytest.raises(AaSPError, match=r"1\.wav"):
        log_mels.of([1])
    log_mels.close()
