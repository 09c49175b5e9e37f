"""The exported graph on onnxruntime against the encoder that it was exported from."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
import soundfile
from helpers import noise, relative_difference
from hypothesis import given, settings
from hypothesis import strategies as st

from aasp_features import AaSPEncoder, InputError, OptionError
from aasp_features.inference import VectorError
from aasp_features.integrations.onnx import OnnxEncoder, OnnxError
from aasp_features.train.release import export_onnx


@pytest.fixture(scope="module")
def graph(small_encoder: AaSPEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_onnx.export_onnx(small_encoder, tmp_path_factory.mktemp("onnx") / "model.onnx")


@pytest.fixture(scope="module")
def onnx_encoder(graph: Path) -> OnnxEncoder:
    return OnnxEncoder(graph)


@settings(deadline=None, max_examples=20)
@given(lengths=st.lists(st.integers(1, 16000 * 3), min_size=1, max_size=5))
def test_any_lengths_in_a_batch(onnx_encoder: OnnxEncoder, small_encoder: AaSPEncoder, lengths: list[int]) -> None:
    sounds = [noise(length) for length in lengths]
    assert relative_difference(onnx_encoder.embed(sounds), small_encoder.embed(sounds)) <= 3e-4  # seen: 1.1e-4


@pytest.mark.parametrize("seconds", [10.24, 10.3, 25.7, 71])
def test_long_recordings(onnx_encoder: OnnxEncoder, small_encoder: AaSPEncoder, seconds: float) -> None:
    sound = noise(int(16000 * seconds))
    assert relative_difference(onnx_encoder.embed(sound), small_encoder.embed(sound)) <= 1e-4
    ours, theirs = onnx_encoder.embed_frames(sound), small_encoder.embed_frames(sound)
    assert relative_difference(ours.embeddings, theirs.embeddings) <= 1e-4
    np.testing.assert_array_equal(ours.times, theirs.times)


def test_extremes(onnx_encoder: OnnxEncoder, small_encoder: AaSPEncoder) -> None:
    for sound in (np.zeros(16000), np.ones(16000), np.sign(noise(16000)), noise(16000) * 1e-4):
        assert relative_difference(onnx_encoder.embed(sound), small_encoder.embed(sound)) <= 1e-4


def test_runs_without_torch(graph: Path, sounds: Path) -> None:
    code = (
        "import sys\nfrom aasp_features.integrations.onnx import OnnxEncoder\n"
        f"vectors = OnnxEncoder({str(graph)!r}).embed([{str(sounds / 'music/bell.flac')!r}])\n"
        "print(vectors.shape, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(1, 384) False"


def test_metadata_and_int8(graph: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint has the weights of ``graph``, which need not be traced again; a trace takes half a minute."""
    monkeypatch.setattr(export_onnx, "_export", lambda _, path: shutil.copy(graph, path))
    encoder = AaSPEncoder.from_pretrained(checkpoint)
    small = OnnxEncoder(export_onnx.export_onnx(encoder, tmp_path / "int8.onnx", int8=True))
    assert small.config == encoder.config
    assert small.metadata["checkpoint_sha256"] == encoder.sha256
    assert small.metadata["weights"] == "int8"
    sound = noise(32000)
    ours, theirs = small.embed(sound), encoder.embed(sound)
    assert ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs) > 0.999


def test_a_graph_with_the_names_of_before(graph: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(graph)
    (output,) = [one for one in model.graph.output if one.name == "column_frames"]
    model.graph.node.append(onnx.helper.make_node("Identity", ["column_frames"], ["valid"]))
    output.name = "valid"
    onnx.save(model, tmp_path / "older.onnx")
    with pytest.raises(OnnxError, match=r"older.onnx: written by an older aasp-train export-onnx .*; export it again"):
        OnnxEncoder(tmp_path / "older.onnx")


def test_sentences(onnx_encoder: OnnxEncoder, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "sound.wav", noise(800), 16000)
    with pytest.raises(OnnxError, match="cannot be loaded"):
        OnnxEncoder(tmp_path / "sound.wav")
    with pytest.raises(OnnxError, match="cannot be loaded"):
        OnnxEncoder(tmp_path / "gone.onnx")
    with pytest.raises(InputError, match="no samples"):
        onnx_encoder.embed(np.empty(0))
    with pytest.raises(OptionError, match="batch_size"):
        onnx_encoder.embed(noise(800), batch_size=0)


def test_a_graph_that_overflows_names_the_clip(graph: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(graph)
    for weight in model.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if weight.name.startswith("network.blocks") or values.shape == (48, 144):
            weight.CopyFrom(onnx.numpy_helper.from_array(np.full_like(values, 1e30), weight.name))
    onnx.save(model, tmp_path / "overflows.onnx")
    encoder = OnnxEncoder(tmp_path / "overflows.onnx")
    for call in (encoder.embed, encoder.embed_frames):
        with pytest.raises(VectorError, match=r"clip [01]: the network answers with NaN or infinite numbers"):
            call([noise(9000), noise(40_000)])
