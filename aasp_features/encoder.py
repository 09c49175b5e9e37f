"""AaSPEncoder: sound in, vectors out."""

# An empty list is one of arrays and one of tensors, so overloads overlap.
# mypy: disable-error-code="overload-overlap"

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal, overload

import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor, nn

from aasp_features import checkpoint
from aasp_features.audio.resampling import warn_unheard
from aasp_features.config import AaSPConfig, Pooling, Precision
from aasp_features.fine_tuning import Trainable
from aasp_features.forked import mind_fork
from aasp_features.inference import FrameEmbeddings, clip_windows, encode_clips, encode_frames, run_network
from aasp_features.inputs import Inputs, check_waveform, read_inputs
from aasp_features.model.log_mel import LogMel
from aasp_features.model.network import AaSPNetwork, Features
from aasp_features.model.pooling import pool_clip, similarity
from aasp_features.options import EmbedOptions, check_choice, check_device, check_last_layers, resolve_options
from aasp_features.stream import EmbeddingStream, window_of_latency
from aasp_features.windows import COLUMN_SECONDS, grid_offsets

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from aasp_features import typing as types


class AaSPEncoder(Trainable, nn.Module):
    """Aliasing-aware audio spectrogram transformer: log-mel, network, pooling.

    ``AaSPEncoder.from_pretrained()`` gives trained weights; ``AaSPEncoder(config)`` gives random ones.

    Every embed call takes: a 1-D array or tensor; ``(array, rate)``; ``{"array": …, "sampling_rate": …}``; a path; an
    open file, its bytes, ``{"bytes": …}`` or ``{"path": …}``; torchcodec's ``AudioDecoder`` and ``AudioSamples``; a
    list of these, or a column (pandas, polars, Arrow, ``datasets``); a 2-D float array as a batch (B, N). Files are
    mixed down by the mean of their channels, arrays only along ``channel_axis``. Anything not at 16 kHz is resampled.
    numpy in, numpy out; tensor in, tensor out on its device; float32.

    Args:
        config: gives the architecture (default: ``AaSPConfig()``).

    Attributes:
        config: the architecture, frontend and defaults.
        sha256: of the weights file it was loaded from; None for weights from elsewhere.
        precision: of the matrix products of embed calls, ``float32`` or ``bfloat16``; vectors are float32 either way.
    """

    def __init__(self, config: AaSPConfig | None = None) -> None:
        super().__init__()
        mind_fork()
        self.config = config or AaSPConfig()
        self.sha256: str | None = None
        self.precision: Precision = "float32"
        self.log_mel = LogMel(self.config)
        self.network = AaSPNetwork(self.config)
        self.requires_grad_(False)
        self.float().eval()  # whatever torch's default dtype is

    def __repr__(self) -> str:
        config, millions = self.config, sum(weight.numel() for weight in self.network.parameters()) / 1e6
        precision = self.precision if self.network.cls.dtype == torch.float32 else str(self.network.cls.dtype)[6:]
        return (
            f"AaSPEncoder {config.name}\n"
            f"  dimension: {self.embedding_dim} (pooling {config.pooling})\n"
            f"  window: {config.window * COLUMN_SECONDS:.2f} s ({config.window} columns, {config.context} of context)\n"
            f"  device: {self.device} ({precision})\n"
            f"  parameters: {millions:.1f} million"
        )

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
        """Load a checkpoint for inference: evaluation mode, no gradients, float32.

        Args:
            name: None for the bundled checkpoint (no network); a folder; or ``org/name[@revision]`` on the Hub.
            revision: branch, tag or commit on the Hub.
            device: of the encoder (default: the CPU).
            precision: ``bfloat16`` is faster on GPUs and CPUs that have it; vectors differ by less than 1 %.
            hub_options: ``token``, ``cache_dir``, ``local_files_only`` for the Hub.

        Raises:
            CheckpointError: not found, not readable, or not a complete AaSP checkpoint.
            OptionError: a precision that is not accepted, or a device that torch cannot use.
        """
        check_choice("precision", precision, Precision)  # before anything is downloaded
        check_device(device)
        found = checkpoint.load_checkpoint(name, revision=revision, **hub_options)
        encoder = cls.from_checkpoint(found)
        encoder.precision = precision
        return encoder.to(device) if device is not None else encoder

    @classmethod
    def from_checkpoint(cls, found: checkpoint.Checkpoint) -> AaSPEncoder:
        """Build the encoder of a checkpoint that was read.

        Raises:
            CheckpointError: the weights do not fit the config.
        """
        encoder = cls(found.config)
        checkpoint.load_weights(encoder.network, found.weights, found.source)
        encoder.sha256 = found.sha256
        return encoder

    def save_pretrained(self, folder: str | Path, *, card: str | None = None, half: bool = False) -> Path:
        """Write config.json, model.safetensors and README.md; ``half`` stores float16 (loaded as float32).

        Raises:
            CheckpointError: the folder cannot be written.
        """
        card = card or f"# {self.config.name}\n\nAn AaSP audio encoder saved by aasp-features.\n"
        return checkpoint.save_checkpoint(folder, self.config, self.network.state_dict(), card=card, half=half)

    def push_to_hub(self, repo_id: str, *, card: str | None = None, half: bool = False, **hub_options: Any) -> str:
        """Save as ``save_pretrained`` does and upload to ``repo_id``, ``org/name``, on the Hub; return its address.

        ``hub_options`` are private, token, revision and commit_message.

        Raises:
            CheckpointError: the Hub refuses or cannot be reached.
        """
        with TemporaryDirectory() as folder:
            saved = self.save_pretrained(Path(folder) / "checkpoint", card=card, half=half)
            return checkpoint.push_checkpoint(saved, repo_id, **hub_options)

    @property
    def embedding_dim(self) -> int:
        """Dimension of a clip vector under the default pooling."""
        return self.config.embedding_dim

    similarity = staticmethod(similarity)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.network.cls.device

    def compile(self, **options: Any) -> None:
        """Compile the network's blocks in place with ``torch.compile`` and its ``options``.

        The first call compiles. Copies and pickles are compiled as well.
        """
        self.network.compile_blocks(**options)

    @property
    def compiled(self) -> bool:
        """True once ``compile`` was called. A compiled network's vectors differ in their last bits."""
        return self.network.compile_options is not None

    def forward(self, waveform: Tensor, lengths: Tensor | None = None, pooling: Pooling | None = None) -> Tensor:
        """Return clip vectors of waveforms that fit one window, differentiable (for fine-tuning).

        Args:
            waveform: (batch, samples) float at 16 kHz in +-1, on the encoder's device.
            lengths: (batch,) valid samples of each row; None when all are.
            pooling: None takes the config's.

        Returns:
            (batch, d).

        Raises:
            OptionError: a pooling that is not accepted.
            InputError, InputLengthError: not such a tensor, or one longer than a window.
        """
        if pooling is not None:
            check_choice("pooling", pooling, Pooling)
        return pool_clip(self.forward_features(waveform, lengths), pooling or self.config.pooling)

    def forward_features(
        self, waveform: Tensor, lengths: Tensor | None = None, last_layers: int | None = None
    ) -> Features:
        """Return tokens (batch, columns, rows, dim), [CLS] (batch, dim) and valid frames, before pooling.

        Arguments are those of ``forward``. Differentiable; call ``encoder.unfreeze()`` first to fine-tune.
        For log-mels that you have already, call ``encoder.network(log_mel, frame_lengths, last_layers)``.
        """
        self._check_ready()
        check_waveform(waveform, lengths, self.device)
        check_last_layers(last_layers, self.config.depth)
        frame_lengths = None if lengths is None else self.log_mel.count_frames(lengths)
        return self.network(self.log_mel(waveform, lengths), frame_lengths, last_layers)  # type: ignore[no-any-return]

    @overload
    def embed(
        self, inputs: types.TensorSounds, sample_rate: int | None = ..., **choices: Unpack[types.EmbedChoices]
    ) -> Tensor: ...
    @overload
    def embed(
        self, inputs: types.ArraySounds, sample_rate: int | None = ..., **choices: Unpack[types.EmbedChoices]
    ) -> types.Array: ...
    @overload
    def embed(
        self, inputs: types.Sounds, sample_rate: int | None = ..., **choices: Unpack[types.EmbedChoices]
    ) -> Tensor | types.Array: ...
    def embed(
        self,
        inputs: Any,
        sample_rate: int | None = None,
        *,
        pooling: Pooling | None = None,
        last_layers: int | None = None,
        batch_size: int | None = None,
        window: int | None = None,
        context: int | None = None,
        channel_axis: int | None = None,
        progress: bool = False,
        **unknown: Any,
    ) -> Any:
        """Return one vector for each clip: (d,) for a single clip, (B, d) for several.

        Args:
            inputs: any of the forms the class names.
            sample_rate: of raw arrays, in Hz (default: 16,000).
            pooling: ``mean`` (d = dim), ``cls`` (dim), ``frequency`` (8 dim), or with a second half: ``mean+cls``,
                ``mean+std`` (2 dim), ``frequency+std`` (16 dim), the deviations over time (default: the config's).
            last_layers: average of the last k blocks (default: the config's).
            batch_size: full windows (10.24 s) that go through the network together, and more of shorter ones
                (default: 8 on a CPU, up to 256 on a GPU, by its memory).
            window: of long audio, in columns of 160 ms (default: the config's).
            context: overlap of windows on each side, used as context and then discarded, in columns of 160 ms
                (default: the config's).
            channel_axis: the axis of channels in raw 2-D (or 3-D batched) arrays, which are then averaged.
            progress: show a bar of the clips in a terminal.

        Raises:
            InputError, AudioError: an input that cannot be embedded; the sentence names it.
            VectorError: the network answers with NaN or infinite numbers; the sentence names the clip.
            OptionError: an option that is not accepted.
        """
        options = self.options(
            pooling=pooling, last_layers=last_layers, batch_size=batch_size, window=window, context=context, **unknown
        )
        given = read_inputs(inputs, sample_rate, channel_axis, self.config.sample_rate)
        return _like(given, self._clip_vectors(given, options, progress))

    @overload
    def embed_frames(
        self, inputs: types.OneArraySound, sample_rate: int | None = ..., **choices: Unpack[types.FrameChoices]
    ) -> FrameEmbeddings: ...
    @overload
    def embed_frames(
        self, inputs: types.TensorSound, sample_rate: int | None = ..., **choices: Unpack[types.FrameChoices]
    ) -> types.TensorFrames | list[types.TensorFrames]: ...
    @overload
    def embed_frames(
        self, inputs: Sequence[types.TensorSound], sample_rate: int | None = ..., **choices: Unpack[types.FrameChoices]
    ) -> list[types.TensorFrames]: ...
    @overload
    def embed_frames(
        self, inputs: Sequence[types.ArraySound], sample_rate: int | None = ..., **choices: Unpack[types.FrameChoices]
    ) -> list[FrameEmbeddings]: ...
    @overload
    def embed_frames(
        self, inputs: NDArray[Any] | list[float], sample_rate: int | None = ..., **choices: Unpack[types.FrameChoices]
    ) -> FrameEmbeddings | list[FrameEmbeddings]: ...
    def embed_frames(
        self,
        inputs: Any,
        sample_rate: int | None = None,
        *,
        hop: float = COLUMN_SECONDS,
        pooling: Pooling | None = None,
        last_layers: int | None = None,
        batch_size: int | None = None,
        window: int | None = None,
        context: int | None = None,
        channel_axis: int | None = None,
        progress: bool = False,
        **unknown: Any,
    ) -> Any:
        """Return vectors along time: a ``FrameEmbeddings`` for a single clip, a list of them for several.

        ``frequency`` and ``frequency+std`` concatenate the rows of a column (8 dim numbers); others average them (dim).
        ``hop`` is 0.16 s, or 0.08, 0.04, 0.02, 0.01: the spectrogram is then encoded at 2, 4, 8, 16 offsets and the
        results interleaved, at 2, 4, 8, 16 times the cost. Other arguments and errors are those of ``embed``.
        """
        options = self.options(
            pooling=pooling, last_layers=last_layers, batch_size=batch_size, window=window, context=context, **unknown
        )
        offsets = grid_offsets(hop)
        given = read_inputs(inputs, sample_rate, channel_axis, self.config.sample_rate)
        clips = track(given.clips, "Embedding") if progress else given.clips
        windows = clip_windows(clips, self.log_mel, options, offsets)
        names, run = [clip.name for clip in given.clips], partial(run_network, self.network, options)
        framed = encode_frames(names, windows, run, self.config, options, hop)
        warn_unheard([(clip.name, clip.unheard) for clip in given.clips], stacklevel=2)
        converted = [FrameEmbeddings(_like(given, one.embeddings), _like(given, one.times)) for one in framed]
        return converted[0] if given.single else converted

    def _clip_vectors(self, given: Inputs, options: EmbedOptions, progress: bool) -> types.Array:
        """Return (d,) or (B, d)."""
        clips = track(given.clips, "Embedding") if progress else given.clips
        windows = clip_windows(clips, self.log_mel, options)
        names, run = [clip.name for clip in given.clips], partial(run_network, self.network, options)
        vectors = encode_clips(names, windows, run, self.config, options)
        warn_unheard([(clip.name, clip.unheard) for clip in given.clips], stacklevel=3)
        return vectors[0] if given.single else vectors

    def options(self, device: str | None = None, **choices: Any) -> EmbedOptions:
        """Check the choices of a call and fill in defaults; arguments and errors are those of ``resolve_options``."""
        self._check_ready()
        self.network.warn_if_random(stacklevel=4)  # where embed was called
        return resolve_options(self.config, device or self.device.type, precision=self.precision, **choices)

    def _check_ready(self) -> None:
        mind_fork()
        self.network.check_dtype()

    def stream(
        self,
        sample_rate: int = 16000,
        *,
        latency: float | None = None,
        pooling: Pooling | None = None,
        last_layers: int | None = None,
        **unknown: Any,
    ) -> EmbeddingStream:
        """Open a stream of vectors of a live signal; see ``EmbeddingStream``.

        Args:
            sample_rate: of the signal, in Hz.
            latency: in seconds, at least 0.51 (default: the config's window, 10.3 s). Shorter windows see less context.
            pooling, last_layers: as of ``embed_frames``.

        Raises:
            OptionError: a rate, latency or option that is not accepted.
        """
        window, context = window_of_latency(latency, self.config.window, self.config.context)
        options = self.options(pooling=pooling, last_layers=last_layers, window=window, context=context, **unknown)
        return EmbeddingStream(self.log_mel, self.network, options, sample_rate)

    @overload
    def encode(
        self, inputs: types.Sounds, *, convert_to_tensor: Literal[True], **choices: Unpack[types.EncodeChoices]
    ) -> Tensor: ...
    @overload
    def encode(
        self, inputs: types.Sounds, *, convert_to_numpy: Literal[False], **choices: Unpack[types.EncodeChoices]
    ) -> Tensor | list[Tensor]: ...
    @overload
    def encode(
        self, inputs: types.Sounds, *, convert_to_numpy: Literal[True] = ..., **choices: Unpack[types.EncodeChoices]
    ) -> types.Array: ...
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
        **unknown: Any,
    ) -> Any:
        """Embed with the argument names and return types of sentence-transformers.

        Returns a numpy array, a tensor if ``convert_to_tensor``, or a list of tensors if neither; a single input
        gives a single vector. ``normalize_embeddings`` scales vectors to length 1. Errors as in ``embed``.
        """
        if device is not None:
            check_device(device)
            self.to(device)
        options = self.options(batch_size=batch_size, **unknown)
        given = read_inputs(inputs, sample_rate, model_rate=self.config.sample_rate)
        result = torch.as_tensor(_like(given, self._clip_vectors(given, options, bool(show_progress_bar))))
        if normalize_embeddings:
            result = nn.functional.normalize(result, dim=-1)
        if convert_to_tensor:
            return result.to(self.device)
        if convert_to_numpy:
            return result.cpu().numpy()
        return list(result) if result.ndim == 2 else result


def _like(inputs: Inputs, array: NDArray[Any]) -> Any:
    return torch.from_numpy(array).to(inputs.device) if inputs.as_tensor else array
