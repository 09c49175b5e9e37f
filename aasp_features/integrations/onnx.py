"""An exported encoder on onnxruntime: the same inputs, window plan and vectors as ``AaSPEncoder``, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aasp_features.config import FRAME_HOP, FRAME_LENGTH, AaSPConfig
from aasp_features.errors import AaSPError
from aasp_features.inference import (
    ColumnVectors,
    FrameEmbeddings,
    WindowCutter,
    emitted_columns,
    encode_clips,
    encode_frames,
)
from aasp_features.inputs import Clip, read_inputs
from aasp_features.options import resolve_options
from aasp_features.windows import COLUMN_SECONDS, Window

if TYPE_CHECKING:
    from aasp_features import typing as types

Samples = NDArray[np.float32]
OUTPUTS = ["frame_vectors", "column_frames", "cls"]


class OnnxError(AaSPError, RuntimeError):
    """A graph that cannot be used; the sentence says why."""


class OnnxEncoder:
    """Encoder whose graph ``aasp-train export-onnx`` wrote. Pooling and layers are those of the export.

    Args:
        path: of the ``.onnx`` file.
        providers: of onnxruntime, in order of preference (default: the CPU).
        threads: of onnxruntime (default: its own).

    Attributes:
        config: of the encoder that was exported.
        metadata: name and sha256 of the checkpoint, kind of weights.

    Raises:
        OnnxError: no such file, not a graph of this package, or onnxruntime is not installed.
    """

    def __init__(self, path: str | Path, providers: list[str] | None = None, threads: int | None = None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise OnnxError('OnnxEncoder needs onnxruntime: pip install "aasp-features[onnx]".') from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers or ["CPUExecutionProvider"])
            self.metadata: dict[str, str] = dict(self.session.get_modelmeta().custom_metadata_map)
            self.config = AaSPConfig.from_json(self.metadata["config"])
        except KeyError as error:
            raise OnnxError(f"{path}: not written by aasp-train export-onnx (no config in it).") from error
        except Exception as error:  # onnxruntime has an exception for every code
            raise OnnxError(f"{path}: cannot be loaded ({str(error).splitlines()[0]}).") from error
        names = [one.name for one in (*self.session.get_inputs(), *self.session.get_outputs())]
        if not {"waveform", "lengths", *OUTPUTS} <= set(names):
            raise OnnxError(f"{path}: written by an older aasp-train export-onnx (it has {names}); export it again.")

    @property
    def embedding_dim(self) -> int:
        """Dimension of a clip vector."""
        return self.config.embedding_dim

    def embed(
        self,
        inputs: types.Sounds,
        sample_rate: int | None = None,
        *,
        batch_size: int | None = None,
        channel_axis: int | None = None,
    ) -> NDArray[np.float32]:
        """Return one vector for each clip, (d,) or (B, d) float32 numpy; arguments and errors as of ``AaSPEncoder``."""
        options = resolve_options(self.config, batch_size=batch_size)
        given = read_inputs(inputs, sample_rate, channel_axis, self.config.sample_rate)
        names, windows = [clip.name for clip in given.clips], self._windows(given.clips)
        vectors = encode_clips(names, windows, self._run, self.config, options)
        return vectors[0] if given.single else vectors

    def embed_frames(
        self,
        inputs: types.Sounds,
        sample_rate: int | None = None,
        *,
        batch_size: int | None = None,
        channel_axis: int | None = None,
    ) -> FrameEmbeddings | list[FrameEmbeddings]:
        """Return vectors every 160 ms: ``FrameEmbeddings``, or a list of them; as ``AaSPEncoder.embed_frames``."""
        options = resolve_options(self.config, batch_size=batch_size)
        given = read_inputs(inputs, sample_rate, channel_axis, self.config.sample_rate)
        names, windows = [clip.name for clip in given.clips], self._windows(given.clips)
        framed = encode_frames(names, windows, self._run, self.config, options, COLUMN_SECONDS)
        return framed[0] if given.single else framed

    def _windows(self, clips: Sequence[Clip]) -> Iterator[tuple[tuple[int, int], Window[Samples]]]:
        """Cut clips into windows of samples; each has exactly the samples that its frames cover."""
        plan = self.config.window, self.config.context
        for index, clip in enumerate(clips):
            cutter = WindowCutter[Samples](*plan, np.concatenate, hop=FRAME_HOP, length=FRAME_LENGTH)
            for block in clip.blocks():
                for window in cutter.push(block if isinstance(block, np.ndarray) else block.cpu().numpy()):
                    yield (index, 0), window
            for window in cutter.finish():
                yield (index, 0), window

    def _run(self, windows: list[Window[Samples]]) -> list[ColumnVectors]:
        lengths = np.array([len(window.items) for window in windows], np.int64)
        waveform = np.zeros((len(windows), max(FRAME_LENGTH, int(lengths.max()))), np.float32)
        for row, window in zip(waveform, windows, strict=True):
            row[: len(window.items)] = window.items
        return emitted_columns(windows, *self.session.run(OUTPUTS, {"waveform": waveform, "lengths": lengths}))
