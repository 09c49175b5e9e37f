"""Sources of vectors: checkpoints, untrained networks, log-mel statistics, external teachers and peers."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aasp_features.audio.reading import audio_info, load_audio
from aasp_features.config import AaSPConfig
from aasp_features.encoder import AaSPEncoder
from aasp_features.errors import OptionError
from aasp_features.folder.options import config_sha256, weights_sha256
from aasp_features.inference import FrameEmbeddings
from aasp_features.model.log_mel import LogMel
from aasp_features.train.data.reading import SAMPLE_RATE
from aasp_features.train.errors import TrainError
from aasp_features.train.pretrain.external_teachers import ExternalTeacher, read_descriptions
from aasp_features.version import __version__

Waveform = NDArray[np.float32]
EmbedFiles = Callable[[Sequence[Path]], NDArray[np.float32]]
Embed = Callable[[Sequence[Waveform], int], NDArray[np.float32]]
EmbedFrames = Callable[[Sequence[Waveform], int], list[FrameEmbeddings]]
TEACHER_SUFFIXES = (".yaml", ".yml")  # or a folder of them
UNTRAINED_SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Method:
    """A map from sound files to vectors.

    Attributes:
        name: Name in tables.
        identity: Hash of all that determines the vectors except the sounds, as cache key; the name is not part of it.
        embed_files: Function from files to (clips, d) float32.
        embed: Function from waveforms and their rate to (clips, d) float32.
        embed_frames: Function from waveforms and their rate to vectors along time, if there are any.
        sample_rate: Sample rate of the input, Hz; None accepts any.
    """

    name: str
    identity: str
    embed_files: EmbedFiles
    embed: Embed
    embed_frames: EmbedFrames | None = None
    sample_rate: int | None = SAMPLE_RATE


def check_beside(wanted: Sequence[str]) -> None:
    """Check the methods of ``--beside`` before any computation.

    Raises:
        OptionError: A method is unknown, or its file does not exist.
    """
    for one in wanted:
        if one in ("untrained", "log-mel"):
            continue
        path = Path(one)
        if path.suffix not in (".py", *TEACHER_SUFFIXES) and not path.is_dir():
            raise OptionError(
                f"--beside must be untrained, log-mel, an encoder's .py or a teacher's .yaml, got {one!r}."
            )
        if not path.exists():
            raise OptionError(f"--beside {one} does not exist.")


def find_methods(
    checkpoints: Sequence[str] | None,
    poolings: Sequence[str] | None,
    last_layers: Sequence[int] | None,
    beside: Sequence[str] | None,
    graphs: str,
    device: torch.device,
) -> Iterator[Method]:
    """Yield the checkpoints, then the methods to compare, each loaded when it is used.

    Checkpoints and untrained networks run on the device; teachers, peers and log-mels choose their own.

    Raises:
        OptionError: A method to compare is unknown; other errors come with the methods.
    """
    models, beside = checkpoints or [""], beside or []
    check_beside(beside)
    read: tuple[Sequence[str | None], Sequence[int | None], torch.device]
    read = (poolings or [None], last_layers or [None], device)
    paths = [Path(one) for one in beside if one not in ("untrained", "log-mel")]
    return chain(
        encoder_methods(models, *read),
        baseline_methods(models, *read, untrained="untrained" in beside, log_mel="log-mel" in beside),
        (peer_method(path) for path in paths if path.suffix == ".py"),
        teacher_methods([path for path in paths if path.suffix != ".py"], graphs),
    )


def encoder_methods(
    models: Sequence[str],
    poolings: Sequence[str | None],
    last_layers: Sequence[int | None],
    device: torch.device | None = None,
) -> Iterator[Method]:
    """Yield each checkpoint with each pooling, on a device (default: the CPU).

    A checkpoint is called by its name. If an earlier one has that name, the folder or Hub name is added.

    Raises:
        CheckpointError, OptionError: There is no such checkpoint or pooling.
    """
    taken = set()
    for model in models:
        encoder = AaSPEncoder.from_pretrained(model or None, device=device)
        name = encoder.config.name
        called = f"{name} ({model})" if name in taken else name
        taken.add(name)
        for pooling, count in product(poolings, last_layers):
            yield encoder_method(encoder, called, pooling, count)


def baseline_methods(
    models: Sequence[str],
    poolings: Sequence[str | None],
    last_layers: Sequence[int | None],
    device: torch.device | None = None,
    *,
    untrained: bool,
    log_mel: bool,
) -> Iterator[Method]:
    """Yield log-mel statistics of the checkpoints' frontends, and their networks with random weights.

    There are three seeds of each network. Checkpoints that differ only in log-mel statistics share a network.
    """
    configs = [AaSPEncoder.from_pretrained(model or None).config for model in models]
    if log_mel:
        for fft_length in sorted({config.fft_length for config in configs}):
            yield log_mel_statistics(fft_length)
    networks = {config.replace(name="untrained", mean=0.0, std=1.0): config for config in configs} if untrained else {}
    for config in networks.values():
        called = "untrained" if len(networks) == 1 else f"{config.name} untrained"
        for seed in UNTRAINED_SEEDS:
            encoder = untrained_encoder(config.replace(name="untrained"), seed).to(device)
            for pooling, count in product(poolings, last_layers):
                yield encoder_method(encoder, f"{called}, seed {seed}", pooling, count)


def encoder_method(encoder: AaSPEncoder, name: str, pooling: str | None, last_layers: int | None) -> Method:
    """Return the method of ``AaSPEncoder.embed`` and ``embed_frames``."""
    options = encoder.options(pooling=pooling, last_layers=last_layers)
    blocks = f", last {options.last_layers} blocks" if options.last_layers > 1 else ""
    read: Any = {"pooling": options.pooling, "last_layers": options.last_layers}
    decided = [f"{name}={value}" for name, value in asdict(options).items() if name != "batch_size"]
    made_by = encoder.device.type, config_sha256(encoder.config), weights_sha256(encoder)
    return Method(
        f"{name}, `{options.pooling}`{blocks}",
        identity("encoder", *made_by, *decided),
        lambda files: np.asarray(encoder.embed(list(files), **read)),
        lambda waveforms, rate: np.asarray(encoder.embed(list(waveforms), rate, **read)),
        lambda waveforms, rate: list(encoder.embed_frames(list(waveforms), rate, **read)),
        encoder.config.sample_rate,
    )


def untrained_encoder(config: AaSPConfig, seed: int) -> AaSPEncoder:
    """Return an encoder with random weights, without its warning."""
    torch.manual_seed(seed)
    encoder = AaSPEncoder(config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoder.options()
    return encoder


def log_mel_statistics(fft_length: int) -> Method:
    """Return the mean and standard deviation of each log-mel band over time, (clips, 256), as a method."""
    front_end = LogMel(AaSPConfig(fft_length=fft_length, mean=0.0, std=1.0))

    def vector(waveform: Waveform, rate: int) -> Waveform:
        log_mel = front_end(torch.from_numpy(waveform)).numpy()
        return np.concatenate([log_mel.mean(axis=0), log_mel.std(axis=0)])

    name = f"log-mel mean and std ({fft_length} points)"
    return one_by_one(name, identity("log-mel statistics", str(fft_length)), vector)


def teacher_methods(paths: Sequence[Path], graphs: str) -> Iterator[Method]:
    """Yield each external teacher, and all of them concatenated.

    Raises:
        TeacherError: See ``read_descriptions`` and ``ExternalTeacher``.
    """
    found = [ExternalTeacher(description) for description in read_descriptions(paths, graphs)] if paths else []
    for teacher in found:
        yield teacher_method(f"teacher {teacher.description.name}", [teacher])
    if len(found) > 1:
        names = ", ".join(teacher.description.name for teacher in found)
        yield teacher_method(f"teachers {names} side by side", found)


def teacher_method(name: str, teachers: Sequence[ExternalTeacher]) -> Method:
    """Return the concatenated features of external teachers, for each whole clip, as a method."""

    def vector(waveform: Waveform, rate: int) -> Waveform:
        return np.concatenate([teacher.forward(waveform[None])[0] for teacher in teachers])

    said = [json.dumps(teacher.description.identity, sort_keys=True, default=str) for teacher in teachers]
    return one_by_one(name, identity("teachers", *said), vector)


def peer_method(script: Path) -> Method:
    """Return any encoder as a method: a Python file whose ``load()`` returns (waveform, rate) -> (d,) vector.

    The waveform is mono float32 at the callable's ``sample_rate``, or at the file's rate without that attribute. An
    optional method ``frames``, (waveform, rate) -> (T, d), returns equally spaced vectors from the first sample to the
    last.

    Raises:
        TrainError: There is no such file, it has no ``load``, or that fails.
    """
    spec = importlib.util.spec_from_file_location(script.stem, script)
    if spec is None or spec.loader is None or not script.is_file():
        raise TrainError(f"--beside {script} is not a Python file.")
    module: Any = importlib.util.module_from_spec(spec)
    hide_broken_torchaudio()
    try:
        spec.loader.exec_module(module)
        peer = module.load()
    except Exception as error:  # anything that user code may raise
        raise TrainError(f"--beside {script}: load() failed ({type(error).__name__}: {error}).") from error

    def vector(waveform: Waveform, rate: int) -> Waveform:
        return np.asarray(peer(waveform, rate), np.float32).reshape(-1)

    method = one_by_one(
        script.stem,
        identity("peer", script.read_text(encoding="utf-8")),
        vector,
        getattr(peer, "sample_rate", None),
    )
    return replace(method, embed_frames=_peer_frames(peer.frames)) if hasattr(peer, "frames") else method


def hide_broken_torchaudio() -> None:
    """Hide a torchaudio that fails to load, as PyPI's beside a CPU torch, from transformers."""
    try:
        importlib.import_module("torchaudio")
    except (ImportError, OSError):
        sys.modules["torchaudio"] = None  # type: ignore[assignment]


