"""An encoder -> one ONNX graph from waveform to vectors, with the log-mel inside.

Everything before the power spectrum is linear in a frame's samples: mean removal, pre-emphasis, window and Fourier
transform are one real matrix, applied as a convolution with a stride of one frame.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from aasp_features.config import FRAME_HOP, FRAME_LENGTH, PATCH
from aasp_features.encoder import AaSPEncoder
from aasp_features.errors import AaSPError
from aasp_features.model.log_mel import ENERGY_FLOOR, PRE_EMPHASIS, LogMel, length_mask, mel_filters
from aasp_features.model.pooling import pool_clip, pool_frames

INPUTS, OUTPUTS = ["waveform", "lengths"], ["embedding", "frame_vectors", "column_frames", "cls"]


class ExportError(AaSPError, RuntimeError):
    """The graph could not be made; the sentence says what is missing or refused."""


class WaveformGraph(nn.Module):
    """The straight path of ``AaSPEncoder``, in operations that ONNX has.

    Input: waveform (batch, samples) float32 at 16 kHz, 400 samples to one window (10.2 s); lengths (batch,) int64,
    how many of each row are valid. Output: embedding (batch, d), the clip vector under the config's pooling;
    frame_vectors (batch, columns, d'), those of its columns; column_frames (batch, columns), frames of each column that
    are real; cls (batch, dim).
    """

    spectrum: Tensor
    filters: Tensor

    def __init__(self, encoder: AaSPEncoder) -> None:
        super().__init__()
        self.config, self.network = encoder.config, encoder.network
        self.register_buffer("spectrum", spectrum_matrix(self.config.fft_length).float()[:, None])
        filters = mel_filters(self.config.mels, self.config.fft_length, self.config.sample_rate)
        self.register_buffer("filters", filters.float())

    def forward(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See the class."""
        frame_lengths = LogMel.count_frames(lengths)
        log_mel = self.log_mel(waveform, lengths, frame_lengths)
        features = self.network.features(
            *self.network.encode(log_mel, frame_lengths, self.config.last_layers, masked=True)
        )
        pooling = self.config.pooling
        return pool_clip(features, pooling), pool_frames(features, pooling), features.column_frames, features.cls

    def log_mel(self, waveform: Tensor, lengths: Tensor, frame_lengths: Tensor) -> Tensor:
        """(batch, samples) -> (batch, frames, mels) standardised; frames are a multiple of 16, zero past each end."""
        columns = (waveform.shape[1] - FRAME_LENGTH + FRAME_HOP * PATCH) // (FRAME_HOP * PATCH)
        waveform = waveform.masked_fill(~length_mask(lengths, waveform.shape[1]), 0.0)
        waveform = functional.pad(waveform, (0, FRAME_HOP * PATCH))
        spectrum = functional.conv1d(waveform[:, None], self.spectrum, stride=FRAME_HOP)  # (batch, 2 bins, frames)
        real, imaginary = spectrum[:, :, : PATCH * columns].transpose(1, 2).chunk(2, dim=2)
        energy = torch.matmul(real.square() + imaginary.square(), self.filters).clamp(min=ENERGY_FLOOR)
        log_mel = (energy.log() - self.config.mean) / self.config.std
        return log_mel.masked_fill(~length_mask(frame_lengths, log_mel.shape[1])[..., None], 0.0)


def spectrum_matrix(fft_length: int) -> Tensor:
    """A frame of 400 samples -> its spectrum's real and imaginary parts: (2 bins, 400) float64."""
    identity = torch.eye(FRAME_LENGTH, dtype=torch.float64)
    centred = identity - 1 / FRAME_LENGTH
    previous = torch.cat([centred[:1], centred[:-1]])
    window = torch.hann_window(FRAME_LENGTH, periodic=False, dtype=torch.float64)
    frame = window[:, None] * (centred - PRE_EMPHASIS * previous)
    spectrum = torch.fft.rfft(frame, n=fft_length, dim=0)  # of each column: the map is linear
    return torch.cat([spectrum.real, spectrum.imag])


def export_onnx(encoder: AaSPEncoder, out: Path, *, int8: bool = False) -> Path:
    """Write the graph; config, name and sha256 of the checkpoint go into its metadata.

    Args:
        encoder: on the CPU.
        out: path of the ``.onnx`` file.
        int8: quantise the matrices' weights (dynamic quantisation: activations at run time).

    Raises:
        ExportError: the extra ``onnx`` is not installed, or the file cannot be written.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 (torch's exporter needs it)
    except ImportError as error:
        raise ExportError('export needs onnx and onnxscript: pip install "aasp-features[onnx]".') from error
    try:
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".exporting-") as folder:
            path = Path(folder) / "model.onnx"
            _export(WaveformGraph(encoder).eval(), path)
            if int8:
                path = _quantise(path, encoder.config.mels)
            model = onnx.load(path)
            onnx.helper.set_model_props(model, metadata(encoder, int8))
            onnx.save(model, Path(folder) / "whole.onnx")
            (Path(folder) / "whole.onnx").replace(out)
    except OSError as error:
        raise ExportError(f"{out}: the graph could not be written ({error.strerror or error}).") from error
    return out


def metadata(encoder: AaSPEncoder, int8: bool) -> dict[str, str]:
    """What ``OnnxEncoder`` reads, and who wants to know where the weights come from."""
    return {
        "config": json.dumps(json.loads(encoder.config.to_json())),
        "checkpoint": encoder.config.name,
        "checkpoint_sha256": encoder.sha256 or "",
        "weights": "int8" if int8 else "float32",
    }


def _export(graph: WaveformGraph, path: Path) -> None:
    window = graph.config.window
    example = torch.randn(2, 16000) * 0.1, torch.tensor([16000, 12000])
    longest = FRAME_HOP * (PATCH * window - 1) + FRAME_LENGTH
    batch, samples = torch.export.Dim("batch", min=1), torch.export.Dim("samples", min=FRAME_LENGTH, max=longest)
    shapes: Any = ({0: batch, 1: samples}, {0: batch})
    torch.onnx.export(
        graph,
        example,
        path,
        input_names=INPUTS,
        output_names=OUTPUTS,
        dynamic_shapes=shapes,
        dynamo=True,
        external_data=False,
        optimize=False,  # onnxscript's optimiser takes the modulus' ε for 0; onnxruntime has one of its own
        verbose=False,
    )


def _quantise(path: Path, mels: int) -> Path:
    """Eight bits for the weights of the network's matrices; the log-mel's filters stay, as its range is too wide."""
    import onnx
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    folded, smaller = path.with_name("folded.onnx"), path.with_name("int8.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folded)  # its weights are no longer behind transpositions
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    model = onnx.load(folded)
    matrices = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    filters = [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul"
        and matrices.get(node.input[1], [0])[-1] == mels
        and matrices[node.input[1]][0] > mels
    ]
    quantize_dynamic(
        folded,
        smaller,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,  # seven bits: where a CPU has AVX2 alone, two products of eight bits overflow
        op_types_to_quantize=["MatMul", "Gemm"],
        nodes_to_exclude=filters,
    )
    return smaller
