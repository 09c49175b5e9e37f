"""AaSPEncoder: sound in, vectors out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aasp_features import batching, hub
from aasp_features.batching import ClipVector, FrameEmbeddings, FrameVectors, Key, Result, WindowEncoder
from aasp_features.config import CHOICES, AaSPConfig, Pooling, Precision, pooled_dim
from aasp_features.inputs import Clip, InputError, Inputs, read_inputs
from aasp_features.log_mel import LogMel
from aasp_features.network import AaSPNetwork, Features
from aasp_features.network_pass import network_pass
from aasp_features.pooling import pool_clip
from aasp_features.spectrogram_windows import SpectrogramWindow, spectrogram_windows
from aasp_features.stream import EmbeddingStream, window_of_latency
from aasp_features.windows import grid_offsets, grid_times

Out = TypeVar("Out")


class AaSPEncoder(nn.Module):
    """Aliasing-aware audio spectrogram transformer: log-mel, network, pooling.

    ``AaSPEncoder.from_pretrained()`` gives trained weights; ``AaSPEncoder(config)`` gives random ones.

    Every embed call takes: a 1-D array or tensor; ``(array, rate)``; ``{"array": …, "sampling_rate": …}``; a path;
    a list of any of these; a 2-D float array as a batch (B, N). Files are mixed down to mono by the mean of their
    channels, arrays only where ``channel_axis`` names their channels. Anything not at 16 kHz is resampled.
    numpy in, numpy out; tensor in, tensor out on its device; float32.

    Attributes:
        config: what it is.
        sha256: of the weights' file that it was loaded from; None where there is none.
        precision: of the matrix products of embed calls, ``float32`` or ``bfloat16``; vectors are float32 either way.
    """

    def __init__(self, config: AaSPConfig | None = None) -> None:
        super().__init__()
        self.config = config or AaSPConfig()
        self.sha256: str | None = None
        self.precision: Precision = "float32"
        self._compile_options: dict[str, Any] | None = None
        self.log_mel = LogMel(self.config)
        self.network = AaSPNetwork(self.config)
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | None = None,
        *,
        revision: str | None = None,
        device: str | torch.device | None = None,
        precision: Precision = "float32",
        **hub_options: Any,
    ) -> AaSPEncoder:
        """Load a checkpoint; evaluation mode, no gradients, float32.

        Args:
            name: None for the bundled checkpoint (no network); a folder; or ``org/name[@revision]`` on the Hub.
            revision: branch, tag or commit on the Hub.
            device: where the encoder goes; the CPU unless given.
            precision: ``bfloat16`` is faster on GPUs and CPUs that have it; vectors differ by less than 1 %.
            hub_options: ``token``, ``cache_dir``, ``local_files_only`` for the Hub.

        Raises:
            CheckpointError: not found, not readable, or not a complete AaSP checkpoint.
            InputError: a precision that is not accepted.
        """
        if precision not in get_args(Precision):
            raise InputError(f"precision must be one of {', '.join(get_args(Precision))}, got {precision!r}.")
        found = hub.load_checkpoint(name, revision=revision, **hub_options)
        encoder = cls(found.config)
        hub.load_weights(encoder.network, found.weights, found.source)
        encoder.sha256, encoder.precision = found.sha256, precision
        return encoder.to(device) if device is not None else encoder

    def save_pretrained(self, folder: str | Path, *, card: str | None = None, half: bool = False) -> Path:
        """Write config.json, model.safetensors and README.md; ``half`` stores float16 (loaded as float32).

        Raises:
            CheckpointError: the folder cannot be written.
        """
        card = card or f"# {self.config.name}\n\nAn AaSP audio encoder saved by aasp-features.\n"
        return hub.save_checkpoint(folder, self.config, self.network.state_dict(), card=card, half=half)

    def push_to_hub(self, repo_id: str, *, card: str | None = None, half: bool = False, **hub_options: Any) -> str:
        """Save and upload to ``repo_id`` on the Hub; returns its address. Options: private, token, revision,
        commit_message.

        Raises:
            CheckpointError: the Hub refuses or cannot be reached.
        """
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as folder:
            saved = self.save_pretrained(Path(folder) / "checkpoint", card=card, half=half)
            return hub.push_checkpoint(saved, repo_id, **hub_options)

    @property
    def embedding_dim(self) -> int:
        """Numbers in one clip vector under the default pooling."""
        return self.config.embedding_dim

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.cls.device

    def compile(self, **options: Any) -> None:
        """Compile the network's blocks in place by ``torch.compile``, whose options these are.

        All blocks are one code, so it is compiled once, in the first call. Copies and pickles are compiled as well.
        """
        self._compile_options = {"dynamic": True, **options}
        for block in self.network.blocks:
            block.compile(**self._compile_options)

    @property
    def compiled(self) -> bool:
        """Was ``compile`` called? A compiled network's vectors differ in their last bits."""
        return self._compile_options is not None

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        if self._compile_options is not None:  # modules drop it from their copies
            self.compile(**self._compile_options)

    # The straight path, differentiable

    def forward(self, waveform: Tensor, samples: Tensor | None = None, pooling: Pooling | None = None) -> Tensor:
        """Clip vectors of waveforms that fit one window, differentiable (for fine-tuning).

        Args:
            waveform: (batch, samples) float at 16 kHz in +-1, on the encoder's device.
            samples: (batch,) valid samples of each row; None when all are.
            pooling: None takes the config's.

        Returns:
            (batch, d).
        """
        frames = None if samples is None else self.log_mel.count_frames(samples)
        features = self.forward_features(self.log_mel(waveform, samples), frames)
        return pool_clip(features, pooling or self.config.pooling)

    def forward_features(self, log_mel: Tensor, frames: Tensor | None = None, layers: int | None = None) -> Features:
        """Tokens (batch, columns, rows, dim) and [CLS] (batch, dim) of standardised log-mels; see ``AaSPNetwork``.

        Differentiable; ``encoder.requires_grad_(True)`` first to fine-tune.
        """
        return self.network(log_mel, frames, layers)  # type: ignore[no-any-return]

    # Vectors from any input

    def embed(
        self,
        inputs: Any,
        sample_rate: int | None = None,
        *,
        pooling: Pooling | None = None,
        layers: int | None = None,
        batch_size: int | None = None,
        channel_axis: int | None = None,
    ) -> Any:
        """One vector for each clip: (d,) for a single clip, (B, d) for several.

        Args:
            inputs: any of the forms the class names.
            sample_rate: of raw arrays; None means 16 kHz.
            pooling: ``mean`` (d = dim), ``cls`` (dim), ``frequency`` (8 dim), or with a second half: ``mean+cls``,
                ``mean+std`` (2 dim), ``frequency+std`` (16 dim), the deviations over time; None: config's.
            layers: average of the last k blocks; None takes the config's.
            batch_size: full windows (10.24 s) that go through the network together, and more of shorter ones; None
                takes what is fast: 8 on a CPU, up to 256 on a GPU, by its memory.
            channel_axis: the axis of channels in raw 2-D (or 3-D batched) arrays, which are then averaged.

        Raises:
            InputError, AudioError: an input that cannot be embedded; the sentence names it.
        """
        pooling, layers, batch_size = self.check_options(pooling, layers, batch_size)
        clips = read_inputs(
            inputs, sample_rate=sample_rate, channel_axis=channel_axis, model_rate=self.config.sample_rate
        )
        results = self._run(clips.clips, partial(ClipVector, pooling), pooling, layers, batch_size)
        vectors = [results[index, 0] for index in range(len(clips.clips))]
        if clips.single:
            return _like(clips, vectors[0])
        width = pooled_dim(self.config.dim, self.config.rows, pooling)
        return _like(clips, np.stack(vectors) if vectors else np.empty((0, width), np.float32))

    def embed_frames(
        self,
        inputs: Any,
        sample_rate: int | None = None,
        *,
        hop: float = 0.16,
        pooling: Pooling | None = None,
        layers: int | None = None,
        batch_size: int | None = None,
        channel_axis: int | None = None,
    ) -> Any:
        """Vectors along time: a ``FrameEmbeddings`` for a single clip, a list of them for several.

        ``frequency`` and ``frequency+std`` concatenate the rows of a column (8 dim numbers); others average them (dim).
        ``hop`` is 0.16 s, or 0.08, 0.04, 0.02, 0.01: the spectrogram is then encoded at 2, 4, 8, 16 offsets and the
        results interleaved, at 2, 4, 8, 16 times the cost. Other arguments and errors as in ``embed``.
        """
        pooling, layers, batch_size = self.check_options(pooling, layers, batch_size)
        try:
            offsets = grid_offsets(hop)
        except ValueError as error:
            raise InputError(str(error)) from error
        clips = read_inputs(
            inputs, sample_rate=sample_rate, channel_axis=channel_axis, model_rate=self.config.sample_rate
        )
        results = self._run(clips.clips, FrameVectors, pooling, layers, batch_size, hop)
        framed = []
        for index in range(len(clips.clips)):
            passes = [results.pop((index, offset), (np.empty((0, 0), np.float32), 0)) for offset in offsets]
            vectors = batching.interleave([vectors for vectors, _ in passes])
            times = np.asarray(grid_times(passes[0][1], hop), np.float64)
            framed.append(FrameEmbeddings(_like(clips, vectors), _like(clips, times)))
        return framed[0] if clips.single else framed

    def encode(
        self,
        inputs: Any,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | torch.device | None = None,
        normalize_embeddings: bool = False,
        *,
        sample_rate: int | None = None,
    ) -> Any:
        """``embed`` with the argument names and return types of sentence-transformers.

        Returns a numpy array, a tensor if ``convert_to_tensor``, or a list of tensors if neither; a single input
        gives a single vector. ``normalize_embeddings`` scales vectors to length 1.
        """
        if device is not None:
            self.to(device)
        if show_progress_bar and isinstance(inputs, list):
            from rich.progress import track

            vectors = [self.embed([one], sample_rate) for one in track(inputs, description="Encoding")]
            result = torch.cat([torch.as_tensor(vector) for vector in vectors])
        else:
            result = torch.as_tensor(self.embed(inputs, sample_rate, batch_size=batch_size))
        if normalize_embeddings:
            result = nn.functional.normalize(result, dim=-1)
        if convert_to_tensor:
            return result.to(self.device)
        if convert_to_numpy:
            return result.cpu().numpy()
        return list(result) if result.ndim == 2 else result

    # The same path in two halves, for runs over many files

    def spectrogram_windows(
        self, blocks: Iterable[NDArray[np.float32]], hop: float = 0.16
    ) -> Iterator[tuple[int, SpectrogramWindow]]:
        """First half of ``embed``: blocks of one recording (float32, mono, 16 kHz) -> windows of log-mel.

        Windows come as ``(offset, window)``; hops below 0.16 s have several offsets (frames), and each is a recording
        of its own for the second half. Reads no state that changes, so many threads may call it at once.
        """
        config = self.config
        return spectrogram_windows(blocks, self.log_mel, config.window, config.context, grid_offsets(hop))

    def embed_windows(
        self,
        events: Iterable[tuple[Key, SpectrogramWindow | Exception | None]],
        new_result: Callable[[], Result[Out]],
        batch_size: int | None = None,
        pooling: Pooling | None = None,
        layers: int | None = None,
    ) -> Iterator[tuple[Key, Out | Exception]]:
        """Second half of ``embed``: windows of many recordings -> their results, in the order of completion.

        Args:
            events: ``(key, window)`` in each recording's order, recordings interleaved as they come;
                ``(key, None)`` ends a recording; ``(key, exception)`` ends it as failed and is handed through.
            new_result: what collects a recording's vectors, such as ``ClipVector`` of ``batching``.
            batch_size, pooling, layers: as in ``embed``.
        """
        pooling, layers, batch_size = self.check_options(pooling, layers, batch_size)
        encode = network_pass(self.network, pooling, layers, self.precision)
        columns = batch_size * self.network.config.window
        return WindowEncoder[Key, SpectrogramWindow, Out](encode, new_result, columns).run(events)

    def windowed(self, window: int, context: int) -> AaSPEncoder:
        """This encoder, weights shared, with windows of other lengths for long recordings, in columns of 160 ms.

        Raises:
            InputError: longer than the config's window, or no column left between two contexts.
        """
        if window > self.config.window:
            raise InputError(f"window must be at most {self.config.window} columns, as trained, got {window}.")
        try:
            config = self.config.replace(window=window, context=context)
        except ValueError as error:
            raise InputError(str(error).removeprefix("config: ")) from error
        other = copy.copy(self)
        other.config = config
        return other

    def stream(
        self,
        rate: int = 16000,
        *,
        latency: float | None = None,
        pooling: Pooling | None = None,
        layers: int | None = None,
    ) -> EmbeddingStream:
        """Frames of a live signal; see ``EmbeddingStream``.

        Args:
            rate: of the signal, in Hz.
            latency: seconds, at least 0.51; None keeps the config's window (10.3 s). Shorter windows see less context.
            pooling, layers: as in ``embed_frames``.

        Raises:
            InputError: a rate, latency or option that is not accepted.
        """
        pooling, layers, _ = self.check_options(pooling, layers)
        window, context = self.config.window, self.config.context
        if latency is not None:
            window, context = window_of_latency(latency, window, context)
        config = self.config.replace(window=window, context=context)
        encode = network_pass(self.network, pooling, layers, self.precision)
        return EmbeddingStream(encode, self.log_mel, config, rate, pooling)

    def _run(
        self,
        clips: list[Clip],
        new_result: Callable[[], Result[Out]],
        pooling: Pooling,
        layers: int,
        batch_size: int,
        hop: float = 0.16,
    ) -> dict[tuple[int, int], Out]:
        """Results by clip and offset."""
        results: dict[tuple[int, int], Out] = {}
        for key, result in self.embed_windows(self._events(clips, hop), new_result, batch_size, pooling, layers):
            if isinstance(result, Exception):
                raise result
            results[key] = result
        return results

    def _events(
        self, clips: list[Clip], hop: float
    ) -> Iterator[tuple[tuple[int, int], SpectrogramWindow | Exception | None]]:
        for index, clip in enumerate(clips):
            for offset, window in self.spectrogram_windows(clip.blocks(), hop):
                yield (index, offset), window
            for offset in grid_offsets(hop):
                yield (index, offset), None

    def check_options(
        self, pooling: str | None, layers: int | None, batch_size: int | None = None
    ) -> tuple[Pooling, int, int]:
        """Options with defaults filled in: the config's, and a batch size for the device.

        Raises:
            InputError: a pooling, number of layers or batch size that is not accepted.
        """
        if pooling is not None and pooling not in CHOICES["pooling"]:
            raise InputError(f"pooling must be one of {', '.join(CHOICES['pooling'])}, got {pooling!r}.")
        if layers is not None and not 1 <= layers <= self.config.depth:
            raise InputError(f"layers must be 1 to {self.config.depth} (the last k blocks), got {layers!r}.")
        if batch_size is None:
            batch_size = batching.automatic_batch_size(self.config, self.device.type)
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size!r}.")
        return cast(Pooling, pooling or self.config.pooling), layers or self.config.layers, batch_size


def _like(inputs: Inputs, array: NDArray[Any]) -> Any:
    return torch.from_numpy(array).to(inputs.device) if inputs.as_tensor else array