def _peer_frames(frames: Callable[[Waveform, int], Any]) -> EmbedFrames:
    def embed(waveforms: Sequence[Waveform], rate: int) -> list[FrameEmbeddings]:
        found = [np.asarray(frames(waveform, rate), np.float32) for waveform in waveforms]
        seconds = [len(waveform) / rate / len(vectors) for waveform, vectors in zip(waveforms, found, strict=True)]
        return [
            FrameEmbeddings(vectors, np.asarray((np.arange(len(vectors)) + 0.5) * step, np.float64))
            for vectors, step in zip(found, seconds, strict=True)
        ]

    return embed


def one_by_one(
    name: str, identity: str, vector: Callable[[Waveform, int], Waveform], sample_rate: int | None = SAMPLE_RATE
) -> Method:
    """Return a method that takes one waveform at a time, at the file's rate if it has none of its own."""

    def embed(waveforms: Sequence[Waveform], rate: int) -> NDArray[np.float32]:
        return np.stack([vector(waveform, rate) for waveform in waveforms]).astype(np.float32)

    def embed_files(files: Sequence[Path]) -> NDArray[np.float32]:
        rates = [sample_rate or audio_info(path).rate for path in files]
        rows = [vector(load_audio(path, rate), rate) for path, rate in zip(files, rates, strict=True)]
        return np.stack(rows).astype(np.float32)

    return Method(name, identity, embed_files, embed, sample_rate=sample_rate)


def identity(*parts: str) -> str:
    """Hash what determines a method's vectors, including this package's version."""
    return hashlib.sha256("\0".join([__version__, *parts]).encode()).hexdigest()
