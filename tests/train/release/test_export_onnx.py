"""What the graph is made of; what it gives on onnxruntime is in ``integrations/test_onnx.py``."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from aasp_features import AaSPConfig, AaSPEncoder
from aasp_features.train.release.export_onnx import ExportError, export_onnx, metadata, spectrum_matrix


@pytest.mark.parametrize("points", [512, 1024])
def test_the_matrix_is_what_precedes_the_power_spectrum(points: int) -> None:
    frame = np.random.default_rng(0).normal(size=400) + 3.0
    centred = frame - frame.mean()
    emphasised = np.array([centred[i] - 0.97 * centred[max(i - 1, 0)] for i in range(400)])  # Kaldi's first sample
    expected = np.fft.rfft(np.hanning(400) * emphasised, points)
    real, imaginary = (spectrum_matrix(points) @ torch.from_numpy(frame)).chunk(2)
    np.testing.assert_allclose(torch.complex(real, imaginary).numpy(), expected, atol=1e-10)


def test_metadata_says_where_the_weights_come_from(checkpoint: Path) -> None:
    encoder = AaSPEncoder.from_pretrained(checkpoint)
    told = metadata(encoder, int8=False)
    assert AaSPConfig.from_json(told["config"]) == encoder.config
    assert (told["checkpoint"], told["weights"]) == (encoder.config.name, "float32")
    assert told["checkpoint_sha256"] == encoder.sha256
    assert all(isinstance(value, str) for value in json.loads(json.dumps(told)).values())


def test_one_sentence(small_encoder: AaSPEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnx", None)
        with pytest.raises(ExportError, match="needs onnx and onnxscript"):
            export_onnx(small_encoder, tmp_path / "model.onnx")
    pytest.importorskip("onnxscript")
    with pytest.raises(ExportError, match="cannot be written"):
        export_onnx(small_encoder, tmp_path / "gone" / "model.onnx")
