"""What type checkers say of the embed calls: arrays and tensors, one and many."""

import subprocess
import sys
from pathlib import Path

import pytest

CALLS = """
from pathlib import Path
from typing import Any
import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import assert_type
from aasp_features import AaSPEncoder, FrameEmbeddings, load_audio
from aasp_features.integrations.onnx import OnnxEncoder

Array = NDArray[np.float32]
TensorFrames = FrameEmbeddings[Tensor, Tensor]


def calls(encoder: AaSPEncoder, onnx: OnnxEncoder, array: Array, tensor: Tensor, row: dict[str, Any]) -> None:
    assert_type(encoder.embed("a.wav"), Array)
    assert_type(encoder.embed(array, 44100, pooling="cls"), Array)
    assert_type(encoder.embed([Path("a.wav"), "b.wav"], window=20, context=4), Array)
    assert_type(encoder.embed((array, 44100)), Array)
    assert_type(encoder.embed({"array": array, "sampling_rate": 44100}), Array)
    assert_type(encoder.embed(load_audio("a.wav")), Array)
    assert_type(encoder.embed(tensor), Tensor)
    assert_type(encoder.embed([(tensor, 8000)]), Tensor)
    assert_type(encoder.embed([array, tensor]), Tensor | Array)
    assert_type(encoder.embed(row), Any)
    assert_type(encoder(tensor), Any)

    assert_type(encoder.embed_frames("a.wav", hop=0.04), FrameEmbeddings)
    assert_type(encoder.embed_frames((array, 8000)).embeddings, Array)
    assert_type(encoder.embed_frames("a.wav").times, NDArray[np.float64])
    assert_type(encoder.embed_frames(["a.wav", array]), list[FrameEmbeddings])
    assert_type(encoder.embed_frames([tensor]), list[TensorFrames])
    assert_type(encoder.embed_frames(tensor), TensorFrames | list[TensorFrames])
    assert_type(encoder.stream().push(array), FrameEmbeddings)

    assert_type(encoder.encode(["a.wav"], normalize_embeddings=True), Array)
    assert_type(encoder.encode(["a.wav"], convert_to_tensor=True), Tensor)
    assert_type(encoder.encode(["a.wav"], convert_to_numpy=False), Tensor | list[Tensor])
    assert_type(onnx.embed(["a.wav"]), Array)

    encoder.embed(3)  # type: ignore[call-overload]
    encoder.embed("a.wav", pooling="max")  # type: ignore[call-overload]
    encoder.embed_frames("a.wav", hob=0.04)  # type: ignore[call-overload]
"""


def test_types_of_the_embed_calls(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "calls.py").write_text(CALLS)
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-m", "mypy", "--config-file", str(root / "pyproject.toml"), str(tmp_path / "calls.py")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
