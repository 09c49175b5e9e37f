"""An exported encoder on onnxruntime: the same inputs, window plan and vectors as ``AaSPEncoder``, without torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aasp_features.batching import WINDOWS_ON_A_CPU, ClipVector, Encoded, FrameEmbeddings, FrameVectors, WindowEncoder
from aasp_features.config import FRAME_HOP, FRAME_LENGTH, PATCH, AaSPConfig
from aasp_features.inputs import Clip, InputError, read_inputs
from aasp_features.windows import COLUMN_SECONDS, Window, WindowPlanner, count_columns, count_frames, grid_times

COLUMN_SAMPLES = PATCH * FRAME_HOP


class OnnxError(RuntimeError):
    """A graph that cannot be used; the sentence says why."""


@dataclass(frozen=True)
class SampleWindow:
    """Samples of the columns ``[plan.start, plan.stop)`` of a recording."""

    samples: NDArray[np.float32]
    plan: Window

    @property
    def columns(self) -> int:
        return self.plan.stop - self.plan.start


class OnnxEncoder:
    """A graph that ``aasp-train export-onnx`` wrote. Pooling and layers are those of the export.

    Args:
        path: of the ``.onnx`` file.
        providers: of onnxruntime, in order of preference; the CPU unless given.
        threads: of onnxruntime; None takes its default.

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

    @property
    def embedding_dim(self) -> int:
        """Numbers in a clip vector."""
        return self.config.embedding_dim

    def embed(
        self,
        inputs: Any,
        sample_rate: int | None = None,
        *,
        batch_size: int | None = None,
        channel_axis: int | None = None,
    ) -> Any:
        """One vector for each clip, (d,) or (B, d) float32 numpy; arguments and errors as in ``AaSPEncoder.embed``."""
        clips = self._read(inputs, sample_rate, channel_axis)
        results = self._run(clips.clips, partial(ClipVector, self.config.pooling), batch_size)
        if clips.single:
            return results[0]
        return np.stack(results) if results else np.empty((0, self.embedding_dim), np.float32)

    def embed_frames(
        self,
        inputs: Any,
        sample_rate: int | None = None,
        *,
        batch_size: int | None = None,
        channel_axis: int | None = None,
    ) -> Any:
        """Vectors every 160 ms: ``FrameEmbeddings``, or a list of them; as in ``AaSPEncoder.embed_frames``."""
        clips = self._read(inputs, sample_rate, channel_axis)
        framed = [
            FrameEmbeddings(vectors, np.asarray(grid_times(frames, COLUMN_SECONDS), np.float64))
            for vectors, frames in self._run(clips.clips, FrameVectors, batch_size)
        ]
        return framed[0] if clips.single else framed

    def _read(self, inputs: Any, sample_rate: int | None, channel_axis: int | None) -> Any:
        return read_inputs(
            inputs, sample_rate=sample_rate, channel_axis=channel_axis, model_rate=self.config.sample_rate
        )

    def _run(self, clips: list[Clip], new_result: Any, batch_size: int | None) -> list[Any]:
        if batch_size is None:
            batch_size = WINDOWS_ON_A_CPU
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size!r}.")
        windows = WindowEncoder[int, SampleWindow, Any](self._encode, new_result, batch_size * self.config.window)
        results = dict(windows.run(self._events(clips)))
        return [results[index] for index in range(len(clips))]

    def _events(self, clips: list[Clip]) -> Iterator[tuple[int, SampleWindow | None]]:
        for index, clip in enumerate(clips):
            for window in sample_windows(clip.blocks(), self.config.window, self.config.context):
                yield index, window
            yield index, None

    def _encode(self, windows: list[SampleWindow]) -> Encoded:
        samples = np.array([len(window.samples) for window in windows], np.int64)
        waveform = np.zeros((len(windows), max(FRAME_LENGTH, int(samples.max()))), np.float32)
        for row, window in zip(waveform, windows, strict=True):
            row[: len(window.samples)] = window.samples
        frames, valid, cls = self.session.run(["frames", "valid", "cls"], {"waveform": waveform, "samples": samples})
        return frames, valid, cls


def sample_windows(blocks: Iterable[NDArray[np.float32]], window: int, context: int) -> Iterator[SampleWindow]:
    """Cut a recording by the window plan, in samples: each window has exactly the samples that its frames cover.

    Args:
        blocks: (samples,) float32 mono at 16 kHz, in order.
        window, context: columns, from the config.
    """
    planner = WindowPlanner(window, context)
    held, held_from, samples = np.empty(0, np.float32), 0, 0  # held_from: column of held's first sample

    def cut(plan: Window, last: bool) -> SampleWindow:
        start = COLUMN_SAMPLES * (plan.start - held_from)
        stop = COLUMN_SAMPLES * (plan.stop - held_from) - FRAME_HOP + FRAME_LENGTH
        return SampleWindow(held[start : None if last else stop].copy(), plan)

    for block in blocks:
        samples += len(block)
        held = np.concatenate([held, block])
        for plan in planner.advance(count_columns(count_frames(samples))):
            yield cut(plan, last=False)
        drop = planner.oldest_needed - held_from
        held, held_from = held[COLUMN_SAMPLES * drop :], held_from + drop
    if samples:
        columns = count_columns(count_frames(samples))
        for plan in planner.finish(columns):
            yield cut(plan, last=plan.stop == columns)
