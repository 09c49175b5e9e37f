"""Options of a run."""

from pathlib import Path

import pytest
import torch

from aasp_features import AaSPConfig, AaSPEncoder
from aasp_features.errors import OptionError
from aasp_features.folder.options import RunOptions, config_sha256, weights_sha256


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"hop": 0.04}, "hop needs frames"),
        ({"frames": True, "hop": 0.1}, "hop must be"),
        ({"dtype": "int8"}, "dtype must be one of float32, float16"),
    ],
)
def test_options_that_are_not_accepted(options: dict, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        RunOptions(**options)


def test_weights_are_known_by_their_values(small_encoder: AaSPEncoder, tmp_path: Path) -> None:
    """However a file stores them, and under whatever name."""
    half = AaSPEncoder.from_pretrained(small_encoder.save_pretrained(tmp_path / "half", half=True))
    copy = AaSPEncoder.from_pretrained(half.save_pretrained(tmp_path / "copy"))
    files = [tmp_path / name / "model.safetensors" for name in ("half", "copy")]
    assert files[0].stat().st_size < files[1].stat().st_size
    assert weights_sha256(half) == weights_sha256(copy) != weights_sha256(small_encoder)
    settings = [RunOptions().resolve(encoder, "cpu").to_dict() for encoder in (half, copy)]
    assert settings[0] == settings[1]
    with torch.no_grad():
        copy.network.cls[0] += 1e-6
    assert weights_sha256(half) != weights_sha256(copy)


def test_of_a_config_what_decides_vectors_counts() -> None:
    config = AaSPConfig.tiny(mean=-8.0)
    same = [config.replace(name="other"), config.replace(mean=-8), config.replace(pooling="mean", context=4)]
    assert {config_sha256(each) for each in same} == {config_sha256(config)}
    for change in ({"mean": -8.1}, {"fft_length": 512}, {"patch_embed": "conv"}, {"remove_mean": False}):
        assert config_sha256(config.replace(**change)) != config_sha256(config)
